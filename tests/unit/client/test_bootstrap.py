"""Bootstrap lists as people write them, and what they resolve to."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.client.bootstrap import Address, parse_bootstrap, resolve
from ottla.client.rpc_errors import Unreachable
from ottla.protocol.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("localhost", [("localhost", 9092)]),
        ("localhost:1", [("localhost", 1)]),
        ("b1,b2:9093, b3 ", [("b1", 9092), ("b2", 9093), ("b3", 9092)]),
        ("[::1]", [("::1", 9092)]),
        ("[2001:db8::1]:65535", [("2001:db8::1", 65535)]),
        ("a,a:9092,,a", [("a", 9092)]),
    ],
)
def test_bootstrap_list_is_read(text: str, addresses: list[tuple[str, int]]) -> None:
    assert list(parse_bootstrap(text)) == [Address(*each) for each in addresses]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        "a:",
        "a:0",
        "a:65536",
        "a:9092x",
        "a:٣",
        "::1",
        "[::1",
        "[::1]9092",
        "[a]:1",
        "http://a:9092",
        "a b",
        "-a",
        "a" * 254,
        ",".join(f"b{number}" for number in range(101)),
    ],
)
def test_what_is_no_bootstrap_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_bootstrap(text)


@given(st.ip_addresses(), st.integers(1, 65_535))
def test_every_address_survives_being_written_and_read(address: object, port: int) -> None:
    written = str(Address(str(address), port))
    assert parse_bootstrap(written) == (Address(str(address), port),)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        assert all(1 <= each.port <= 65_535 and each.host for each in parse_bootstrap(text))


class Names:
    """A resolver that knows a few names."""

    def __init__(self, **known: list[str]) -> None:
        self._known = known

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        if host not in self._known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, 0, 0, "", (address, port)) for address in self._known[host]]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.getaddrinfo)


async def test_every_address_of_every_name_is_tried_in_random_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = [f"10.0.0.{number}" for number in range(8)]
    Names(brokers=numbers, other=["::1", "10.0.0.1"]).install(monkeypatch)
    orders = set()
    for seed in range(5):
        found = await resolve(parse_bootstrap("brokers,other:1"), chance=random.Random(seed))
        assert set(found) == {Address(each, 9092) for each in numbers} | {
            Address("::1", 1),
            Address("10.0.0.1", 1),
        }
        assert found[Address("10.0.0.2", 9092)] == "brokers"
        orders.add(tuple(found))
    assert len(orders) == 5


async def test_names_that_do_not_resolve_are_left_out_and_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Names(here=["10.0.0.1"]).install(monkeypatch)
    found = await resolve(parse_bootstrap("gone,here"), chance=random.Random(1))
    assert found == {Address("10.0.0.1", 9092): "here"}
    assert caplog.messages == [
        "no address for broker gone:9092, going on with the others: Name or service not known"
    ]


async def test_no_name_that_resolves_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    Names().install(monkeypatch)
    with pytest.raises(Unreachable, match="gone: Name or service not known") as caught:
        await resolve(parse_bootstrap("gone,lost"), chance=random.Random(1))
    assert caught.value.status.name == "UNAVAILABLE"
