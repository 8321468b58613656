"""Requests made from the OpenAPI document, right and wrong ones: no 5xx, and nothing that is not documented."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from live_cases import serving
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from grela.live.openapi import document

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


schema = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def url(saved_run, tmp_path_factory):
    with serving(saved_run, "--store", tmp_path_factory.mktemp("fuzz") / "events.sqlite") as server:
        yield server.url
        assert server.end() == 0


@schema.parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_from_the_document_is_answered_by_5xx(case, url):
    case.validate_response(case.call(base_url=url), checks=CHECKS)


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_of_many_is_answered_by_5xx(case, url):
    case.validate_response(case.call(base_url=url), checks=CHECKS)
