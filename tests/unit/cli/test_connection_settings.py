"""Which value of a connection wins, and where it is said to come from."""

from __future__ import annotations

import pytest

from ottla_cli.connections.contexts import FIELDS, Contexts
from ottla_cli.connections.settings import (
    VARIABLES,
    Connection,
    Setting,
    TlsFiles,
    connection,
    effective_settings,
)
from ottla_cli.failures import CommandFailed, UsageFailed
from ottla_cli.terminal import Output

CONTEXTS = Contexts(
    "prod",
    {
        "prod": {"bootstrap": "prod:1", "tls_ca": "/prod.pem", "output": "json"},
        "test": {"bootstrap": "test:1"},
    },
)


def _settings(
    flags: dict[str, str | bool | None] | None = None,
    context: str | None = None,
    contexts: Contexts = CONTEXTS,
    **environ: str,
) -> dict[str, Setting]:
    return effective_settings(flags or {}, environ, contexts, context_flag=context)


def test_default_is_this_machine_in_the_clear() -> None:
    settings = _settings(contexts=Contexts())
    assert settings["bootstrap"] == Setting("127.0.0.1:9092", "default")
    assert connection(settings, timeout_seconds=5) == Connection(
        "127.0.0.1:9092", None, 5, Output.TABLE
    )


def test_flag_wins_over_environment_over_context_over_default() -> None:
    assert _settings()["bootstrap"] == Setting("prod:1", "context prod")
    variable = _settings(OTTLA_BOOTSTRAP="env:1")
    assert variable["bootstrap"] == Setting("env:1", "OTTLA_BOOTSTRAP")
    flag = _settings({"bootstrap": "flag:1"}, OTTLA_BOOTSTRAP="env:1")
    assert flag["bootstrap"] == Setting("flag:1", "flag")
    assert flag["output"] == Setting("json", "context prod")


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "tls"])
def test_every_setting_has_a_variable(name: str) -> None:
    value = "json" if name == "output" else "x"
    environ = {VARIABLES[name]: value}
    found = effective_settings({}, environ, Contexts(), context_flag=None)[name]
    assert found == Setting(value, VARIABLES[name])
    found = effective_settings({name: "table"}, environ, Contexts(), context_flag=None)[name]
    assert found == Setting("table", "flag")


def test_context_in_use_is_chosen_by_a_variable() -> None:
    assert _settings(OTTLA_CONTEXT="test")["bootstrap"] == Setting("test:1", "context test")


def test_context_named_on_the_command_line_wins_over_variables() -> None:
    settings = _settings(
        context="test",
        OTTLA_BOOTSTRAP="prod:1",
        OTTLA_TLS_CA="/prod.pem",
        OTTLA_CONTEXT="prod",
        OTTLA_OUTPUT="json",
    )
    assert settings["bootstrap"] == Setting("test:1", "context test")
    assert settings["output"] == Setting("json", "OTTLA_OUTPUT")
    assert connection(settings, timeout_seconds=1).tls is None
    flag = _settings({"bootstrap": "other:1"}, context="prod")
    assert flag["bootstrap"] == Setting("other:1", "flag")
    assert flag["tls_ca"] == Setting("/prod.pem", "context prod")


@pytest.mark.parametrize(
    "settings",
    [_settings({"bootstrap": "up:1"}), _settings(OTTLA_BOOTSTRAP="up:1")],
    ids=["flag", "variable"],
)
def test_tls_of_the_context_in_use_is_not_for_another_address(
    settings: dict[str, Setting],
) -> None:
    assert connection(settings, timeout_seconds=1).tls is None
    assert connection(_settings(), timeout_seconds=1).tls == TlsFiles("/prod.pem", None, None, None)


def test_any_tls_setting_turns_tls_on_unless_it_is_turned_off() -> None:
    assert _settings({"tls_server_name": "b"})["tls"] == Setting(True, "flag")
    assert _settings({"tls_ca": "/ca"}, OTTLA_TLS="0")["tls"] == Setting(True, "flag")
    assert _settings(OTTLA_TLS_CA="/ca")["tls"] == Setting(True, "OTTLA_TLS_CA")
    assert _settings()["tls"] == Setting(True, "context prod")
    assert _settings({"tls": False})["tls"] == Setting(False, "flag")
    assert _settings(OTTLA_TLS="no")["tls"] == Setting(False, "OTTLA_TLS")
    assert _settings(OTTLA_TLS="TRUE", contexts=Contexts())["tls"].value is True
    plain = connection(_settings({"tls": True}, contexts=Contexts()), timeout_seconds=1)
    assert plain.tls == TlsFiles(None, None, None, None)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("OTTLA_TLS", "maybe", "must be one of 1, true"), ("OTTLA_OUTPUT", "xml", "table or json")],
)
def test_variable_that_means_nothing_is_refused(variable: str, value: str, said: str) -> None:
    with pytest.raises(UsageFailed, match=f"{variable}='{value}'.*{said}"):
        effective_settings({}, {variable: value}, Contexts(), context_flag=None)


def test_unknown_context_is_not_found() -> None:
    with pytest.raises(CommandFailed, match="no context 'no'"):
        _settings(context="no")
    with pytest.raises(CommandFailed, match="no context 'no'"):
        _settings(OTTLA_CONTEXT="no")
