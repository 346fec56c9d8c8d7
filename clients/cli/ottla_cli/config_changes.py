"""Changes of settings as written on a command line. Pure, and light enough for help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ottla_cli.failures import UsageFailed


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to become of settings; each is in one of these at most."""

    values: dict[str, str | None] = field(default_factory=dict)
    """None unsets."""
    append: dict[str, str] = field(default_factory=dict)
    subtract: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything is to change."""
        return bool(self.values or self.append or self.subtract)

    def words(self) -> Iterator[str]:
        """Each change as a person would say it."""
        for name, value in self.values.items():
            yield f"{name} unset" if value is None else f"{name}={value}"
        yield from (f"{name}+={value}" for name, value in self.append.items())
        yield from (f"{name}-={value}" for name, value in self.subtract.items())

    def document(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "set": {name: value for name, value in self.values.items() if value is not None},
            "unset": [name for name, value in self.values.items() if value is None],
            "append": self.append,
            "subtract": self.subtract,
        }


def parse_changes(
    *,
    sets: Sequence[str],
    unsets: Sequence[str],
    appends: Sequence[str],
    subtracts: Sequence[str],
) -> Changes:
    """Changes from what options say, `name=value` or, to unset, `name`.

    Raises:
        UsageFailed: one is not of that form, or a setting is named more than once.
    """
    changes = Changes(
        values={**_pairs("--set", sets), **_names(unsets)},
        append=_pairs("--append", appends),
        subtract=_pairs("--subtract", subtracts),
    )
    named = [*_named(sets), *unsets, *_named(appends), *_named(subtracts)]
    for name in named:
        if named.count(name) > 1:
            raise UsageFailed(f"setting {name} is named twice: one change of it at a time")
    return changes


def _pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageFailed(f"{option} {text!r}: write name=value, as retention.ms=86400000")
        pairs[name] = value
    return pairs


def _names(texts: Iterable[str]) -> dict[str, str | None]:
    for text in texts:
        if "=" in text or not text:
            raise UsageFailed(f"--unset {text!r}: write the setting's name alone, as retention.ms")
    return dict.fromkeys(texts)


def _named(texts: Iterable[str]) -> list[str]:
    return [text.partition("=")[0] for text in texts]
