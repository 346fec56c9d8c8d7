"""The transition table: complete, closed under every input, and in agreement with RFC 9113."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode, StreamFault
from ottla_broker.transport.http2.streams import (
    TRANSITIONS,
    ClosedStreams,
    Refusal,
    StreamInput,
    StreamState,
    transition,
)

CLOSED = {StreamState.ENDED, StreamState.RESET_SENT, StreamState.RESET_RECEIVED}
CLIENT_INPUTS = [step for step in StreamInput if step.name.startswith("RECV")]


def test_every_state_has_an_outcome_for_every_input() -> None:
    assert set(TRANSITIONS) == {(state, step) for state in StreamState for step in StreamInput}


@given(st.sampled_from(StreamState), st.sampled_from(StreamInput))
def test_an_outcome_is_a_state_or_the_refusal_the_table_names(
    state: StreamState, step: StreamInput
) -> None:
    expected = TRANSITIONS[state, step]
    match expected:
        case StreamState():
            assert transition(state, step) is expected
        case Refusal.IGNORE:
            assert transition(state, step) is None
        case Refusal.STREAM_CLOSED_ON_STREAM:
            with pytest.raises(StreamFault) as stream_fault:
                transition(state, step)
            assert stream_fault.value.code is ErrorCode.STREAM_CLOSED
        case Refusal.STREAM_CLOSED_ON_CONNECTION:
            with pytest.raises(ConnectionFault) as closed:
                transition(state, step)
            assert closed.value.code is ErrorCode.STREAM_CLOSED
        case Refusal.PROTOCOL_ERROR_ON_CONNECTION:
            with pytest.raises(ConnectionFault) as fault:
                transition(state, step)
            assert fault.value.code is ErrorCode.PROTOCOL_ERROR
        case Refusal.BUG:
            with pytest.raises(AssertionError):
                transition(state, step)


@given(st.lists(st.sampled_from(CLIENT_INPUTS), max_size=30))
def test_no_order_of_frames_leads_from_a_closed_state_back_to_an_open_one(
    steps: list[StreamInput],
) -> None:
    state = StreamState.IDLE
    closed = False
    for step in steps:
        if state is StreamState.IDLE and step is StreamInput.RECV_END_STREAM:
            continue  # END_STREAM is a flag on frames that have been judged already
        if state in CLOSED and step is StreamInput.RECV_END_STREAM:
            continue
        try:
            state = transition(state, step) or state
        except (StreamFault, ConnectionFault):
            break
        closed = closed or state in CLOSED
        assert (state in CLOSED) or not closed


@pytest.mark.parametrize(
    ("state", "step", "after"),
    [
        (StreamState.IDLE, StreamInput.RECV_HEADERS, StreamState.OPEN),
        (StreamState.OPEN, StreamInput.RECV_END_STREAM, StreamState.HALF_CLOSED_REMOTE),
        (StreamState.OPEN, StreamInput.SEND_END_STREAM, StreamState.HALF_CLOSED_LOCAL),
        (StreamState.HALF_CLOSED_REMOTE, StreamInput.SEND_END_STREAM, StreamState.ENDED),
        (StreamState.HALF_CLOSED_LOCAL, StreamInput.RECV_END_STREAM, StreamState.ENDED),
        (StreamState.OPEN, StreamInput.RECV_RST_STREAM, StreamState.RESET_RECEIVED),
        (StreamState.OPEN, StreamInput.SEND_RST_STREAM, StreamState.RESET_SENT),
        (StreamState.RESET_RECEIVED, StreamInput.SEND_RST_STREAM, StreamState.RESET_SENT),
    ],
)
def test_the_arrows_of_the_specification_are_in_the_table(
    state: StreamState, step: StreamInput, after: StreamState
) -> None:
    assert TRANSITIONS[state, step] is after


def test_only_so_many_closed_streams_are_remembered_and_the_oldest_is_forgotten_first() -> None:
    closed = ClosedStreams(limit=3)
    for stream_id in (1, 3, 5):
        closed.remember(stream_id, StreamState.ENDED)
    closed.remember(1, StreamState.RESET_SENT)
    closed.remember(7, StreamState.ENDED)
    assert closed.state_of(1) is None
    assert [closed.state_of(stream_id) for stream_id in (3, 5, 7)] == [StreamState.ENDED] * 3
