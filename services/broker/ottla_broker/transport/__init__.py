"""The broker's gRPC server on HTTP/2 of its own, which sends file bytes without copying them.

To its users it is a `grpc.aio.Server`; handlers may also answer `EncodedMessage`s of file ranges,
and take requests unparsed when marked `raw_request`.
"""

from ottla_broker.transport.credentials import TlsCredentials
from ottla_broker.transport.handlers import raw_request
from ottla_broker.transport.server import Server
from ottla_broker.transport.stream import EncodedMessage, FileOwner, FileRange

__all__ = [
    "EncodedMessage",
    "FileOwner",
    "FileRange",
    "Server",
    "TlsCredentials",
    "raw_request",
]
