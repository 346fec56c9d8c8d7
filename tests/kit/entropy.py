"""Randomness that repeats itself for a seed."""

from __future__ import annotations

import random


class SeededEntropy:
    """An `Entropy` for tests: the same seed gives the same draws in the same order."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def token_bytes(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def random(self) -> float:
        return self._random.random()
