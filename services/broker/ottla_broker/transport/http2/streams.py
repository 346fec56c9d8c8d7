"""The life of a stream (RFC 9113, section 5.1) as one table, and the record kept for each.

```
        recv HEADERS            recv END_STREAM
 IDLE ---------------> OPEN ---------------------> HALF_CLOSED_REMOTE
                        | send END_STREAM                 | send END_STREAM
                        v                                 v
                HALF_CLOSED_LOCAL ----------------------> ENDED
 any open state: send RST_STREAM -> RESET_SENT, receive it -> RESET_RECEIVED
```
The closed state is three states, because what a late frame means depends on how it closed:
after our RST_STREAM the client may not have heard of it yet, after its own it has no excuse.
Reserved states do not exist: this server does not push.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode, StreamFault
from ottla_broker.transport.http2.outbox import Outbox
from ottla_broker.transport.http2.windows import ReceiveWindow, SendWindow


class StreamState(Enum):
    """Where a stream is in its life."""

    IDLE = auto()
    OPEN = auto()
    HALF_CLOSED_LOCAL = auto()
    HALF_CLOSED_REMOTE = auto()
    ENDED = auto()
    RESET_SENT = auto()
    RESET_RECEIVED = auto()


class StreamInput(Enum):
    """What can happen to a stream; END_STREAM is an input of its own after its frame's."""

    RECV_HEADERS = auto()
    RECV_DATA = auto()
    RECV_END_STREAM = auto()
    RECV_RST_STREAM = auto()
    RECV_WINDOW_UPDATE = auto()
    SEND_HEADERS = auto()
    SEND_DATA = auto()
    SEND_END_STREAM = auto()
    SEND_RST_STREAM = auto()


class Refusal(Enum):
    """What a forbidden input does instead of a transition."""

    IGNORE = auto()
    STREAM_CLOSED_ON_STREAM = auto()
    STREAM_CLOSED_ON_CONNECTION = auto()
    PROTOCOL_ERROR_ON_CONNECTION = auto()
    # Only this program can bring it about: an assertion, never an answer to a client.
    BUG = auto()


_S = StreamState
_I = StreamInput
_R = Refusal

_COLUMNS = (
    _S.IDLE,
    _S.OPEN,
    _S.HALF_CLOSED_LOCAL,
    _S.HALF_CLOSED_REMOTE,
    _S.ENDED,
    _S.RESET_SENT,
    _S.RESET_RECEIVED,
)
_STREAM = _R.STREAM_CLOSED_ON_STREAM
_CLOSED = _R.STREAM_CLOSED_ON_CONNECTION
_PROTOCOL = _R.PROTOCOL_ERROR_ON_CONNECTION
_SENT, _RECEIVED = _S.RESET_SENT, _S.RESET_RECEIVED
_REMOTE, _LOCAL = _S.HALF_CLOSED_REMOTE, _S.HALF_CLOSED_LOCAL
_ROWS: dict[StreamInput, tuple[StreamState | Refusal, ...]] = {
    _I.RECV_HEADERS: (_S.OPEN, _S.OPEN, _LOCAL, _STREAM, _CLOSED, _R.IGNORE, _STREAM),
    _I.RECV_DATA: (_PROTOCOL, _S.OPEN, _LOCAL, _STREAM, _STREAM, _R.IGNORE, _STREAM),
    _I.RECV_END_STREAM: (_R.BUG, _REMOTE, _S.ENDED, _STREAM, _R.BUG, _R.BUG, _R.BUG),
    _I.RECV_RST_STREAM: (
        *(_PROTOCOL, _RECEIVED, _RECEIVED, _RECEIVED),
        *(_R.IGNORE, _R.IGNORE, _R.IGNORE),
    ),
    _I.RECV_WINDOW_UPDATE: (
        *(_PROTOCOL, _S.OPEN, _LOCAL, _REMOTE),
        *(_R.IGNORE, _R.IGNORE, _R.IGNORE),
    ),
    _I.SEND_HEADERS: (_R.BUG, _S.OPEN, _R.BUG, _REMOTE, _R.BUG, _R.BUG, _R.BUG),
    _I.SEND_DATA: (_R.BUG, _S.OPEN, _R.BUG, _REMOTE, _R.BUG, _R.BUG, _R.BUG),
    _I.SEND_END_STREAM: (_R.BUG, _LOCAL, _R.BUG, _S.ENDED, _R.BUG, _R.BUG, _R.BUG),
    _I.SEND_RST_STREAM: (_R.BUG, _SENT, _SENT, _SENT, _SENT, _R.IGNORE, _SENT),
}

TRANSITIONS: dict[tuple[StreamState, StreamInput], StreamState | Refusal] = {
    (state, row): outcome
    for row, outcomes in _ROWS.items()
    for state, outcome in zip(_COLUMNS, outcomes, strict=True)
}


def transition(state: StreamState, step: StreamInput) -> StreamState | None:
    """The state after `step`, or None when the step is to be ignored.

    Raises:
        StreamFault: the stream must be reset for it.
        ConnectionFault: the connection must end for it.
    """
    outcome = TRANSITIONS[state, step]
    match outcome:
        case StreamState():
            return outcome
        case Refusal.IGNORE:
            return None
        case Refusal.STREAM_CLOSED_ON_STREAM:
            raise StreamFault(ErrorCode.STREAM_CLOSED, f"{step.name} in {state.name}")
        case Refusal.STREAM_CLOSED_ON_CONNECTION:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, f"{step.name} in {state.name}")
        case Refusal.PROTOCOL_ERROR_ON_CONNECTION:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{step.name} in {state.name}")
        case Refusal.BUG:
            raise AssertionError(f"{step.name} in {state.name}")


@dataclass(slots=True, eq=False)
class Stream:
    """What the core knows of one live stream."""

    stream_id: int
    state: StreamState
    send_window: SendWindow
    receive_window: ReceiveWindow
    outbox: Outbox
    # From the request's content-length; None when it announced none.
    body_size_announced: int | None = None
    body_size_received: int = 0

    def step(self, step: StreamInput) -> None:
        """Move on by a step that is legal or faulty, never ignorable, in a live stream."""
        state = transition(self.state, step)
        assert state is not None
        self.state = state


class ClosedStreams:
    """How the most recent streams were closed: bounded, oldest forgotten first."""

    __slots__ = ("_limit", "_order", "_states")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._order: deque[int] = deque()
        self._states: dict[int, StreamState] = {}

    def remember(self, stream_id: int, state: StreamState) -> None:
        if stream_id not in self._states:
            self._order.append(stream_id)
            if len(self._order) > self._limit:
                del self._states[self._order.popleft()]
        self._states[stream_id] = state

    def state_of(self, stream_id: int) -> StreamState | None:
        """None when forgotten, or never opened."""
        return self._states.get(stream_id)
