"""Contexts are kept whole, private and checked."""

from __future__ import annotations

import pwd
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_cli.connections.contexts import (
    Contexts,
    Profile,
    changing,
    checked_name,
    default_path,
    load,
)
from ottla_cli.failures import EXIT_NOT_FOUND, CommandFailed, UsageFailed

STAGING: Profile = {
    "bootstrap": "b1:9092,b2",
    "tls": True,
    "tls_ca": "/ca.pem",
    "tls_cert": "/me.pem",
    "tls_key": "/me.key",
    "tls_server_name": "broker",
    "output": "json",
}


def _kept(path: Path, contexts: Contexts) -> Contexts:
    with changing(path) as changed:
        changed.current, changed.profiles = contexts.current, contexts.profiles
    return load(path)


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "contexts.toml"
    contexts = Contexts("staging", {"staging": STAGING, "local": {"bootstrap": "localhost"}})
    assert _kept(path, contexts) == contexts


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_is_kept_as_it_is(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("contexts") / "contexts.toml"
    profile: Profile = {"bootstrap": text, "tls_ca": text}
    assert _kept(path, Contexts("", {"a": profile})).profiles == {"a": profile}


def test_file_is_its_owners_alone_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "ottla" / "contexts.toml"
    for _ in range(2):
        _kept(path, Contexts("", {"a": STAGING}))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "contexts.toml"
    before = _kept(path, Contexts("", {"a": STAGING}))
    with pytest.raises(ZeroDivisionError), changing(path) as contexts:
        contexts.profiles.clear()
        raise ZeroDivisionError
    with pytest.raises(UsageFailed, match="is no text"), changing(path) as contexts:
        contexts.profiles["b"] = {"bootstrap": "x", "tls_ca": "\udcff"}
    assert load(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_is_no_context(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml") == Contexts()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("current = 5", "`current` is a name"),
        ("contexts = 5", "`contexts` a table"),
        ("currant = 'a'", "'currant' is unknown"),
        ("[contexts.a]\nbootstrap = ''", "context a has no bootstrap"),
        ("[contexts.a]\ntls = true", "context a has no bootstrap"),
        ("[contexts.a]\nbootstrap = 'b'\ntls = 'yes'", "context a: tls is true or false"),
        ("[contexts.a]\nbootstrap = true", "context a: bootstrap is text"),
        ("[contexts.a]\nbootstrap = 'b'\npassword = 'x'", "'password' is unknown; there are boot"),
        ("[contexts.a]\nbootstrap = 'b'\noutput = 'xml'", "output is table or json"),
        ("[contexts.'a b']\nbootstrap = 'b'", "'a b' is no context"),
        ("[contexts", "at the end of a table declaration"),
        ("# " + "x" * 1024 * 1024, "larger than 1048576 bytes"),
    ],
    ids=lambda text: text[:40],
)
def test_file_that_says_something_else_is_refused_by_name(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "contexts.toml"
    path.write_text(text)
    with pytest.raises(CommandFailed) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert why in str(caught.value)
    assert caught.value.hint == "mend or remove it"


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "contexts.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(CommandFailed, match="cannot be used"):
        load(path)


def test_place_that_cannot_hold_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandFailed, match=r"cannot use .*file"):
        _kept(tmp_path / "file" / "contexts.toml", Contexts())
    (tmp_path / "contexts.toml").mkdir()
    with pytest.raises(CommandFailed, match="cannot read contexts from"):
        load(tmp_path / "contexts.toml")


@pytest.mark.parametrize("name", ["", "a b", "a.b", "ä", "x" * 65, "-\n"])
def test_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(UsageFailed, match="1 to 64 letters, digits"):
        checked_name(name)
    assert checked_name("Prod_2-eu") == "Prod_2-eu"


def test_unknown_context_is_not_found() -> None:
    with pytest.raises(CommandFailed, match="no context 'x'") as caught:
        Contexts().profile("x")
    assert caught.value.code == EXIT_NOT_FOUND


def test_place_is_the_users_configuration() -> None:
    home = {"HOME": "/home/kafka"}
    assert default_path(home) == Path("/home/kafka/.config/ottla/contexts.toml")
    assert default_path({**home, "XDG_CONFIG_HOME": "/c"}) == Path("/c/ottla/contexts.toml")
    assert default_path({**home, "XDG_CONFIG_HOME": "c"}) == default_path(home)


def test_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(CommandFailed, match="no home directory") as caught:
        default_path({})
    assert "set HOME or XDG_CONFIG_HOME" in caught.value.hint
