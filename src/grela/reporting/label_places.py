"""Where the names of the marks of a scatter go: beside their marks, upon no other mark and upon no other name."""

from collections.abc import Sequence

import numpy as np

# C candidates, M marks, K obstacles; the last axis of boxes is left, top, right, bottom

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

Point = tuple[float, float]

Place = tuple[int, Box]
"""Which of a mark's words, and the box they fill."""

HEIGHT = 15.0
NEAR = 8.0
RADIUS = 6.0
MARGIN = 11.0
RINGS = NEAR + 6.0 * np.arange(14)
TURNS = np.linspace(0, 2 * np.pi, 32, endpoint=False)


def label_places(
    marks: Sequence[Point], widths: Sequence[Sequence[float]], room: Box, taken: Sequence[Box] = ()
) -> list[Place | None]:
    """For each mark the nearest free place within `room`, `HEIGHT` high, for the first of its words that finds one.

    widths: of the words that may be shown, preferred first

    Words overlap neither each other nor `taken`, and keep `MARGIN` from the other marks at their sides, so that none
    seems to be another's; nor does the line from a mark to its words cross other words. None for a mark whose words
    find no place, however short those of the others are.
    """
    marks_M2 = np.array(marks, np.float64).reshape(-1, 2)
    taken_K4 = np.array(taken, np.float64).reshape(-1, 4)
    chosen, moved = [0] * len(marks), [False] * len(marks)
    boxes = [_candidates(mark, of[0], room) for mark, of in zip(marks_M2, widths, strict=True)]
    # Those in a crowd choose first: there are more places left for the others.
    order = sorted(range(len(marks)), key=lambda j: (_room_around(marks_M2, j), j))
    while True:
        placed, stuck = _in_order(order, marks_M2, boxes, taken_K4)
        if stuck is None:
            return [(chosen[j], _box(placed[j])) if j in placed else None for j in range(len(marks))]
        order.remove(stuck)
        if not moved[stuck]:  # once, whoever finds no place may choose before all others
            moved[stuck] = True
            order.insert(0, stuck)
            continue
        # Else it, or where it has no shorter words the nearest that has, takes shorter ones.
        longer = [j for j in range(len(marks)) if chosen[j] + 1 < len(widths[j])]
        if longer:
            j = min(longer, key=lambda j: np.hypot(*(marks_M2[j] - marks_M2[stuck])))
            chosen[j] += 1
            boxes[j] = _candidates(marks_M2[j], widths[j][chosen[j]], room)
            order.insert(0, stuck)


def nearest_point(box: Box, mark: Point) -> Point:
    """The point of a box that is nearest to a mark."""
    left, top, right, bottom = box
    return min(max(mark[0], left), right), min(max(mark[1], top), bottom)


def _in_order(
    order: Sequence[int], marks_M2: np.ndarray, boxes: Sequence[np.ndarray], taken_K4: np.ndarray
) -> tuple[dict[int, np.ndarray], int | None]:
    """The places by mark, each the nearest that those before it leave; and the first mark that finds none."""
    placed: dict[int, np.ndarray] = {}
    ways_K4 = np.empty((0, 4))
    around = np.array([MARGIN, RADIUS])
    around_M4 = np.concatenate([marks_M2 - around, marks_M2 + around], 1)
    for j in order:
        words_K4 = np.array(list(placed.values())).reshape(-1, 4)
        filled_K4 = np.concatenate([np.delete(around_M4, j, 0), taken_K4, words_K4])
        for box in boxes[j][~_overlap(boxes[j], filled_K4).any(1)]:
            way = np.concatenate([marks_M2[j], np.clip(marks_M2[j], box[:2], box[2:])])
            if not _cross(way, words_K4).any() and not _cross(ways_K4, box).any():
                placed[j], ways_K4 = box, np.concatenate([ways_K4, way[None]])
                break
        else:
            return placed, j
    return placed, None


def _room_around(marks_M2: np.ndarray, j: int) -> float:
    """How far the third of the other marks is."""
    away = np.sort(np.hypot(*(marks_M2 - marks_M2[j]).T))
    return float(away[min(3, len(away) - 1)])


def _candidates(mark: np.ndarray, width: float, room: Box) -> np.ndarray:
    """Boxes around a mark within the room, [C, 4], nearest first, to the right first."""
    away_C, turn_C = (grid.ravel() for grid in np.meshgrid(RINGS, TURNS, indexing="ij"))
    half = np.array([width, HEIGHT]) / 2
    middle_C2 = mark + np.stack([(half[0] + away_C) * np.cos(turn_C), (half[1] + away_C) * np.sin(turn_C)], 1)
    boxes_C4 = np.concatenate([middle_C2 - half, middle_C2 + half], 1)
    within = (boxes_C4[:, :2] >= room[:2]).all(1) & (boxes_C4[:, 2:] <= room[2:]).all(1)
    return np.asarray(boxes_C4[within])


def _overlap(boxes_C4: np.ndarray, others_K4: np.ndarray) -> np.ndarray:
    """Which boxes overlap which others, [C, K]."""
    left, top, right, bottom = boxes_C4.T[:, :, None]
    across = (left < others_K4[:, 2]) & (others_K4[:, 0] < right)
    return np.asarray(across & (top < others_K4[:, 3]) & (others_K4[:, 1] < bottom))


def _cross(way: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Whether a straight way, x and y of both its ends, passes through a box; [..., 4] each."""
    start, length = way[..., :2], way[..., 2:] - way[..., :2]
    length = np.where(length == 0, 1e-9, length)
    one, other = (box[..., :2] - start) / length, (box[..., 2:] - start) / length
    enters, leaves = np.minimum(one, other), np.maximum(one, other)
    return np.asarray(
        np.maximum(enters[..., 0], enters[..., 1]).clip(0)
        < np.minimum(leaves[..., 0], leaves[..., 1]).clip(max=1)
    )


def _box(values: np.ndarray) -> Box:
    left, top, right, bottom = values.tolist()
    return left, top, right, bottom
