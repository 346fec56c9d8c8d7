"""Log lines as the service in the tests' process writes them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _service_logs(service_logs: None) -> None:
    """Every test here runs a broker in its own process."""
