"""The partitioners that need chance, as users make them: without bringing any.

Owns nothing but that; what they do is `core.partitioners`'.
"""

from __future__ import annotations

import random

from ottla.client.core import partitioners


class StickyPartitioner(partitioners.StickyPartitioner):
    """Keys by hash; records without a key go to one partition until its batch is full.

    Full batches are cheaper than many small ones, and over time every partition has its share.
    """

    def __init__(self, chance: random.Random | None = None) -> None:
        super().__init__(chance or random.Random())


class RandomPartitioner(partitioners.RandomPartitioner):
    """Every record to any partition, keys or not."""

    def __init__(self, chance: random.Random | None = None) -> None:
        super().__init__(chance or random.Random())
