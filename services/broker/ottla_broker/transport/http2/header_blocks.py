"""Header compression on the `hpack` package: bounded decoding, and encoding without state.

What we send never enters the dynamic table: a gRPC server repeats the same few lists, so a
block that depends on nothing can be kept and sent again for the price of a look-up, on any
connection. The table the client would keep for us is set to zero by the first block.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from hpack import Decoder, Encoder, HPACKError, OversizedHeaderListError

from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode
from ottla_broker.transport.stream import Header

# "Dynamic table size update" to 0 (RFC 7541, 6.3): stands before the first block only.
_NO_TABLE = b"\x20"
_BLOCKS_KEPT = 256
_BLOCK_SIZE_KEPT_MAX = 1_024


class HeaderEncoder:
    """Encodes the lists of one connection."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first = True

    def encode(self, headers: Sequence[Header]) -> bytes:
        """A header block for `headers`, names in lower case already."""
        key = tuple(headers)
        if sum(len(name) + len(value) for name, value in key) <= _BLOCK_SIZE_KEPT_MAX:
            block = _kept_block(key)
        else:
            block = _stateless_block(key)
        if self._first:
            self._first = False
            return _NO_TABLE + block
        return block


def _stateless_block(headers: tuple[Header, ...]) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    block: bytes = encoder.encode(headers)
    assert block.startswith(_NO_TABLE)
    return block[len(_NO_TABLE) :]


_kept_block = lru_cache(maxsize=_BLOCKS_KEPT)(_stateless_block)


class HeaderDecoder:
    """Decodes the blocks of one connection, in order, each exactly once."""

    __slots__ = ("_decoder",)

    def __init__(self, *, list_size_max: int, table_size: int) -> None:
        self._decoder = Decoder(max_header_list_size=list_size_max)
        self._decoder.max_allowed_table_size = table_size

    def decode(self, block: bytes) -> Sequence[Header]:
        """The header list of `block`.

        Raises:
            ConnectionFault: the block cannot be decoded, so no later one can be either.
        """
        try:
            return list(self._decoder.decode(block, raw=True))
        except OversizedHeaderListError as error:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header_list_too_large") from error
        except HPACKError as error:
            text = "a header block cannot be decoded"  # the package's own words show objects
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, text) from error
