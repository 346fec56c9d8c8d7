"""Log lines of a service that runs inside the tests' own process, and logging as it was after.

A pytest plugin. `configure_logs` changes what is the process's alone: structlog, `logging`, the
capture of warnings, the hook of unraisable errors. A test that leaves them changed makes another
fail, so every test gives them back.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from ottla_runtime.logs import configure_logs


@pytest.fixture(autouse=True)
def _logging_given_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = list(root.handlers), root.level, sys.unraisablehook
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.unraisablehook = hook
    structlog.reset_defaults()


@pytest.fixture
def service_logs() -> None:
    """Lines as a broker writes them; errors that nobody can raise still fail the test."""
    hook = sys.unraisablehook
    configure_logs(service="broker", node_id=1, level="info")
    sys.unraisablehook = hook
