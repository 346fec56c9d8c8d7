"""Tokens that say where the next page begins.

Owns their form: opaque to clients, checked when they come back. A token holds a place, no state:
pages can be asked for at any controller, and a topic made or deleted meanwhile disturbs no other.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Final

from ottla.protocol.errors import FieldError, InvalidRequest
from ottla_controller.core import limits

_VERSION: Final = 1


def encode_token(kind: str, *place: str | int) -> str:
    """The token for a place in an answer of that kind."""
    text = json.dumps([_VERSION, kind, *place], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode()


def decode_token(token: str, kind: str) -> tuple[str, int]:
    """The place of a token: a text and a number.

    Raises:
        InvalidRequest: it is no token of that kind; the client made it up or mixed it up.
    """
    try:
        if len(token) > limits.PAGE_TOKEN_CHARS_MAX:
            raise ValueError("too long")
        match json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True)):
            case [1, str(found), str(text), int(number)] if found == kind and number >= 0:
                return text, number
    except (ValueError, binascii.Error, RecursionError):
        pass
    rule = f"is the next_page_token of another page of {kind}"
    raise InvalidRequest(f"page_token {rule}", field_errors=[FieldError("page_token", rule)])


def page_size(asked: int, *, maximum: int) -> int:
    """The size of a page: as asked for, or the largest for 0.

    Raises:
        InvalidRequest: it is above the largest.
    """
    if asked > maximum:
        rule = f"is at most {maximum}, not {asked}"
        raise InvalidRequest(f"page_size {rule}", field_errors=[FieldError("page_size", rule)])
    return asked or maximum
