"""Chance as services see it: the `Entropy` port and the operating system's randomness.

Owns ids and jitter drawn at random. Tests use `kit.entropy.SeededEntropy`, which repeats itself
for a seed and passes the same contract test.
"""

from __future__ import annotations

import os
import random
from typing import Protocol


class Entropy(Protocol):
    """Draws at random. Constructors take it keyword-only and without default."""

    def token_bytes(self, size: int) -> bytes:
        """`size` bytes that nobody can guess; for ids and tokens."""
        ...

    def random(self) -> float:
        """A number from 0 up to, not including, 1; for jitter and random order."""
        ...


class SystemEntropy:
    """The operating system's randomness."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def token_bytes(self, size: int) -> bytes:
        return os.urandom(size)

    def random(self) -> float:
        return self._random.random()
