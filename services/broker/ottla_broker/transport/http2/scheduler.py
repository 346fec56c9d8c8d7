"""Cuts what streams have queued into frames, fairly, within the windows of both levels.

Streams with something to send stand in one line. Each turn takes at most a quantum, so that a
bulk stream and a small one share the connection; a stream held by its own window, by the
connection's or by a cold file leaves the line until that is over. Frames come out whole and in
order: whoever writes the output in order never interleaves inside a frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from ottla_broker.transport.http2.frames import DATA, frame_header, header_frames
from ottla_broker.transport.http2.outbox import FileCursor, HeaderBlock, Hold
from ottla_broker.transport.http2.settings import PeerSettings
from ottla_broker.transport.http2.streams import Stream, StreamInput
from ottla_broker.transport.http2.windows import SendWindow
from ottla_broker.transport.stream import FileRange, Part

# One turn of a stream: a whole frame of a large message, or many small frames.
QUANTUM_SIZE = 256 * 1024
# Pieces up to this size are copied next to their frame header; larger ones leave as they are.
_JOINED_SIZE_MAX = 4_096
# How much of a file is asked for warmth at once, and how long the answer is believed.
_PROBED_SIZE = 1 << 20
_PROBE_BELIEVED_MS = 1_000

# However large a peer's frames may be: longer ones would keep other streams waiting.
_FRAME_SIZE_MAX = (1 << 20) + (1 << 14)

# How many closed streams may stand in the line, or among those that wait for the window.
_CLOSED_MAX = 1_000

WarmthProbe = Callable[[FileRange], bool]
_IsWarm = Callable[[Stream, FileCursor], bool]


class Scheduler:
    """Owns the line of streams and the connection's send window."""

    def __init__(self, peer: PeerSettings, *, on_end: Callable[[Stream], None]) -> None:
        self.window = SendWindow(65_535)
        self.memory_size = 0
        # Streams whose outbox lost bytes while somebody waits for room, and streams that wait
        # for their file to be read into the page cache; the shell empties both lists.
        self.relieved: list[int] = []
        self.cold: list[tuple[int, FileRange]] = []
        self._peer = peer
        self._on_end = on_end
        self._line: deque[Stream] = deque()
        # Streams that wait for the connection's window, who waited longest first.
        self._starved: deque[Stream] = deque()
        self._closed_count = 0

    @property
    def idle(self) -> bool:
        """Nothing can be sent now."""
        return not self._line and not (self._starved and self.window.size > 0)

    def schedule(self, stream: Stream) -> None:
        """Put a stream with something queued into the line, unless it is held."""
        outbox = stream.outbox
        if not outbox.scheduled and outbox.hold is Hold.NOTHING:
            outbox.scheduled = True
            self._line.append(stream)

    def release(self, stream: Stream) -> None:
        """End a stream's hold, whichever it was; the next turn finds out if it is over."""
        outbox = stream.outbox
        outbox.hold = Hold.NOTHING
        if outbox.items:
            self.schedule(stream)

    def release_window(self, stream: Stream) -> None:
        """The client has opened a stream's window: nobody is woken unless it was held by it."""
        if stream.send_window.size <= 0:
            return
        if stream.outbox.hold is Hold.STREAM_WINDOW:
            self.release(stream)
        if stream.outbox.awaits_window:
            stream.outbox.awaits_window = False
            self.relieved.append(stream.stream_id)

    def forget(self, stream: Stream) -> None:
        """Drop what a closed stream has queued."""
        outbox = stream.outbox
        self.memory_size -= outbox.drop()
        if outbox.scheduled or outbox.hold is Hold.CONNECTION_WINDOW:
            self._closed_count += 1
            if self._closed_count > _CLOSED_MAX:
                self._sweep()

    def _sweep(self) -> None:
        """Take the closed streams out: a client that resets and never reads would add for ever."""
        for streams in (self._line, self._starved):
            waiting = [stream for stream in streams if stream.outbox.items]
            streams.clear()
            streams.extend(waiting)
        self._closed_count = 0

    def plan(self, output: list[Part], *, size_max: int, now_ms: int, probe: WarmthProbe) -> None:
        """Append frames of up to about `size_max` bytes of DATA to `output`."""
        planned = 0
        line, starved = self._line, self._starved
        while planned < size_max and not self.idle:
            # One a turn, and only while there is room: all at once would mostly starve again.
            if starved and self.window.size > 0:
                self.release(starved.popleft())
            if not line:
                continue
            stream = line.popleft()
            outbox = stream.outbox
            outbox.scheduled = False
            if not outbox.items:
                continue
            budget = min(QUANTUM_SIZE, size_max - planned)
            planned += self._turn(stream, output, budget=budget, now_ms=now_ms, probe=probe)
            if outbox.items:
                self.schedule(stream)

    def _turn(
        self, stream: Stream, output: list[Part], *, budget: int, now_ms: int, probe: WarmthProbe
    ) -> int:
        """One stream's turn; returns how many bytes of DATA it took, at least one if it counts."""
        outbox = stream.outbox
        items = outbox.items
        is_warm = partial(self._hold_if_cold, now_ms=now_ms, probe=probe)
        taken = 0
        while items and taken < budget:
            head = items[0]
            if type(head) is HeaderBlock:
                items.popleft()
                self._plan_headers(stream, head, output)
                continue
            # A large frame may exceed what is left of the turn: cutting it would cost more.
            allowed = min(
                stream.send_window.size,
                self.window.size,
                self._peer.frame_size_max,
                _FRAME_SIZE_MAX,
            )
            if allowed <= 0:
                self._hold_for_window(stream)
                break
            taken += self._plan_data(stream, allowed, output, is_warm=is_warm)
            if outbox.hold is not Hold.NOTHING:
                break
        if taken and outbox.watched:
            outbox.watched = False
            self.relieved.append(stream.stream_id)
        return taken

    def _plan_headers(self, stream: Stream, head: HeaderBlock, output: list[Part]) -> None:
        frame_size_max = self._peer.frame_size_max
        stream.step(StreamInput.SEND_HEADERS)
        output.append(
            header_frames(
                stream.stream_id,
                head.block,
                end_stream=head.end_stream,
                frame_size_max=frame_size_max,
            )
        )
        if head.end_stream:
            stream.step(StreamInput.SEND_END_STREAM)
            self._on_end(stream)

    def _hold_for_window(self, stream: Stream) -> None:
        if stream.send_window.size <= 0:
            stream.outbox.hold = Hold.STREAM_WINDOW
        else:
            stream.outbox.hold = Hold.CONNECTION_WINDOW
            self._starved.append(stream)

    def _hold_if_cold(
        self, stream: Stream, cursor: FileCursor, *, now_ms: int, probe: WarmthProbe
    ) -> bool:
        """Whether the next bytes of a file are in the page cache; if not, the stream waits."""
        if cursor.position < cursor.warm_until_position and now_ms <= cursor.warm_until_ms:
            return True
        ahead = FileRange(cursor.file, cursor.position, min(cursor.remaining, _PROBED_SIZE))
        if not probe(ahead):
            stream.outbox.hold = Hold.COLD_FILE
            self.cold.append((stream.stream_id, ahead))
            return False
        _believe_warm(cursor, ahead.size, now_ms)
        return True

    def warmed(self, stream: Stream, *, size: int, now_ms: int) -> None:
        """The file bytes a stream waited for have been read: let it go on."""
        items = stream.outbox.items
        if stream.outbox.hold is not Hold.COLD_FILE or not items:
            return
        head = items[0]
        if type(head) is FileCursor:
            _believe_warm(head, size, now_ms)
        self.release(stream)

    def _plan_data(
        self, stream: Stream, allowed: int, output: list[Part], *, is_warm: _IsWarm
    ) -> int:
        """One DATA frame of at most `allowed` bytes; returns its size."""
        body, size, memory_size = _take(stream, allowed, is_warm)
        if not size:
            return 0
        stream.step(StreamInput.SEND_DATA)
        stream.send_window.size -= size
        self.window.size -= size
        outbox = stream.outbox
        outbox.size -= size
        outbox.memory_size -= memory_size
        self.memory_size -= memory_size
        _append_joined(output, frame_header(size, DATA, 0, stream.stream_id), body)
        return size


def _take(stream: Stream, allowed: int, is_warm: _IsWarm) -> tuple[list[Part], int, int]:
    """Take up to `allowed` bytes of DATA from the head of the queue.

    Returns the pieces, their size, and how much of it was in memory. Stops before a header
    block, and before file bytes that are not in the page cache.
    """
    items = stream.outbox.items
    body: list[Part] = []
    size = memory_size = 0
    while items and size < allowed:
        head = items[0]
        room = allowed - size
        if type(head) is FileCursor:
            if not is_warm(stream, head):
                break
            count = min(head.remaining, room, head.warm_until_position - head.position)
            body.append(head.cut(count))
            if not head.remaining:
                items.popleft()
        elif type(head) is HeaderBlock:
            break
        else:
            count = len(head)
            if count <= room:
                items.popleft()
                body.append(head)
            else:
                view = memoryview(head)
                count = room
                body.append(view[:room])
                items[0] = view[room:]
            memory_size += count
        size += count
    return body, size, memory_size


def _believe_warm(cursor: FileCursor, size: int, now_ms: int) -> None:
    cursor.warm_until_position = cursor.position + size
    cursor.warm_until_ms = now_ms + _PROBE_BELIEVED_MS


def _append_joined(output: list[Part], header: bytes, body: list[Part]) -> None:
    """Append a frame, joining runs of small pieces so that few pieces are gathered later."""
    run: list[bytes | memoryview] = [header]
    for part in body:
        if type(part) is FileRange or len(part) > _JOINED_SIZE_MAX:
            if run:
                output.append(b"".join(run) if len(run) > 1 else run[0])
                run = []
            output.append(part)
        else:
            run.append(part)
    if run:
        output.append(b"".join(run) if len(run) > 1 else run[0])
