"""The `grpc-timeout` header: pure.

At most eight digits and one of six units, as the gRPC protocol fixes it. Timers and what happens
at a deadline belong to `call`.
"""

from __future__ import annotations

import re

_HEADER = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def timeout_seconds(value: bytes) -> float:
    """Seconds the caller grants, from the header's value.

    Raises:
        ValueError: the value is not one to eight digits and a unit.
    """
    match = _HEADER.fullmatch(value)
    if match is None:
        raise ValueError(f"malformed grpc-timeout {value[:32]!r}")
    return int(match[1]) * _SECONDS[match[2]]
