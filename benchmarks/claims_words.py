"""What `claims.py` found, in tables and verdicts. A verdict says no more than intervals show."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from comparison import markdown

Found = Mapping[str, Any]
MODELS = ("trained", "untrained")


def sign(estimate: Mapping[str, float]) -> int:
    """1 or -1 where the interval is above or below 0; else 0."""
    return int(estimate["low"] > 0) - int(estimate["high"] < 0)


def borne_out(for_it: int, of: int) -> str:
    """In a word: "yes" where all say so, "no" where none does, else "in part"."""
    if for_it == of:
        return "yes"
    return "in part" if for_it else "no"


def rank_verdict(found: Found) -> list[dict[str, Any]]:
    """Whether the local branch raises the rank, whether that is learnt, and whether attention alone lacks rank."""
    heads, most = len(found["heads"]), found["positions"][1]
    up = {name: _count(found[name]["raised"], 1) for name in MODELS}
    down = _count(found["trained"]["raised"], -1)
    more, less = _count(found["raised_more"], 1), _count(found["raised_more"], -1)
    middle = {name: tuple(median(found[name][which]) for which in ("without", "with")) for name in MODELS}
    without, having = middle["trained"]
    raises = {
        "claim": "the local branch raises the effective rank of a head's mixing",
        "borne_out": borne_out(up["trained"], heads),
    }
    raises["words"] = (
        f"Claim: {raises['claim']}. {_said(raises['borne_out'])}: higher with it in {up['trained']} of {heads} "
        f"heads, lower in {down}; medians over heads {without:.1f} without, {having:.1f} with, of {most} positions."
    )
    learnt = {
        "claim": "the model has learnt to raise it",
        "borne_out": borne_out(more, heads),
    }
    learnt["words"] = (
        f"Claim: {learnt['claim']}. {_said(learnt['borne_out'])}: an untrained model of this shape has medians of "
        f"{middle['untrained'][0]:.1f} and {middle['untrained'][1]:.1f}, and is raised in {up['untrained']} of {heads} "
        f"heads; training raises by more in {more} and by less in {less}."
    )
    width = found["head_width"]
    low = [value < width for value in found["trained"]["without"]]
    lacks = {
        "claim": "attention without the local branch is of low rank",
        "borne_out": borne_out(sum(low), heads),
    }
    mask = (
        "behind a causal mask the head's width does not bound it"
        if found["causal"]
        else "the head's width bounds it by construction"
    )
    lacks["words"] = (
        f"Claim: {lacks['claim']}. {_said(lacks['borne_out'])}, if low means below the width {width} of a head: "
        f"{sum(low)} of {heads} heads are, and {mask}."
    )
    return [raises, learnt, lacks]


def rank_table(found: Found) -> str:
    """A head a line."""
    header = [
        "layer",
        "head",
        "without",
        "with",
        "raised by",
        "untrained: without",
        "with",
        "raised by",
        "more",
    ]
    rows = []
    for k, head in enumerate(found["heads"]):
        row = [str(head["layer"]), str(head["head"])]
        for name in MODELS:
            of = found[name]
            row += [f"{of['without'][k]:.1f}", f"{of['with'][k]:.1f}", _interval(of["raised"][k], 1)]
        rows.append([*row, _interval(found["raised_more"][k], 1)])
    low, high = found["positions"]
    title = (
        f"Effective rank of each head's mixing, mean over {found['histories']} histories of "
        f"{low if low == high else f'{low} to {high}'} events; more: raised by training, trained less untrained"
    )
    return f"{title}\n\n{markdown(header, rows)}"


def gate_verdict(found: Found) -> list[dict[str, Any]]:
    """Whether gate and local branch answer to bursts, at equal length of history and beyond an untrained model."""
    return [_gate_verdict(key, of, found) for key, of in found["measures"].items()]


def _gate_verdict(key: str, of: Found, found: Found) -> dict[str, Any]:
    trained, more = of["trained"]["difference"], of["differs_more"]
    layers = len(trained)
    higher, lower = _count(trained, 1), _count(trained, -1)
    # Of the gate's own activity the paper gives no direction; the local branch is for bursts.
    asked = (1,) if key == "local" else (1, -1)
    learnt = [m for m in range(layers) if sign(trained[m]) in asked and sign(more[m]) == sign(trained[m])]
    contrary = lower if key == "local" else 0
    claim = (
        "the local branch has more of the energy behind the gate where users are bursty"
        if key == "local"
        else "the gate is open otherwise for bursty than for steady users"
    )
    word = "no" if not learnt else "in part" if contrary else "yes"
    largest = max((abs(one["value"]) for one in trained), default=0.0)
    lengths = found["groups"]["matched"]
    words = (
        f"Claim: {claim}. {_said(word)}: of {layers} layers {higher} are higher for bursty users and {lower} lower, by "
        f"{largest:.2f} standard deviations over users at most; in {len(learnt)} as claimed and by more than in an "
        f"untrained model. Events read: {lengths['steady']['events_mean']:.1f} of the steady, "
        f"{lengths['bursty']['events_mean']:.1f} of the bursty."
    )
    if found["reads_gaps"]:
        words += (
            " This model reads the gaps themselves, so that what is found may be its answer to that input; a run "
            "without (`--recipe ids-only`) tells what items alone do."
        )
    return {"claim": claim, "borne_out": word, "words": words}


def gate_table(found: Found) -> str:
    """The groups, then for each measure a layer a line."""
    parts = [_groups(found)]
    for of in found["measures"].values():
        header = ["layer", "steady", "bursty", "difference", "unmatched", "untrained: steady", "bursty"]
        header += ["difference", "more"]
        rows = []
        for m in range(len(of["differs_more"])):
            trained, fresh = (of[name] for name in MODELS)
            rows.append(
                [
                    str(m + 1),
                    f"{trained['steady'][m]:.4f}",
                    f"{trained['bursty'][m]:.4f}",
                    _interval(trained["difference"][m], 2),
                    _interval(trained["difference_raw"][m], 2),
                    f"{fresh['steady'][m]:.4f}",
                    f"{fresh['bursty'][m]:.4f}",
                    _interval(fresh["difference"][m], 2),
                    _interval(of["differs_more"][m], 2),
                ]
            )
        title = f"{of['name']}; differences bursty less steady, in standard deviations over users"
        parts.append(f"{title}\n\n{markdown(header, rows)}")
    return "\n\n".join(parts)


def _groups(found: Found) -> str:
    rows = []
    for name, groups in found["groups"].items():
        for who, of in groups.items():
            rows.append(
                [
                    f"{name}, {who}",
                    f"{of['users']:,}",
                    f"{of['burstiness']:.2f}",
                    f"{of['events_mean']:.1f}",
                    f"{of['events_median']:g}",
                ]
            )
    title = f"{found['users']:,} test users; {found['left_out']:,} not drawn, or too short to tell"
    return f"{title}\n\n{markdown(['group', 'users', 'burstiness', 'events read, mean', 'median'], rows)}"


def _count(estimates: Sequence[Mapping[str, float]], wanted: int) -> int:
    return sum(sign(one) == wanted for one in estimates)


def _said(word: str) -> str:
    return {"yes": "Borne out", "in part": "Borne out in part", "no": "Not borne out"}[word]


def _interval(one: Mapping[str, float], digits: int) -> str:
    value, low, high = (f"{one[name]:+.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
