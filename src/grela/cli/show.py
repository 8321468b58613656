"""Results as lines of text."""

from typing import Any

SHOWN = ("ndcg@10", "hr@10", "mrr", "ndcg@20", "hr@20", "coverage@10", "novelty@10")


def metric_lines(result: dict[str, Any]) -> list[str]:
    """A table of an evaluation as JSON: each metric filtered and not, with its interval and popularity's value."""
    lines = [
        f"{result['part']}: {result['users']:,} users, full ranking of {result['items']:,} items, "
        f"split {result['fingerprint'][:12]}",
        f"{'':12}  {'seen items filtered':^26}  {'not filtered':^26}  popularity",
    ]
    for name in SHOWN:
        if name not in result["filtered"]:
            continue
        cells = [_cell(result, view, name) for view in ("filtered", "unfiltered")]
        floor = result.get("popularity", {}).get("filtered", {}).get(name)
        lines.append(f"{name:12}  {cells[0]:26}  {cells[1]:26}  {_number(floor)}")
    lines.append("intervals: " + result["interval"])
    return lines


def _cell(result: dict[str, Any], view: str, name: str) -> str:
    value = _number(result[view][name])
    interval = result["intervals"][view].get(name)
    return f"{value} ({_number(interval[0])}–{_number(interval[1])})" if interval else value


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
