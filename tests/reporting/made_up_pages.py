"""Every made-up report and comparison as a page, rendered once."""

from functools import cache

from made_up_comparisons import COMPARISONS
from made_up_reports import REPORTS

from grela.reporting import comparison, report
from grela.reporting.comparison_build import comparison_data

PAGES = [*(f"report {name}" for name in REPORTS), *(f"comparison {name}" for name in COMPARISONS)]


@cache
def made_up_page(kind_and_name: str) -> str:
    """The page of that name in `PAGES`."""
    kind, name = kind_and_name.split(" ", 1)
    if kind == "report":
        return report.render(REPORTS[name]())
    return comparison.render(comparison_data(COMPARISONS[name]()))
