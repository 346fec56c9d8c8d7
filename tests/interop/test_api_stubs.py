"""ottla.api in other languages: stubs by stock generators, compiled, against a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import ottla.testing

from .api_stubs import (
    PROTOS,
    go_api_client,
    java_api_client,
    javascript_api_client,
    run_client,
    typescript_api_client,
)
from .toolchains import MissingToolchain, StockClient

# The first test of a client generates and builds it.
pytestmark = pytest.mark.timeout(300)

BUILDERS = {
    "go": go_api_client,
    "java": java_api_client,
    "node-typescript": typescript_api_client,
    "node-javascript": javascript_api_client,
}
WALKED = {
    "partitions": 2,
    "offsets": [0, 1],
    "records": [
        {"offset": 0, "key": "UA", "value": "EWR-IAH", "tombstone": False, "headers": 0},
        {"offset": 1, "key": "AA", "value": "", "tombstone": True, "headers": 1},
    ],
}


def client_of(language: str) -> StockClient:
    try:
        return BUILDERS[language]()
    except MissingToolchain as missing:
        pytest.skip(str(missing))


@pytest.fixture
def bootstrap() -> Iterator[str]:
    with ottla.testing.cluster() as cluster:
        yield cluster.bootstrap


def outcome_of(client: StockClient, bootstrap: str, scenario: str) -> Any:
    return json.loads(run_client(client, bootstrap, scenario, str(PROTOS)))


@pytest.mark.parametrize("language", list(BUILDERS))
def test_a_topic_is_created_published_to_and_read(language: str, bootstrap: str) -> None:
    assert outcome_of(client_of(language), bootstrap, "walk") == WALKED


@pytest.mark.parametrize("language", ["go", "java", "node-typescript"])
def test_an_error_has_its_reason_whether_a_call_or_an_item_failed(
    language: str, bootstrap: str
) -> None:
    outcome = outcome_of(client_of(language), bootstrap, "failures")
    call = outcome.pop("call")
    assert call.pop("code").upper().replace("_", "") == "NOTFOUND"
    assert call.pop("topic").endswith(".nowhere")
    assert call == {"reason": "UNKNOWN_TOPIC_OR_PARTITION", "domain": "ottla"}
    assert outcome == {"item": "ERROR_REASON_UNKNOWN_TOPIC_OR_PARTITION", "known": True}


def test_protos_that_node_loads_when_it_starts_name_the_reason_too(bootstrap: str) -> None:
    outcome = outcome_of(client_of("node-javascript"), bootstrap, "failures")
    expected = {"code": "NOT_FOUND", "detailed": True}
    assert outcome == {**expected, "item": "ERROR_REASON_UNKNOWN_TOPIC_OR_PARTITION"}


def test_batches_made_in_go_travel_on_both_streams(bootstrap: str) -> None:
    assert outcome_of(client_of("go"), bootstrap, "streams") == {
        "answers": {"11": 0, "12": "ERROR_REASON_UNKNOWN_TOPIC_OR_PARTITION"},
        "fetched": ["0:first", "1:second", "2:third"],
        "leader": True,
    }
