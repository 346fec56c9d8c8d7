"""What a command's connection is made of, and where each value comes from. Pure.

    flag  >  context named by --context  >  environment  >  context in use  >  default

Owns the order. A context that is named on the command line counts as if its values were flags:
whoever writes `--context test` must not end up in production because of a variable. TLS belongs to
the address: what the context in use says of it is left out when the address comes from elsewhere,
and what the environment says of it when a context is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ottla_cli.connections.contexts import FIELDS, Contexts, Profile
from ottla_cli.failures import UsageFailed
from ottla_cli.terminal import Output

VARIABLES: Final = {
    "bootstrap": "OTTLA_BOOTSTRAP",
    "tls": "OTTLA_TLS",
    "tls_ca": "OTTLA_TLS_CA",
    "tls_cert": "OTTLA_TLS_CERT",
    "tls_key": "OTTLA_TLS_KEY",
    "tls_server_name": "OTTLA_TLS_SERVER_NAME",
    "output": "OTTLA_OUTPUT",
}
CONTEXT_VARIABLE: Final = "OTTLA_CONTEXT"
DEFAULT_BOOTSTRAP: Final = "127.0.0.1:9092"

_TLS_FILES: Final = ("tls_ca", "tls_cert", "tls_key", "tls_server_name")
_FLAG: Final = "flag"
_DEFAULT: Final = "default"
_TRUTHS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class Setting(NamedTuple):
    """A value and where it comes from."""

    value: str | bool | None
    source: str


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """How connections are encrypted: paths of PEM files, and a name to expect."""

    ca: str | None
    certificate: str | None
    key: str | None
    server_name: str | None


@dataclass(frozen=True, slots=True)
class Connection:
    """How a command reaches its cluster, settled.

    Attributes:
        bootstrap: `host[:port],…`.
        tls: None for connections in the clear.
        timeout_seconds: longest time for one call with all its tries.
        output: how to print what was found.
    """

    bootstrap: str
    tls: TlsFiles | None
    timeout_seconds: float
    output: Output


def effective_settings(
    flags: Mapping[str, str | bool | None],
    environ: Mapping[str, str],
    contexts: Contexts,
    *,
    context_flag: str | None,
) -> dict[str, Setting]:
    """Every setting with its value and source.

    Args:
        flags: what the command line says, by the names of `FIELDS`; None is not said.
        environ: the environment.
        contexts: all there are.
        context_flag: the context named on the command line.

    Raises:
        CommandFailed: there is no such context.
        UsageFailed: a variable has a value it cannot have.
    """
    said = {name: value for name, value in flags.items() if value is not None}
    named = contexts.profile(context_flag) if context_flag else {}
    variables = _from_environment(environ)
    if named:
        variables = _without_tls(variables)
    in_use_name = "" if context_flag else environ.get(CONTEXT_VARIABLE) or contexts.current
    in_use = contexts.profile(in_use_name) if in_use_name else {}
    if "bootstrap" in said or "bootstrap" in variables:
        in_use = _without_tls(in_use)
    layers: list[tuple[Mapping[str, str | bool], str]] = [
        (said, _FLAG),
        (named, f"context {context_flag}"),
        (variables, ""),
        (in_use, f"context {in_use_name}"),
        ({"bootstrap": DEFAULT_BOOTSTRAP, "output": Output.TABLE.value}, _DEFAULT),
    ]
    return {name: _first(name, layers) for name in FIELDS}


def _first(name: str, layers: list[tuple[Mapping[str, str | bool], str]]) -> Setting:
    for values, source in layers:
        if name in values:
            return Setting(values[name], source or VARIABLES[name])
        implying = next((each for each in _TLS_FILES if each in values), None)
        if name == "tls" and implying:
            return Setting(True, source or VARIABLES[implying])
    return Setting(None if name != "tls" else False, _DEFAULT)


def _without_tls(profile: Profile) -> Profile:
    return {name: value for name, value in profile.items() if not name.startswith("tls")}


def _from_environment(environ: Mapping[str, str]) -> Profile:
    found: Profile = {}
    for name, variable in VARIABLES.items():
        text = environ.get(variable, "")
        if not text:
            continue
        if FIELDS[name] is bool:
            truth = _TRUTHS.get(text.lower())
            if truth is None:
                raise UsageFailed(f"{variable}={text!r} must be one of {', '.join(_TRUTHS)}")
            found[name] = truth
        else:
            found[name] = text
    if found.get("output", "table") not in set(Output):
        raise UsageFailed(f"{VARIABLES['output']}={found['output']!r} must be table or json")
    return found


def connection(settings: Mapping[str, Setting], *, timeout_seconds: float) -> Connection:
    """The connection that settings describe."""

    def text(name: str) -> str | None:
        value = settings[name].value
        return None if value is None else str(value)

    tls = None
    if settings["tls"].value:
        tls = TlsFiles(text("tls_ca"), text("tls_cert"), text("tls_key"), text("tls_server_name"))
    return Connection(
        bootstrap=text("bootstrap") or DEFAULT_BOOTSTRAP,
        tls=tls,
        timeout_seconds=timeout_seconds,
        output=Output(text("output") or Output.TABLE),
    )
