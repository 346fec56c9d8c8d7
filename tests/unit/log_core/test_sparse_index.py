"""The arithmetic of both indexes, against plain lists of batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.core.sparse_index import NO_TIMESTAMP, TAIL_COUNT_MAX, IndexBuilder

BASE = 1_000

batches = st.lists(
    st.tuples(st.integers(1, 50), st.integers(20, 3_000), st.integers(-5, 1_000)), max_size=60
)


class Model:
    """Batches as (offset, position, size, time), and the indexes built from them."""

    def __init__(self, shapes: list[tuple[int, int, int]], interval_bytes: int) -> None:
        self.builder = IndexBuilder(BASE, interval_bytes=interval_bytes)
        self.batches: list[tuple[int, int, int, int]] = []
        offset, position = BASE, 0
        for count, size, time_ms in shapes:
            self.builder.add(
                base_offset=offset, position=position, size=size, max_timestamp_ms=time_ms
            )
            self.batches.append((offset, position, size, time_ms))
            offset, position = offset + count, position + size
        self.end = position


@given(batches, st.integers(0, 4_096), st.integers(0, 3_000))
def test_position_before_an_offset_is_a_batch_at_most_an_interval_and_a_batch_ahead(
    shapes: list[tuple[int, int, int]], interval_bytes: int, relative: int
) -> None:
    model = Model(shapes, interval_bytes)
    position = model.builder.offset_index.position_before(relative)
    starts = {at: offset for offset, at, _, _ in model.batches}
    assert position == 0 or starts[position] <= BASE + relative
    holding = [at for offset, at, _, _ in model.batches if offset <= BASE + relative]
    sizes = [size for _, _, size, _ in model.batches]
    if holding:
        assert holding[-1] - position <= interval_bytes + max(sizes)


@given(batches, st.integers(0, 4_096), st.integers(0, 200_000))
def test_position_at_most_is_the_beginning_of_a_batch_no_later(
    shapes: list[tuple[int, int, int]], interval_bytes: int, position: int
) -> None:
    model = Model(shapes, interval_bytes)
    found = model.builder.offset_index.position_at_most(position)
    assert found == 0 or found in {at for _, at, _, _ in model.batches}
    assert found <= position


@given(batches, st.integers(0, 4_096), st.integers(-10, 1_010))
def test_time_index_names_an_interval_that_holds_the_first_batch_of_a_time(
    shapes: list[tuple[int, int, int]], interval_bytes: int, time_ms: int
) -> None:
    model = Model(shapes, interval_bytes)
    index, times = model.builder.offset_index, model.builder.time_index
    first = next((one for one in model.batches if one[3] >= time_ms), None)
    reached = times.offset_reached(time_ms)
    if reached is not None:
        assert first is not None
        assert first[0] < BASE + reached
        assert first[1] >= index.position_preceding(reached)
    elif first is not None:
        assert first[1] >= (index.positions[-1] if index.positions else 0)


@given(batches)
def test_builder_knows_the_largest_time(shapes: list[tuple[int, int, int]]) -> None:
    model = Model(shapes, 100)
    assert model.builder.max_timestamp_ms == max(
        (one[3] for one in model.batches), default=NO_TIMESTAMP
    )


@given(batches, st.integers(0, 2_000), st.data())
def test_resumed_builder_keeps_the_interval(
    shapes: list[tuple[int, int, int]], interval_bytes: int, data: st.DataObject
) -> None:
    whole = Model(shapes, interval_bytes)
    cut = data.draw(st.integers(0, len(shapes)))
    part = Model(shapes[:cut], interval_bytes)
    resumed = IndexBuilder.resume(
        BASE,
        interval_bytes=interval_bytes,
        offset_index=part.builder.offset_index,
        time_index=part.builder.time_index,
        max_timestamp_ms=part.builder.max_timestamp_ms,
        log_size=part.end,
    )
    for offset, position, size, time_ms in whole.batches[cut:]:
        resumed.add(base_offset=offset, position=position, size=size, max_timestamp_ms=time_ms)
    assert list(resumed.offset_index.positions) == list(whole.builder.offset_index.positions)
    assert list(resumed.time_index.timestamps) == list(whole.builder.time_index.timestamps)
    assert list(resumed.time_index.offsets) == list(whole.builder.time_index.offsets)


def test_empty_index_points_at_the_beginning() -> None:
    builder = IndexBuilder(BASE, interval_bytes=1)
    assert builder.offset_index.position_before(7) == 0
    assert builder.offset_index.position_at_most(7) == 0
    assert builder.time_index.offset_reached(0) is None


@given(batches, st.integers(1, 4_096))
def test_the_newest_batches_are_known_exactly(
    shapes: list[tuple[int, int, int]], interval_bytes: int
) -> None:
    model = Model(shapes, interval_bytes)
    index = model.builder.offset_index
    entries = set(index.positions)
    for offset, position, _, _ in reversed(model.batches):
        assert index.position_before(offset - BASE) == position
        if position in entries:
            break


def test_what_is_known_beside_the_entries_is_bounded() -> None:
    builder = IndexBuilder(BASE, interval_bytes=1 << 30)
    for number in range(10 * TAIL_COUNT_MAX):
        builder.add(base_offset=BASE + number, position=number * 61, size=61, max_timestamp_ms=0)
    known = {builder.offset_index.position_before(number) for number in range(10 * TAIL_COUNT_MAX)}
    assert len(known) <= TAIL_COUNT_MAX + 1
