"""Listeners and addresses as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.cluster.v1.cluster_pb2 import SECURITY_PLAINTEXT, SECURITY_TLS, Endpoint
from ottla_runtime.listeners import (
    advertised_endpoints,
    format_host_port,
    parse_host_port,
    parse_listener,
    parse_listeners,
)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("public=0.0.0.0:9092", ("public", "0.0.0.0", 9092, SECURITY_PLAINTEXT)),
        ("internal=[::1]:0", ("internal", "::1", 0, SECURITY_PLAINTEXT)),
        ("public=broker-1.example.org:9093,tls", ("public", "broker-1.example.org", 9093, 2)),
        ("p2=broker_1:1,plaintext", ("p2", "broker_1", 1, SECURITY_PLAINTEXT)),
    ],
)
def test_listener_is_read(text: str, endpoint: tuple[str, str, int, int]) -> None:
    read = parse_listener(text)
    assert (read.listener, read.host, read.port, read.security) == endpoint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0.0.0.0:9092", "has no name"),
        ("=h:1", "has no name"),
        ("Public=h:1", "has no name"),
        ("a=", "is not a host"),
        ("a=h", "has no port"),
        ("a=h:", "has no port"),
        ("a=h:x", "is not a number"),
        ("a=h:-1", "is not a number"),
        ("a=h:٣", "is not a number"),
        ("a=h:99999", "above 65535"),
        ("a=h:1,ssl", "not tls or plaintext"),
        ("a=h:1,", "not tls or plaintext"),
        ("a=::1:9092", "needs brackets"),
        ("a=[::1", "brackets belong"),
        ("a=[h]:1", "brackets belong"),
        ("a=[zz::1]:1", "not an IPv6 address"),
        ("a=-h:1", "is not a host"),
        ("a=h h:1", "is not a host"),
        ("a=" + "h" * 254 + ":1", "is not a host"),
    ],
)
def test_what_is_no_listener_is_refused_with_an_example(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="write name=host:port") as caught:
        parse_listener(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "texts", [("a=h:1", "a=g:2"), ("a=h:1", "b=h:1")], ids=["same name", "same address"]
)
def test_two_listeners_share_neither_name_nor_address(texts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="two listeners have the"):
        parse_listeners(texts)


def test_several_listeners_may_take_any_free_port() -> None:
    assert [each.listener for each in parse_listeners(["a=h:0", "b=h:0"])] == ["a", "b"]


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_every_address_survives_being_written_and_read(address: object, port: int) -> None:
    text = format_host_port(str(address), port)
    assert parse_host_port(text) == (str(address), port)


def test_missing_port_takes_the_default() -> None:
    assert parse_host_port("[::1]", default_port=9092) == ("::1", 9092)
    assert parse_host_port("localhost", default_port=9092) == ("localhost", 9092)


def test_advertised_address_replaces_where_a_listener_stands() -> None:
    listeners = parse_listeners(["public=0.0.0.0:0,tls", "internal=10.0.0.1:9095"])
    told = advertised_endpoints(
        listeners, ["public=broker.example.org:0"], {"public": 40_001, "internal": 9095}
    )
    assert told == (
        Endpoint(listener="public", host="broker.example.org", port=40_001, security=SECURITY_TLS),
        Endpoint(listener="internal", host="10.0.0.1", port=9095, security=SECURITY_PLAINTEXT),
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_listener_on_every_address_needs_an_advertised_one(host: str) -> None:
    with pytest.raises(ValueError, match="say how others reach it"):
        advertised_endpoints(parse_listeners([f"public={host}:9092"]), [], {"public": 9092})


def test_advertised_name_has_to_be_a_listener() -> None:
    with pytest.raises(ValueError, match="'pubic' is no listener; there are \\['public'\\]"):
        advertised_endpoints(parse_listeners(["public=h:1"]), ["pubic=h:1"], {"public": 1})
