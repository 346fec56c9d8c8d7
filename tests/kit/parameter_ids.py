"""Binary parameters are named for their argument, not for their bytes.

A pytest plugin. Every worker collects the tests by itself, and a name made from bytes that hold a
time stamp (gzip) or chance differs between them: pytest-xdist then runs nothing at all.
"""

from __future__ import annotations


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """The argument's name, which pytest numbers where it repeats; None leaves it to pytest."""
    if isinstance(val, bytes) and not (val.isascii() and val.decode("ascii").isprintable()):
        return argname
    return None
