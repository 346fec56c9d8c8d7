"""Any language is a client: the programs of `clients/`, with few records.

`make interop` runs them in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from ottla.blocking import Admin

from .languages import LANGUAGES, Language, built
from .lying_broker import Lie, lying_broker
from .round_trips import objections, outcome_of
from .running import PLAINTEXT, TLS, listeners, round_trip, run_program
from .service import CERTIFICATES
from .toolchains import MissingToolchain, StockClient

# The first test of a language builds its program.
pytestmark = pytest.mark.timeout(600)

RECORDS = 5_000
RUN_SECONDS = 30.0
_NOT_WHAT_WAS_SENT = "what was read is not what was sent"
COMPLAINTS = {
    Lie.LOST: _NOT_WHAT_WAS_SENT,
    Lie.SWAPPED: _NOT_WHAT_WAS_SENT,
    Lie.EMPTIED: _NOT_WHAT_WAS_SENT,
    Lie.REFUSED: "NOT_ENOUGH_REPLICAS: one is missing",
    Lie.NOT_CREATED: "INVALID_TOPIC: not this one",
}


@pytest.fixture(scope="module")
def addresses() -> Iterator[Mapping[str, str]]:
    with listeners() as found:
        yield found


@pytest.fixture(params=list(LANGUAGES))
def language(request: pytest.FixtureRequest) -> Language:
    return LANGUAGES[request.param]


@pytest.fixture
def client(language: Language) -> StockClient:
    try:
        return built(language)
    except MissingToolchain as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("security", [PLAINTEXT, TLS])
@pytest.mark.usefixtures("client")
def test_records_come_back_as_they_were_sent(
    addresses: Mapping[str, str], language: Language, security: str
) -> None:
    ran = round_trip(
        language, addresses[security], security=security, count=RECORDS, seconds=RUN_SECONDS
    )
    assert ran.trouble == ""
    with Admin(addresses[PLAINTEXT]) as admin:
        assert admin.list_topics() == []


def test_a_server_that_another_authority_signed_gets_no_records(
    addresses: Mapping[str, str], client: StockClient
) -> None:
    stranger = str(CERTIFICATES / "client.pem")
    with pytest.raises(RuntimeError, match=r"ended with [1-9]"):
        run_program(client, addresses[TLS], "1", stranger, seconds=RUN_SECONDS)


@pytest.mark.parametrize("lie", list(COMPLAINTS), ids=lambda lie: lie.name.lower())
def test_a_program_notices_what_is_wrong(client: StockClient, lie: Lie) -> None:
    with lying_broker(lie) as address, pytest.raises(RuntimeError, match=COMPLAINTS[lie]):
        run_program(client, address, str(RECORDS), seconds=RUN_SECONDS)


def test_a_program_has_nothing_to_say_against_an_honest_broker(
    language: Language, client: StockClient
) -> None:
    with lying_broker(Lie.NONE) as address:
        outcome = outcome_of(run_program(client, address, str(RECORDS), seconds=RUN_SECONDS))
    assert objections(outcome, language=language.name, count=RECORDS) == []


def test_fewer_records_than_partitions_are_no_trouble(
    addresses: Mapping[str, str], language: Language, client: StockClient
) -> None:
    outcome = outcome_of(run_program(client, addresses[PLAINTEXT], "3", seconds=RUN_SECONDS))
    assert objections(outcome, language=language.name, count=3) == []
