"""What repeats say: a rate with its spread, a ratio with its spread, and tables of them. Arithmetic and text only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from cases import Case

RATE, PEAK = "events_per_second", "peak_bytes"
THIS, THAT = "this", "against"

QUIET = 0.05  # share of all cores that other processes may take before figures are called doubtful

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """The middle of some repeats, the lowest and the highest."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Of at least one repeat."""
    return Spread(median(values), min(values), max(values))


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Of ours to theirs, repeat by repeat: the two of a repeat ran one after the other, so noise is shared."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def unpaired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Of medians, and the least and the most that any two repeats could say: nothing is shared between them."""
    return Spread(median(ours) / median(theirs), min(ours) / max(theirs), max(ours) / min(theirs))


def case_record(
    case: Case, repeats: Mapping[str, Sequence[Record]], errors: Mapping[str, str]
) -> dict[str, Any]:
    """A case as it is saved: every repeat of each side, medians, and ratios where both sides came through."""
    record: dict[str, Any] = {"case": asdict(case), "errors": dict(errors)}
    for side, runs in repeats.items():
        if side not in errors:
            record[side] = {
                RATE: asdict(spread([run[RATE] for run in runs])),
                PEAK: asdict(spread([run[PEAK] for run in runs])),
                "repeats": list(runs),
            }
    if THIS in record and THAT in record:
        for name, key in (("ratio", RATE), ("memory_ratio", PEAK)):
            record[name] = asdict(
                paired_ratio(*([r[key] for r in record[s]["repeats"]] for s in (THIS, THAT)))
            )
    return record


def table(saved: Record) -> str:
    """The cases of one saved run, one a line; with a second commit, its figures and the ratio."""
    both = saved["commits"].get(THAT) is not None
    header = ["case", "events/s", "(low to high)", "peak MB"]
    header += ["events/s before", "peak MB before", "faster by", "(low to high)", "memory"] if both else []
    return (
        markdown(header, [_row(record, both) for record in saved["cases"]])
        + sampled(saved)
        + disturbance(saved)
    )


def sampled(saved: Record) -> str:
    """A line on runs that are a part of an epoch: causal steps are all alike, others are not; else nothing."""
    runs = [run for r in saved["cases"] for s in (THIS, THAT) if s in r for run in r[s]["repeats"]]
    steps = [run["steps"] for run in runs if run["whole_epochs"] == 0]
    if not steps:
        return ""
    return (
        f"\n\nIn {len(steps)} of {len(runs)} runs the epoch was cut short, after {min(steps)} steps at the least: a "
        "sample of it. More --seconds make it larger."
    )


def disturbance(saved: Record) -> str:
    """A line on what else the machine did meanwhile, where that makes the figures doubtful; else nothing."""
    shares = [
        run["others"] for r in saved["cases"] for s in (THIS, THAT) if s in r for run in r[s]["repeats"]
    ]
    said = not_quiet(shares, "Rates are too low, and ratios as uncertain as their spread.")
    return f"\n\n{said}" if said else ""


def not_quiet(shares: Sequence[float | None], so: str) -> str:
    """A line on the shares of all cores that others took during runs, and what follows; "" where all were quiet."""
    busy = [share for share in shares if share is not None and share > QUIET]
    if not busy:
        return ""
    return (
        f"Not a quiet machine: in {len(busy)} of {len(shares)} runs other processes took more than {QUIET:.0%} of its "
        f"cores, {max(busy):.0%} at most. {so}"
    )


def side_by_side(first: Record, second: Record) -> str:
    """Two saved runs: the cases that both have, with the ratio of the second to the first, and what only one has."""
    before, after = ({Case(**r["case"]): r for r in saved["cases"]} for saved in (first, second))
    rows = [_compared(case, before[case], after[case]) for case in before if case in after]
    header = ["case", "first events/s", "second events/s", "faster by", "(at least to at most)"]
    header += ["first peak MB", "second peak MB", "memory"]
    lines = [f"{name}: {description(saved)}" for name, saved in (("first", first), ("second", second))]
    lines += ["", markdown(header, rows) if rows else "no case is in both"]
    lines += [
        name + disturbance(saved).strip()
        for name, saved in (("first: ", first), ("second: ", second))
        if disturbance(saved)
    ]
    for name, ours, other in (("first", before, after), ("second", after, before)):
        lines += [f"only in the {name}: {case}" for case in ours if case not in other]
    return "\n".join(lines)


def description(saved: Record) -> str:
    """Whose figures these are, in one line."""
    commit, machine = saved["commits"][THIS], saved["machine"]
    changed = " with changes" if commit["changed"] else ""
    return (
        f"{commit['hash'] or 'no commit'}{changed}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['gpu'] or 'no GPU'}, torch {commit['torch']}, {saved['date']}"
    )


def _row(record: Record, both: bool) -> list[str]:
    cells = [str(Case(**record["case"])), *_figures(record, THIS)]
    if not both:
        return cells
    that = _figures(record, THAT)
    cells += [that[0], that[2]]
    if "ratio" not in record:
        return [*cells, "–", "–", "–"]
    return [*cells, *_ratio(record["ratio"]), f"{record['memory_ratio']['median']:.2f}"]


def _figures(record: Record, side: str) -> list[str]:
    """Rate, its range, and peak in MB; of a side that failed, that it did."""
    if side not in record:
        return ["failed", "–", "–"]
    rate, peak = record[side][RATE], record[side][PEAK]
    return [
        _number(rate["median"]),
        f"{_number(rate['low'])} to {_number(rate['high'])}",
        _megabytes(peak["median"]),
    ]


def _compared(case: Case, first: Record, second: Record) -> list[str]:
    one, two = _figures(first, THIS), _figures(second, THIS)
    if THIS not in first or THIS not in second:
        return [str(case), one[0], two[0], "–", "–", one[2], two[2], "–"]
    rates, peaks = (
        asdict(unpaired_ratio(*([r[key] for r in record[THIS]["repeats"]] for record in (second, first))))
        for key in (RATE, PEAK)
    )
    return [str(case), one[0], two[0], *_ratio(rates), one[2], two[2], f"{peaks['median']:.2f}"]


def _ratio(ratio: Mapping[str, float]) -> list[str]:
    return [f"{ratio['median']:.2f}", f"{ratio['low']:.2f} to {ratio['high']:.2f}"]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
