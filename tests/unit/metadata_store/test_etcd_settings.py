"""How people say where etcd is: what a connect string means, and how a wrong one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.protocol.errors import InvalidConfig
from ottla_controller.store.etcd_settings import (
    ENDPOINTS_MAX,
    PREFIX_BYTES_MAX,
    EtcdEndpoint,
    EtcdSettings,
    EtcdTls,
    parse_connect_string,
)


@pytest.mark.parametrize(
    ("text", "addresses", "prefix"),
    [
        ("etcd", ["etcd:2379"], b"/ottla/"),
        ("a:1,b:2,c:3", ["a:1", "b:2", "c:3"], b"/ottla/"),
        ("a, b:2380 /", ["a:2379", "b:2380"], b"/ottla/"),
        ("a/prod", ["a:2379"], b"/prod/"),
        ("a/teams/blue/", ["a:2379"], b"/teams/blue/"),
        ("[::1]:2379,[fe80::2]/p", ["[::1]:2379", "[fe80::2]:2379"], b"/p/"),
        ("http://a:1,http://b:2/p", ["a:1", "b:2"], b"/p/"),
        ("https://a:1,b:2/p", ["a:1", "b:2"], b"/p/"),
        (
            "10.0.0.1:2379,etcd-1.example.org",
            ["10.0.0.1:2379", "etcd-1.example.org:2379"],
            b"/ottla/",
        ),
    ],
)
def test_a_connect_string_names_addresses_and_a_prefix(
    text: str, addresses: list[str], prefix: bytes
) -> None:
    settings = EtcdSettings.parsed(text)
    assert [str(endpoint) for endpoint in settings.endpoints] == addresses
    assert settings.prefix == prefix


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a host name"),
        ("/prefix", "not a host name"),
        ("a,,b", "not a host name"),
        ("a:x", "port 'x' is not a number"),
        ("a:0", "nobody listens on port 0"),
        ("a:70000", "above 65535"),
        ("::1", "needs brackets"),
        ("https://user:secret@host:2379/a", "metadata.store.username and metadata.store.password"),
        ("[::1", "brackets belong around"),
        ("[zz::]:1", "not an IPv6 address"),
        ("a,a:2379", "names an address twice"),
        ("http://a,https://b", "mixes http:// and https://"),
        ("etcd://a", "not 'etcd://'"),
        ("a/b c", "not a path of letters"),
        ("a/b//c", "not a path of letters"),
        ("a/prefix,b", "not a path of letters"),
        ("a/ä", "not a path of letters"),
        ("a" * 9_000, "more than 8192 characters"),
        (",".join(f"h{number}" for number in range(ENDPOINTS_MAX + 1)), "1 to 16 addresses"),
        ("a/" + "p" * PREFIX_BYTES_MAX, "more than 128 bytes"),
    ],
)
def test_what_is_wrong_is_refused_and_said(text: str, message: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        EtcdSettings.parsed(text)
    assert message in caught.value.message


def test_a_password_in_a_connect_string_is_not_repeated() -> None:
    with pytest.raises(InvalidConfig) as caught:
        EtcdSettings.parsed("user:secret@host:2379/a")
    assert "secret" not in caught.value.message


def test_a_refusal_shows_what_is_expected() -> None:
    with pytest.raises(InvalidConfig, match="write host:2379,host:2379/prefix"):
        EtcdSettings.parsed("a:b")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        _, endpoints, prefix = parse_connect_string(text)
    except InvalidConfig:
        return
    assert endpoints
    assert prefix.startswith(b"/")
    assert prefix.endswith(b"/")


def test_tls_is_on_where_the_scheme_or_a_file_says_so() -> None:
    ca = Path("ca.pem")
    assert EtcdSettings.parsed("a").tls is None
    assert EtcdSettings.parsed("http://a").tls is None
    assert EtcdSettings.parsed("https://a").tls == EtcdTls()
    assert EtcdSettings.parsed("a", ca_path=ca).tls == EtcdTls(ca)
    with pytest.raises(InvalidConfig, match="say https://"):
        EtcdSettings.parsed("http://a", ca_path=ca)


def test_a_client_certificate_has_a_key() -> None:
    pair = EtcdSettings.parsed("a", cert_path=Path("c"), key_path=Path("k")).tls
    assert pair == EtcdTls(None, Path("c"), Path("k"))
    with pytest.raises(InvalidConfig, match="belong together"):
        EtcdSettings.parsed("a", cert_path=Path("c"))
    with pytest.raises(InvalidConfig, match="belong together"):
        EtcdSettings.parsed("a", key_path=Path("k"))


def test_a_user_has_a_password_and_nobody_sees_it() -> None:
    settings = EtcdSettings.parsed("a", username="ottla", password="secret")
    assert "secret" not in repr(settings)
    with pytest.raises(InvalidConfig, match="no password for etcd's user 'ottla'"):
        EtcdSettings.parsed("a", username="ottla")
    with pytest.raises(InvalidConfig, match="no user name"):
        EtcdSettings.parsed("a", password="secret")


def test_times_fit_into_each_other() -> None:
    short = EtcdSettings.parsed("a", request_timeout_ms=100)
    assert short.attempt_timeout_ms == 100
    assert EtcdSettings.parsed("a", request_timeout_ms=60_000).open_timeout_ms == 60_000
    with pytest.raises(InvalidConfig, match="lasts no longer"):
        EtcdSettings((EtcdEndpoint("a", 1),), b"/p/", attempt_timeout_ms=5_000)
