"""Every command over TLS, by flags, variables and contexts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import ottla.testing

from .arrangement import Done, run_ottla

pytestmark = pytest.mark.slow

KEYS = Path(__file__).parents[2] / "kit" / "tls"
CA = ("--tls-ca", str(KEYS / "ca.pem"))


@pytest.fixture(scope="module")
def secure() -> Iterator[str]:
    """The address of a cluster's listener with TLS."""
    settings: dict[str, object] = {
        "listener": ("public=127.0.0.1:0", "secure=127.0.0.1:0,tls"),
        "tls.certificate.path": str(KEYS / "server.pem"),
        "tls.key.path": str(KEYS / "server.key"),
    }
    with ottla.testing.cluster(topics={"flights": 2}, broker_settings=settings) as cluster:
        described = run_ottla("cluster", "describe", "-o", "json", "-b", cluster.bootstrap)
        (broker,) = described.document["brokers"]
        (port,) = [each["port"] for each in broker["endpoints"] if each["listener"] == "secure"]
        yield f"127.0.0.1:{port}"


def _run(secure: str, *arguments: str, stdin: bytes = b"", code: int = 0, **environ: str) -> Done:
    user = {"OTTLA_BOOTSTRAP": secure, **environ}
    return run_ottla(*arguments, stdin=stdin, code=code, user=user)


def test_every_command_goes_over_tls(secure: str) -> None:
    _run(secure, "topics", "create", "letters", *CA)
    assert "letters" in _run(secure, "topics", "list", *CA).out.decode()
    assert _run(secure, "cluster", "describe", *CA).out != b""
    _run(secure, "produce", "letters", *CA, stdin=b"one\ntwo\n")
    consumed = _run(secure, "consume", "letters", "--from-beginning", "--until-end", *CA)
    assert consumed.lines == ["one", "two"]
    for kind, *more in (
        ["produce", "--records", "100"],
        ["consume", "--records", "100"],
        ["latency", "--seconds", "0.2", "--warmup", "0"],
    ):
        found = json.loads(_run(secure, "perf", kind, *more, "-o", "json", *CA).out)
        assert found["record_count"] == 100
    _run(secure, "topics", "delete", "letters", "--yes", *CA)


def test_settings_come_from_variables_and_contexts(secure: str, tmp_path: Path) -> None:
    listed = _run(secure, "topics", "list", OTTLA_TLS_CA=str(KEYS / "ca.pem"))
    assert "flights" in listed.out.decode()
    config = str(tmp_path)
    client = ("--tls-cert", str(KEYS / "client.pem"), "--tls-key", str(KEYS / "client.key"))
    run_ottla("context", "create", "s", "-b", secure, *CA, *client, XDG_CONFIG_HOME=config)
    by_context = run_ottla("topics", "list", "--context", "s", XDG_CONFIG_HOME=config)
    assert by_context.out == listed.out


def test_name_in_the_certificate_is_checked(secure: str) -> None:
    done = _run(secure, "topics", "list", *CA, "--tls-server-name", "other.example", code=4)
    assert f"no broker answers at {secure}" in done.err
    assert _run(secure, "topics", "list", *CA, "--tls-server-name", "localhost").code == 0


def test_certificate_of_an_unknown_authority_is_not_believed(secure: str) -> None:
    done = _run(secure, "topics", "list", "--tls", code=4)
    assert f"no broker answers at {secure}" in done.err


def test_connection_in_the_clear_to_tls_says_what_to_look_at(secure: str) -> None:
    done = _run(secure, "topics", "list", code=4)
    assert f"no broker answers at {secure}" in done.err
    assert "--tls whether it is encrypted (`ottla context show`)" in done.err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--tls-ca", "/does/not/exist"], 1, "ca_file '/does/not/exist' can't be read"),
        (["--tls-ca", __file__], 1, "is not a PEM file"),
        (["--tls-key", "me.key"], 2, "--tls-cert and --tls-key go together"),
    ],
)
def test_file_that_cannot_be_used_is_named(
    secure: str, options: list[str], code: int, said: str
) -> None:
    assert said in _run(secure, "topics", "list", *options, code=code).err
    assert said in _run(secure, "consume", "flights", *options, code=code).err
