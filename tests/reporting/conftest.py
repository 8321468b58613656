"""The made-up reports and pages as fixtures."""

import pytest
from made_up_pages import PAGES, made_up_page
from made_up_reports import REPORTS, empty_report, full_report, hostile_report

from grela.reporting.report import ReportData


@pytest.fixture
def full() -> ReportData:
    return full_report()


@pytest.fixture
def hostile() -> ReportData:
    return hostile_report()


@pytest.fixture
def empty() -> ReportData:
    return empty_report()


@pytest.fixture(params=list(REPORTS))
def any_report(request: pytest.FixtureRequest) -> ReportData:
    return REPORTS[request.param]()


@pytest.fixture(params=PAGES)
def any_page(request: pytest.FixtureRequest) -> str:
    return made_up_page(request.param)
