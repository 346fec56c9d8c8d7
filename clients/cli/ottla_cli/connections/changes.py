"""What `ottla context` does to the file of contexts, and how it shows them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ottla_cli.connections.contexts import (
    Contexts,
    Profile,
    changing,
    checked_name,
    default_path,
    load,
)
from ottla_cli.connections.settings import CONTEXT_VARIABLE, Setting
from ottla_cli.failures import CommandFailed, UsageFailed
from ottla_cli.terminal import Output, print_json, print_table, say

_PATHS = ("tls_ca", "tls_cert", "tls_key")


def list_all(*, output: Output) -> None:
    """Print every context."""
    contexts = _known()
    current = os.environ.get(CONTEXT_VARIABLE) or contexts.current
    if output is Output.JSON:
        print_json(
            [
                {"name": name, "in_use": name == current, **profile}
                for name, profile in sorted(contexts.profiles.items())
            ]
        )
        return
    rows = [
        (
            "*" if name == current else "",
            name,
            profile["bootstrap"],
            "tls" if _has_tls(profile) else "plain",
            profile.get("output", "–"),
        )
        for name, profile in sorted(contexts.profiles.items())
    ]
    print_table(["", "context", "bootstrap", "security", "output"], rows)


def show_one(name: str, *, output: Output) -> None:
    """Print what a context says. Raises CommandFailed."""
    profile = _known().profile(name)
    if output is Output.JSON:
        print_json({"name": name, **profile})
    else:
        rows = [(key.replace("_", "-"), _shown(value)) for key, value in profile.items()]
        print_table(["setting", "value"], rows, title=f"Context {name}")


def show_effective(settings: Mapping[str, Setting], *, output: Output) -> None:
    """Print every setting with its value and source."""
    if output is Output.JSON:
        print_json(
            {name: {"value": each.value, "source": each.source} for name, each in settings.items()}
        )
        return
    rows = [
        (name.replace("_", "-"), _shown(each.value), each.source) for name, each in settings.items()
    ]
    print_table(["setting", "value", "source"], rows)


def use(name: str) -> None:
    """Make a context the one in use. Raises CommandFailed."""
    with changing(_path()) as contexts:
        contexts.profile(name)
        contexts.current = name
    say(f"Using {name}")


def create(name: str, said: Mapping[str, str | bool | None], *, replaces: bool, uses: bool) -> None:
    """Keep a context.

    Raises:
        UsageFailed: it says no address, or one that cannot be read, or half of a certificate.
        CommandFailed: there is one of that name, or the file cannot be written.
    """
    checked_name(name)
    profile = _profile(said)
    with changing(_path()) as contexts:
        if name in contexts.profiles and not replaces:
            raise CommandFailed(
                f"there is a context {name!r} already", hint="--replace puts this in its place"
            )
        contexts.profiles[name] = profile
        if uses:
            contexts.current = name
    say(f"Created {name}" + (", and using it" if uses else ""))


def delete(name: str) -> None:
    """Forget a context. Raises CommandFailed."""
    with changing(_path()) as contexts:
        contexts.profile(name)
        del contexts.profiles[name]
        if contexts.current == name:
            contexts.current = ""
    say(f"Deleted {name}")


def _profile(said: Mapping[str, str | bool | None]) -> Profile:
    from ottla.client.bootstrap import parse_bootstrap  # noqa: PLC0415 - loads gRPC
    from ottla.protocol.errors import InvalidRequest  # noqa: PLC0415 - as above

    profile: Profile = {}
    for key, value in said.items():
        if isinstance(value, str) and key in _PATHS:
            path = Path(value).absolute()
            if not path.is_file():
                raise UsageFailed(f"--{key.replace('_', '-')} {value}: there is no such file")
            profile[key] = str(path)
        elif value is not None:
            profile[key] = value
    bootstrap = profile.get("bootstrap")
    if not isinstance(bootstrap, str):
        raise UsageFailed("a context needs --bootstrap, the addresses of brokers")
    try:
        parse_bootstrap(bootstrap)
    except InvalidRequest as error:
        raise UsageFailed(error.message) from None
    if ("tls_cert" in profile) != ("tls_key" in profile):
        raise UsageFailed("--tls-cert and --tls-key go together: a certificate and its private key")
    return profile


def _has_tls(profile: Profile) -> bool:
    named = any(key.startswith("tls_") for key in profile)
    return bool(profile.get("tls", named))


def _known() -> Contexts:
    return load(_path())


def _path() -> Path:
    return default_path(os.environ)


def _shown(value: str | bool | None) -> str:
    if value is None:
        return "–"
    return str(value).lower() if isinstance(value, bool) else value
