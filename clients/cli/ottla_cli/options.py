"""Options that several commands share, declared once.

`connects` gives a command all options that say which cluster it talks to; the command itself takes
one argument for them, `flags`. Imports nothing heavy: contexts are read when a command runs.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_type_hints

import typer

from ottla_cli.connections import contexts
from ottla_cli.connections.settings import (
    DEFAULT_BOOTSTRAP,
    Connection,
    Setting,
    connection,
    effective_settings,
)
from ottla_cli.failures import CommandFailed
from ottla_cli.terminal import Output

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
PANEL: Final = "Connection"

OutputForm = Annotated[
    Output, typer.Option("--output", "-o", help="How to print: for people, or for programs.")
]


def context_names(incomplete: str) -> list[str]:
    """Names of contexts that begin so, for completion; silent where they cannot be read."""
    try:
        known = contexts.load(contexts.default_path(os.environ)).profiles
    except CommandFailed:
        return []
    return [name for name in sorted(known) if name.startswith(incomplete)]


def _shared(name: str, *others: str, **more: Any) -> Any:
    return typer.Option(name, *others, rich_help_panel=PANEL, **more)


_TLS: Final[dict[str, Any]] = {
    "tls": Annotated[
        bool | None,
        _shared("--tls/--no-tls", help="Encrypt; any other --tls option implies it. [OTTLA_TLS]"),
    ],
    "tls_ca": Annotated[
        str | None,
        _shared(
            "--tls-ca",
            metavar="FILE",
            help="PEM: authorities that brokers are checked against, else gRPC's. [OTTLA_TLS_CA]",
        ),
    ],
    "tls_cert": Annotated[
        str | None,
        _shared("--tls-cert", metavar="FILE", help="PEM: our certificate. [OTTLA_TLS_CERT]"),
    ],
    "tls_key": Annotated[
        str | None,
        _shared("--tls-key", metavar="FILE", help="PEM: its private key. [OTTLA_TLS_KEY]"),
    ],
    "tls_server_name": Annotated[
        str | None,
        _shared(
            "--tls-server-name",
            metavar="NAME",
            help="Name in brokers' certificates, where it is not their host."
            " [OTTLA_TLS_SERVER_NAME]",
        ),
    ],
}
_BOOTSTRAP: Final[dict[str, Any]] = {
    "bootstrap": Annotated[
        str | None,
        _shared(
            *("--bootstrap", "-b"),
            metavar="HOST[:PORT],…",
            help=f"Addresses of brokers, port 9092 where none is given; else {DEFAULT_BOOTSTRAP}."
            " [OTTLA_BOOTSTRAP]",
        ),
    ]
}
_CONTEXT: Final[dict[str, Any]] = {
    "context": Annotated[
        str | None,
        _shared(
            "--context",
            metavar="NAME",
            autocompletion=context_names,
            help="A profile of `ottla context`, instead of the one in use. [OTTLA_CONTEXT]",
        ),
    ]
}
_TIMEOUT: Final[dict[str, Any]] = {
    "request_timeout": Annotated[
        float,
        _shared(
            "--request-timeout",
            min=0.1,
            max=3600,
            metavar="SECONDS",
            help="Longest time for one call with all its tries.",
        ),
    ]
}
_OUTPUT: Final[dict[str, Any]] = {
    "output": Annotated[
        Output | None,
        typer.Option(
            "--output", "-o", help="How to print: for people, or for programs. [OTTLA_OUTPUT]"
        ),
    ]
}


@dataclass(frozen=True, slots=True)
class ConnectionFlags:
    """What the command line says of the connection; None is not said."""

    bootstrap: str | None = None
    tls: bool | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_server_name: str | None = None
    context: str | None = None
    request_timeout: float = DEFAULT_TIMEOUT_SECONDS
    output: Output | None = None

    def connection(self) -> Connection:
        """The connection that flags, environment and contexts make together.

        Raises:
            CommandFailed: a context is unknown, or contexts cannot be read.
        """
        return connection(self.settings(), timeout_seconds=self.request_timeout)

    def settings(self) -> dict[str, Setting]:
        """Every setting with where it comes from. Raises CommandFailed."""
        return effective_settings(
            self.profile(), os.environ, self._contexts(), context_flag=self.context
        )

    def profile(self) -> dict[str, str | bool | None]:
        """What is said, by the names that contexts have for it."""
        return {
            "bootstrap": self.bootstrap,
            "tls": self.tls,
            "tls_ca": self.tls_ca,
            "tls_cert": self.tls_cert,
            "tls_key": self.tls_key,
            "tls_server_name": self.tls_server_name,
            "output": None if self.output is None else self.output.value,
        }

    def _contexts(self) -> contexts.Contexts:
        try:
            path = contexts.default_path(os.environ)
        except CommandFailed:
            # Without a home there are no contexts, which matters to who asks for one.
            if self.context or os.environ.get("OTTLA_CONTEXT"):
                raise
            return contexts.Contexts()
        return contexts.load(path)


def connects(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command every option of the connection, `--output` among them."""
    return _with_options(command, {**_BOOTSTRAP, **_CONTEXT, **_TLS, **_TIMEOUT, **_OUTPUT})


def connects_without_output(command: Callable[..., None]) -> Callable[..., None]:
    """The same for a command that prints records, which have formats of their own."""
    return _with_options(command, {**_BOOTSTRAP, **_CONTEXT, **_TLS, **_TIMEOUT})


def describes_connection(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options that a context may hold."""
    return _with_options(command, {**_BOOTSTRAP, **_TLS})


def _with_options(command: Callable[..., None], options: dict[str, Any]) -> Callable[..., None]:
    """`command`, its parameter `flags` replaced by an option for each of its fields."""

    @functools.wraps(command)
    def wrapped(*args: Any, **given: Any) -> None:
        flags = ConnectionFlags(**{name: given.pop(name) for name in options if name in given})
        command(*args, flags=flags, **given)

    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    own = [
        each.replace(annotation=hints[each.name])
        for each in signature.parameters.values()
        if each.name != "flags"
    ]
    defaults = {"request_timeout": DEFAULT_TIMEOUT_SECONDS}
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(name),
            annotation=annotation,
        )
        for name, annotation in options.items()
    ]
    # typer reads the signature and the annotations, and must not look through to `command`.
    del wrapped.__dict__["__wrapped__"]
    wrapped.__dict__["__signature__"] = signature.replace(parameters=[*own, *shared])
    wrapped.__annotations__ = {each.name: each.annotation for each in [*own, *shared]}
    return wrapped
