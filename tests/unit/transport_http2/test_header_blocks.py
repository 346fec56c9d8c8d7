"""Header blocks that cannot be decoded."""

from __future__ import annotations

import pytest

from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode
from ottla_broker.transport.http2.header_blocks import HeaderDecoder


@pytest.mark.parametrize(
    "block",
    [b"\xff", b"\x7f" + b"\xff" * 12, b"\xff\xff\x7f", b"\x00\x85\xff\xff\xff\xff\xff\x00"],
    ids=["cut integer", "endless integer", "index of nothing", "bad Huffman code"],
)
def test_a_block_that_cannot_be_decoded_is_told_in_words(block: bytes) -> None:
    decoder = HeaderDecoder(list_size_max=8_192, table_size=4_096)
    with pytest.raises(ConnectionFault) as caught:
        decoder.decode(memoryview(block))  # type: ignore[arg-type]  # as parts of frames come
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR
    assert caught.value.reason == "a header block cannot be decoded"
