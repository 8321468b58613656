"""The made-up reports as fixtures."""

import pytest
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
