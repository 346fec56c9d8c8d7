"""`python -m ottla_broker`: the broker as a process."""

from __future__ import annotations

import sys

from ottla_broker.app import run_broker
from ottla_broker.config import BrokerConfig
from ottla_runtime.process import run_service


def main() -> int:
    """Run a broker from this process's command line and environment; returns the exit code."""
    return run_service(BrokerConfig, run_broker)


if __name__ == "__main__":
    sys.exit(main())
