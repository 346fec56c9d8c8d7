"""`python -m ottla_controller`: runs one controller until it is told to stop."""

import sys

from ottla_controller.app import run_controller
from ottla_controller.config import ControllerConfig
from ottla_runtime.process import run_service

if __name__ == "__main__":
    sys.exit(run_service(ControllerConfig, run_controller))
