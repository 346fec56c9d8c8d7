"""Numbers and texts that users set, held to their bounds.

Owns the check and what it says. Which settings there are, and their bounds, is said where they are.
"""

from __future__ import annotations

from ottla.protocol.errors import InvalidConfig


def check_bounds(name: str, value: object, least: int, most: int) -> None:
    """Raises InvalidConfig for what is no whole number within the bounds, both included."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number or not least <= int(str(value)) <= most:
        raise InvalidConfig(f"{name}={value!r} must be a whole number from {least} to {most}")


def check_text(name: str, value: object, chars_max: int) -> None:
    """Raises InvalidConfig for what is no text, or too long."""
    if not isinstance(value, str) or len(value) > chars_max:
        shown = repr(value)[:64]
        raise InvalidConfig(f"{name}={shown} must be text of at most {chars_max} characters")
