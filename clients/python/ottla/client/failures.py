"""What a stream failed with, as the one error that its client can act on.

Owns picking one error out of a group of tasks, and reading a broken stream for what it is: gRPC
reports a connection that went away as INTERNAL or UNKNOWN too, depending on what it was doing.
"""

from __future__ import annotations

import asyncio
from typing import Final

import grpc

from ottla.client.rpc_errors import TransportFailed, error_of
from ottla.protocol.errors import OttlaError, StatusCode, UnknownReason

_BROKEN: Final = {StatusCode.INTERNAL, StatusCode.UNKNOWN}


def expected_error(failures: BaseExceptionGroup[BaseException]) -> OttlaError:
    """The first error in the group that calls to brokers may fail with.

    Raises:
        CancelledError: the task is to end; a group that failed meanwhile tells only of that.
        BaseExceptionGroup: there is something else too, which is a defect.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from failures
    expected, rest = failures.split((OttlaError, grpc.RpcError))
    if expected is None or rest is not None:
        raise failures
    error: BaseException = expected
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, grpc.RpcError):
        return stream_error(error)
    assert isinstance(error, OttlaError)
    return error


def stream_error(failed: grpc.RpcError) -> OttlaError:
    """The error a stream ended with; one without a reason of ours may be the connection's end."""
    error = error_of(failed)
    if type(error) is UnknownReason and error.status in _BROKEN:
        return TransportFailed(error.message, status=error.status)
    return error
