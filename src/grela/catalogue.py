"""Changing the catalogue of a fitted model without training: items that are added, items that are removed.

An added item has the dense id after the last; its rows come from like items or from features
(`grela.models.new_items`). A removed item keeps its rows, so that histories that hold it are understood as before;
it is never recommended again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from grela.data.histories import Histories
from grela.data.splitting import Split
from grela.data.vocabulary import RawId, Vocabulary
from grela.errors import CatalogueError
from grela.models.new_items import FeatureMap, ItemRows, like_neighbours, rows_of
from grela.models.recgrela import RecGRELA

# A added items, F features

Features = Mapping[RawId, Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """An item to be added: like known items, or by its features; one of the two.

    item:     its raw id, which must be new
    like:     known items that it is like, all alike or with a positive weight each; its embedding and bias are the mean
              of theirs
    features: its vector, as long as those of known items that are given with it
    title:    for people
    bias:     instead of what comes of the neighbours or features, where the model has biases of items: the logarithm of
              the share of all events that the item is expected to have
    """

    item: RawId
    like: Mapping[RawId, float] | Iterable[RawId] | None = None
    features: Sequence[float] | None = None
    title: str | None = None
    bias: float | None = None


@dataclass(frozen=True, eq=False)
class ItemChanges:
    """All that was changed since the training.

    added:   raw ids in the order of their dense ids; rows: theirs; origins: for each what it was made of, as JSON's own
             types; titles: of added items, where they have one
    removed: raw ids
    """

    added: tuple[RawId, ...]
    rows: ItemRows
    origins: tuple[dict[str, Any], ...]
    titles: dict[RawId, str]
    removed: tuple[RawId, ...]

    @staticmethod
    def none(width: int) -> "ItemChanges":
        """Of a model as it was trained."""
        return ItemChanges(
            (), ItemRows(np.zeros((0, width), np.float32), np.zeros(0, np.float32)), (), {}, ()
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def additions(
    model: RecGRELA, histories: Histories, items: Sequence[NewItem], features: Features | None
) -> ItemChanges:
    """The changes that add `items`; CatalogueError, naming the item, for whatever cannot be added."""
    raws = _new_ids([one.item for one in items], histories)
    by_features = _map_of_features(model, histories, features) if features is not None else None
    rows, origins = [], []
    for raw, one in zip(raws, items, strict=True):
        row, origin = _row(model, histories, one, by_features)
        if one.bias is not None:
            row = ItemRows(row.embeddings, np.array([_bias(one, model)], np.float32))
            origin |= {"bias": float(one.bias)}
        rows.append(row)
        origins.append({"item": raw, **origin})
    titles = {raw: one.title for raw, one in zip(raws, items, strict=True) if one.title is not None}
    none = ItemChanges.none(model.config.width)
    return replace(
        none,
        added=tuple(raws),
        rows=ItemRows.joined([none.rows, *rows]),
        origins=tuple(origins),
        titles=titles,
    )


def joined(before: ItemChanges, more: ItemChanges) -> ItemChanges:
    """One after the other."""
    return ItemChanges(
        before.added + more.added,
        ItemRows.joined([before.rows, more.rows]),
        before.origins + more.origins,
        before.titles | more.titles,
        before.removed + more.removed,
    )


def removals(histories: Histories, items: Sequence[RawId]) -> tuple[RawId, ...]:
    """The raw ids as the catalogue has them; CatalogueError for one that is unknown or removed already."""
    dense = known_items(histories, items, "the items to remove")
    gone = set(histories.removed.tolist())
    for raw, number in zip(items, dense.tolist(), strict=True):
        if number in gone:
            raise CatalogueError(f"item {raw!r} is removed already, or named twice; leave it out")
        gone.add(number)
    if len(gone) >= histories.num_items:
        raise CatalogueError("nothing would be left that could be recommended; keep at least one item")
    return tuple(histories.catalogue.decode(dense))


def with_changes(split: Split, changes: ItemChanges) -> Split:
    """The split with the catalogue changed; events, dense ids and boundaries are as before."""
    return replace(split, histories=changed_histories(split.histories, changes))


def changed_histories(h: Histories, changes: ItemChanges) -> Histories:
    """The histories with the catalogue changed; events and dense ids are as before."""
    ids = pa.concat_arrays([h.catalogue.ids, pa.array(changes.added, h.catalogue.ids.type)])
    catalogue = Vocabulary(ids, h.catalogue.first)
    removed = np.concatenate([h.removed, catalogue.encode(changes.removed)])
    return replace(h, catalogue=catalogue, removed=removed)


def as_trained(split: Split, added: int) -> Split:
    """The split without changes, the last `added` of whose items were added."""
    h = split.histories
    catalogue = Vocabulary(h.catalogue.ids.slice(0, len(h.catalogue) - added), h.catalogue.first)
    return replace(split, histories=replace(h, catalogue=catalogue, removed=np.zeros(0, np.int64)))


def known_items(histories: Histories, items: Sequence[RawId], what: str) -> np.ndarray:
    """Dense ids, int64; CatalogueError for one that is unknown."""
    if isinstance(items, str | bytes):
        raise CatalogueError(f"{what} are {items!r}, expected a list of ids")
    listed = list(items)
    for raw in listed:
        if isinstance(raw, bool) or not isinstance(raw, str | int | np.integer):
            raise CatalogueError(f"{what} have {raw!r}, expected an id: a string or an integer")
    dense = histories.catalogue.encode(listed)
    for raw, number in zip(listed, dense.tolist(), strict=True):
        if number == histories.catalogue.unknown:
            raise CatalogueError(f"{what} have {raw!r}, which the run does not know; give known items")
    return dense


def _new_ids(items: Sequence[RawId], histories: Histories) -> list[RawId]:
    """New ids in the type of the catalogue's."""
    catalogue, found = histories.catalogue, []
    gone = set(catalogue.decode(histories.removed))
    for raw in items:
        if (
            isinstance(raw, bool)
            or not isinstance(raw, str | int | np.integer)
            or not str(raw).isprintable()
            or raw == ""
        ):
            raise CatalogueError(f"the new item's id is {raw!r}, expected printable text or an integer")
        if (number := int(catalogue.encode([raw])[0])) != catalogue.unknown:
            known = catalogue.decode([number])[0]
            removed = ", and was removed; what was removed does not come back" if known in gone else ""
            raise CatalogueError(
                f"item {raw!r} is in the catalogue already{removed}; give the new one another id"
            )
        try:
            typed = int(raw) if catalogue.integers else str(raw)
        except ValueError:
            raise CatalogueError(
                f"the new item's id is {raw!r}, but this run's are integers; give it one"
            ) from None
        if isinstance(typed, int) and not -(2**63) <= typed < 2**63:
            raise CatalogueError(f"the new item's id is {typed}, expected an integer of 64 bits")
        if typed in found:
            raise CatalogueError(f"the new item {raw!r} is given twice; give each once")
        found.append(typed)
    return found


def _row(
    model: RecGRELA, histories: Histories, one: NewItem, by_features: tuple[FeatureMap, int] | None
) -> tuple[ItemRows, dict[str, Any]]:
    if (one.like is None) == (one.features is None):
        raise CatalogueError(
            f"the new item {one.item!r} has {'neither' if one.like is None else 'both'} `like` and `features`; give "
            "known items that it is like, or its features"
        )
    if one.like is not None:
        dense, weights = _neighbours(histories, one)
        like = dict(zip(map(str, histories.catalogue.decode(dense)), weights.tolist(), strict=True))
        return like_neighbours(model, dense, weights), {"like": like}
    if by_features is None:
        raise CatalogueError(
            f"the new item {one.item!r} has features, but no known item has; give `features` of known items"
        )
    mapped, known = by_features
    vector = _vector(one.features, f"the new item {one.item!r}", len(mapped.mean))
    return mapped.rows(vector[None]), {"features_of": known, "ridges": list(mapped.ridges)}


def _neighbours(histories: Histories, one: NewItem) -> tuple[np.ndarray, np.ndarray]:
    like = one.like if isinstance(one.like, Mapping) else dict.fromkeys(_listed(one), 1.0)
    if not like:
        raise CatalogueError(f"the new item {one.item!r} is like nothing; name at least one known item")
    dense = known_items(histories, list(like), f"the neighbours of {one.item!r}")
    for raw, weight in like.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not 0 < weight < float("inf"):
            raise CatalogueError(
                f"{one.item!r} is like {raw!r} with weight {weight!r}, expected a positive number"
            )
    if len(set(dense.tolist())) < len(dense):
        raise CatalogueError(f"the neighbours of {one.item!r} name an item twice; name each once")
    return dense, np.array([float(weight) for weight in like.values()])


def _listed(one: NewItem) -> list[RawId]:
    if isinstance(one.like, str | bytes) or not isinstance(one.like, Iterable):
        raise CatalogueError(
            f"the new item {one.item!r} is like {one.like!r}, expected a list of known items"
        )
    return list(one.like)


def _map_of_features(model: RecGRELA, histories: Histories, features: Features) -> tuple[FeatureMap, int]:
    """The map learned from known items' features, and how many there were."""
    dense = known_items(histories, list(features), "the features of known items")
    if len(dense) < 2:
        raise CatalogueError(
            f"features are given of {len(dense)} known items; a map is learned from 2 or more"
        )
    first = next(iter(features.values()))
    width = len(first) if isinstance(first, Sequence | np.ndarray) else 0
    vectors = [_vector(vector, f"item {raw!r}", width) for raw, vector in features.items()]
    return FeatureMap.fitted(np.stack(vectors), rows_of(model, dense)), len(dense)


def _vector(values: Any, whose: str, width: int) -> np.ndarray:
    """One item's features, float64 [F]."""
    try:
        vector = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise CatalogueError(f"the features of {whose} are {values!r}, expected a list of numbers") from None
    if vector.shape != (width,) or not width:
        raise CatalogueError(
            f"the features of {whose} have shape {vector.shape}, expected {(width,)}: as many numbers for each item"
        )
    if not np.isfinite(vector).all():
        raise CatalogueError(
            f"the features of {whose} hold {vector[~np.isfinite(vector)][0]}, expected finite numbers"
        )
    return vector


def _bias(one: NewItem, model: RecGRELA) -> float:
    if model.item_bias is None:
        raise CatalogueError(
            f"the new item {one.item!r} has a bias, but this model has none of items; leave it out"
        )
    number = isinstance(one.bias, int | float) and not isinstance(one.bias, bool)
    if one.bias is None or not number or not np.isfinite(one.bias):
        raise CatalogueError(
            f"the bias of the new item {one.item!r} is {one.bias!r}, expected a finite number"
        )
    return float(one.bias)
