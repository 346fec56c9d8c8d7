"""A sans-I/O HTTP/2 server (RFC 9113): bytes in, typed events and bytes to send out.

`connection.ServerConnection` is the entry point. No module here touches a socket, a clock or a
task; time comes in as `now_ms`, file content leaves as `FileRange`. Server role only: no push,
no priorities.
"""

from ottla_broker.transport.http2.connection import ServerConnection
from ottla_broker.transport.http2.errors import ErrorCode
from ottla_broker.transport.http2.http2_limits import Http2Limits

__all__ = ["ErrorCode", "Http2Limits", "ServerConnection"]
