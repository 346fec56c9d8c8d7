"""What is said of a service that cannot listen."""

from __future__ import annotations

import errno
import socket

import pytest

from ottla_runtime.failures import listen_failed


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EADDRINUSE, "in use"), "the port is in use"),
        (OSError(errno.EADDRNOTAVAIL, "no address"), "this machine has no such address"),
        (OSError(errno.EACCES, "denied"), "ports below 1024 need root"),
        (OSError(errno.ENOBUFS, "no buffers"), "No buffer space available"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "not known"),
    ],
)
def test_reason_is_said_in_words(error: OSError, words: str) -> None:
    message = str(listen_failed("here.example", 9092, error))
    assert message.startswith("cannot listen on here.example:9092: ")
    assert words in message
