"""Requests made from the OpenAPI document, right ones and wrong ones: none ends in a 5xx or in what is not documented."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from live_cases import service
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from grela.live.app import application
from grela.live.guard import Guard

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def document():
    served = service()
    app = Guard(application(served), measures=served.measures, token=None, rate=None)
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    served.stop()


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_from_the_document_is_answered_by_5xx(case):
    case.validate_response(case.call(), checks=CHECKS)


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_of_many_is_answered_by_5xx(case):
    case.validate_response(case.call(), checks=CHECKS)
