"""Both streams from another language, and stubs that are made when a program starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .languages import PROTOS
from .other_programs import loading_client, streams_client
from .running import PLAINTEXT, listeners, run_program
from .toolchains import MissingToolchain, StockClient

# The first test of a language builds its program.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with listeners() as addresses:
        yield addresses[PLAINTEXT]


def outcome_of(built: Callable[[], StockClient], *arguments: str) -> Any:
    try:
        client = built()
    except MissingToolchain as missing:
        pytest.skip(str(missing))
    return json.loads(run_program(client, *arguments, seconds=30))


def test_batches_made_in_go_travel_on_both_streams(bootstrap: str) -> None:
    assert outcome_of(streams_client, bootstrap) == {
        "answers": {"11": 0, "12": "ERROR_REASON_UNKNOWN_TOPIC_OR_PARTITION"},
        "fetched": ["0:first", "1:second", "2:third"],
        "leader": True,
    }


def test_node_loads_the_protos_when_it_starts(bootstrap: str) -> None:
    assert outcome_of(loading_client, bootstrap, "walk", str(PROTOS)) == {
        "partitions": 2,
        "offsets": [0, 1],
        "records": [
            {"offset": 0, "key": "UA", "value": "EWR-IAH", "tombstone": False, "headers": 0},
            {"offset": 1, "key": "AA", "value": "", "tombstone": True, "headers": 1},
        ],
    }


def test_protos_that_node_loads_when_it_starts_name_the_reason_too(bootstrap: str) -> None:
    assert outcome_of(loading_client, bootstrap, "failures", str(PROTOS)) == {
        "code": "NOT_FOUND",
        "detailed": True,
        "item": "ERROR_REASON_UNKNOWN_TOPIC_OR_PARTITION",
    }
