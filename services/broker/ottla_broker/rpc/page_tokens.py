"""What page tokens of this broker's calls are made of: numbers, and a place in front of the rest.

Owns reading them. Tokens come from clients: whatever is none of ours is refused, however it is cut.
"""

from __future__ import annotations

from typing import Final

from ottla.protocol.errors import FieldError, InvalidRequest

_NUMBER_DIGITS_MAX: Final = 10


def not_our_token() -> InvalidRequest:
    """The error for a page token that no broker gave out."""
    return InvalidRequest(
        "page_token is not one that this cluster gave out",
        field_errors=[FieldError("page_token", "take next_page_token as it came")],
    )


def token_number(text: str) -> int:
    """A number in a page token. Raises InvalidRequest."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _NUMBER_DIGITS_MAX):
        raise not_our_token()
    return int(text)


def split_token(token: str, *, chars_max: int) -> tuple[int, str]:
    """The number that a token `<number>:<rest>` begins with, and the rest; 0 and "" for none.

    Raises:
        InvalidRequest: it isn't of that form.
    """
    if not token:
        return 0, ""
    number, separator, rest = token.partition(":")
    if len(token) > chars_max or not separator:
        raise not_our_token()
    return token_number(number), rest
