"""How what streams queue becomes frames: sizes, order, fairness, files and their references."""

from __future__ import annotations

from ottla_broker.transport.http2 import ErrorCode
from ottla_broker.transport.http2 import frames as wire
from ottla_broker.transport.stream import FileRange

from .client import RESPONSE, TRAILERS, Client, FakeFile, joined, parse

MIB = 1 << 20


def wide_open(client: Client, *, frame_size: int = 16_384, streams: int = 1) -> None:
    """A client with large windows and some streams that have got their headers."""
    client.settings((4, 2**30), (5, frame_size))
    client.send(wire.window_update_frame(0, 2**30))
    for number in range(streams):
        client.open(2 * number + 1, end_stream=True)
        client.server.send_headers(2 * number + 1, RESPONSE, end_stream=False)
    client.output()


def test_a_message_in_one_file_range_leaves_as_a_header_with_its_prefix_and_the_range() -> None:
    client = Client()
    wide_open(client, frame_size=4 * MIB)
    file = FakeFile()
    client.server.send_data(1, [b"\0\0\x10\0\0", b"\x0a\x80", FileRange(file, 4_096, MIB)])
    head, body = client.output()
    assert head == wire.frame_header(7 + MIB, wire.DATA, 0, 1) + b"\0\0\x10\0\0\x0a\x80"
    assert body == FileRange(file, 4_096, MIB)
    assert file.holders == 1


def test_a_file_range_cut_into_frames_holds_the_file_once_for_each() -> None:
    client = Client()
    wide_open(client)
    file = FakeFile()
    client.server.send_data(1, [b"prefi", FileRange(file, 100, 40_000)])
    parts = client.output()
    ranges = [part for part in parts if isinstance(part, FileRange)]
    assert [(r.position, r.size) for r in ranges] == [
        (100, 16_379),
        (16_479, 16_384),
        (32_863, 7_237),
    ]
    assert file.holders == 3
    assert [len(f.payload) for f in parse(joined(parts))] == [16_384, 16_384, 7_237]


def test_dropping_a_stream_lets_go_of_its_files() -> None:
    client = Client()
    wide_open(client, streams=3)
    files = [FakeFile() for _ in range(3)]
    for number, file in enumerate(files):
        client.server.send_data(2 * number + 1, [b"prefi", FileRange(file, 0, 40_000)])
    client.server.reset_stream(1, ErrorCode.CANCEL)
    client.send(wire.reset_frame(3, 8))
    assert [file.holders for file in files] == [0, 0, 1]
    client.server.connection_lost()
    assert [file.holders for file in files] == [0, 0, 0]


def test_an_empty_file_range_is_let_go_at_once() -> None:
    client = Client()
    wide_open(client)
    file = FakeFile()
    client.server.send_data(1, [b"\0\0\0\0\0", FileRange(file, 0, 0)])
    assert file.holders == 0
    assert [len(f.payload) for f in client.answers()] == [5]


def test_small_messages_of_a_stream_share_a_frame() -> None:
    client = Client()
    wide_open(client)
    for number in range(64):
        client.server.send_data(1, [b"\0\0\0\0\1", b"%c" % number])
    (data,) = client.answers()
    assert data.payload == b"".join(b"\0\0\0\0\1%c" % number for number in range(64))


def test_a_large_piece_in_memory_is_not_copied() -> None:
    client = Client()
    wide_open(client, frame_size=4 * MIB)
    payload = bytes(200_000)
    client.server.send_data(1, [b"prefi", payload])
    _, body = client.output()
    assert body is payload


def test_trailers_wait_behind_queued_data() -> None:
    client = Client()
    client.open(1, end_stream=True)
    client.server.send_headers(1, RESPONSE, end_stream=False)
    client.server.send_data(1, [bytes(100_000)])
    client.server.send_headers(1, TRAILERS, end_stream=True)
    assert {f.kind for f in client.answers()[1:]} == {wire.DATA}
    assert client.server.take_ended() == []
    client.send(wire.window_update_frame(0, 100_000) + wire.window_update_frame(1, 100_000))
    assert [f.kind for f in client.answers()] == [wire.DATA] * 3 + [wire.HEADERS]
    assert client.server.take_ended() == [1]


def test_a_bulk_stream_and_a_small_one_take_turns() -> None:
    client = Client()
    wide_open(client, streams=2)
    client.server.send_data(1, [bytes(4 * MIB)])
    client.server.send_data(3, [b"small"])
    first = parse(joined(client.server.data_to_send(size_max=MIB, now_ms=0, probe=lambda _: True)))
    order = [f.stream_id for f in first]
    assert 3 in order
    assert sum(len(f.payload) for f in first if f.stream_id == 1) <= MIB + 16_384
    assert order.index(3) * 16_384 <= 256 * 1024


def test_two_bulk_streams_get_the_same_share() -> None:
    client = Client()
    wide_open(client, streams=2)
    for stream_id in (1, 3):
        client.server.send_data(stream_id, [bytes(4 * MIB)])
    sent = {1: 0, 3: 0}
    for _ in range(4):
        portion = client.server.data_to_send(size_max=MIB, now_ms=0, probe=lambda _: True)
        for f in parse(joined(portion)):
            sent[f.stream_id] += len(f.payload)
    assert abs(sent[1] - sent[3]) <= 256 * 1024 + 16_384


def test_a_reset_lets_planned_frames_stand_and_drops_the_rest() -> None:
    client = Client()
    wide_open(client)
    client.server.send_data(1, [bytes(MIB)])
    planned = client.server.data_to_send(size_max=50_000, now_ms=0, probe=lambda _: True)
    client.server.reset_stream(1, ErrorCode.CANCEL)
    assert sum(len(f.payload) for f in parse(joined(planned))) < MIB
    (reset,) = client.answers()
    assert (reset.kind, reset.code) == (wire.RST_STREAM, ErrorCode.CANCEL)
    assert client.server.output.memory_size == 0


def test_a_header_list_longer_than_a_frame_continues_without_interruption() -> None:
    client = Client()
    wide_open(client, streams=2)
    long = [
        (b"grpc-status", b"0"),
        *((b"key-%d" % n, bytes(range(33, 127)) * 4) for n in range(90)),
    ]
    client.server.send_headers(1, long, end_stream=True)
    client.server.send_headers(3, TRAILERS, end_stream=True)
    frames = client.answers()
    assert [f.kind for f in frames[:-1]] == [wire.HEADERS] + [wire.CONTINUATION] * (len(frames) - 2)
    assert len(frames) > 3
    assert {f.stream_id for f in frames[:-1]} == {1}
    assert [bool(f.flags & wire.FLAG_END_HEADERS) for f in frames[:-2]] == [False] * (
        len(frames) - 2
    )
    assert client.decode(b"".join(f.payload for f in frames[:-1])) == long


def test_a_cold_file_holds_its_stream_alone_until_it_is_warm() -> None:
    client = Client()
    wide_open(client, frame_size=4 * MIB, streams=2)
    file = FakeFile()
    cold = FileRange(file, 0, MIB)
    client.server.send_data(1, [b"prefi", cold])
    client.server.send_data(3, [b"other"])
    parts = client.server.data_to_send(size_max=MIB, now_ms=0, probe=lambda _: False)
    assert sorted(f.payload for f in parse(joined(parts))) == [b"other", b"prefi"]
    assert client.server.take_cold() == [(1, cold)]
    assert client.server.take_cold() == []
    assert client.server.output.sending_is_held(1)
    # Window updates do not let it go; the file does.
    client.send(wire.window_update_frame(1, 10) + wire.window_update_frame(0, 10))
    nothing = client.server.data_to_send(size_max=MIB, now_ms=0, probe=lambda _: False)
    assert nothing == []
    client.server.file_warmed(1, MIB, now_ms=0)
    parts = client.server.data_to_send(size_max=MIB, now_ms=0, probe=lambda _: False)
    assert parts[1:] == [cold]


def test_warmth_is_asked_once_a_mebibyte_and_again_after_a_second() -> None:
    client = Client()
    wide_open(client)
    file = FakeFile()
    asked: list[FileRange] = []

    def probe(piece: FileRange) -> bool:
        asked.append(piece)
        return True

    client.server.send_data(1, [FileRange(file, 0, 3 * MIB)])
    client.server.data_to_send(size_max=MIB // 2, now_ms=0, probe=probe)
    client.server.data_to_send(size_max=MIB // 4, now_ms=1_000, probe=probe)
    assert [piece.position for piece in asked] == [0]
    client.server.data_to_send(size_max=1, now_ms=1_001, probe=probe)
    assert len(asked) == 2
    while client.server.data_to_send(size_max=MIB, now_ms=1_001, probe=probe):
        pass
    assert sum(piece.size for piece in asked) <= 5 * MIB


def test_a_watched_stream_is_named_when_its_queue_gets_shorter() -> None:
    client = Client()
    wide_open(client, streams=2)
    client.server.send_data(1, [bytes(10)])
    client.server.send_data(3, [bytes(10)])
    client.server.watch_for_room(3)
    assert client.server.output.queued_size(3) == 10
    client.output()
    assert client.server.take_relieved() == [3]
    assert client.server.output.queued_size(3) == 0
    client.server.send_data(3, [bytes(10)])
    client.output()
    assert client.server.take_relieved() == []
