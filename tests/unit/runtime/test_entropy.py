"""The contract of `Entropy`, held by the machine's randomness and by the one for tests."""

from __future__ import annotations

import pytest

from kit.entropy import SeededEntropy
from ottla_runtime.entropy import Entropy, SystemEntropy


@pytest.fixture(params=[SystemEntropy, SeededEntropy])
def entropy(request: pytest.FixtureRequest) -> Entropy:
    made: Entropy = request.param()
    return made


@pytest.mark.parametrize("size", [0, 1, 16, 1_000])
def test_tokens_have_the_size_asked_for(entropy: Entropy, size: int) -> None:
    assert len(entropy.token_bytes(size)) == size


def test_tokens_differ(entropy: Entropy) -> None:
    assert len({entropy.token_bytes(16) for _ in range(100)}) == 100


def test_numbers_are_spread_over_the_unit_interval(entropy: Entropy) -> None:
    drawn = [entropy.random() for _ in range(1_000)]
    assert all(0 <= number < 1 for number in drawn)
    assert {int(number * 4) for number in drawn} == {0, 1, 2, 3}


def test_a_seed_repeats_itself() -> None:
    first, second, other = SeededEntropy(7), SeededEntropy(7), SeededEntropy(8)
    assert first.token_bytes(8) == second.token_bytes(8) != other.token_bytes(8)
    assert first.random() == second.random()
