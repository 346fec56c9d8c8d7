"""Controllers as the records know them: which is active, which stand by.

Owns reading their records. Each controller writes its own on its own lease, with the epoch of its
term while it is the active one; the record ends with the lease. Pure.
"""

from __future__ import annotations

from ottla.storage.metadata.v1.metadata_record_pb2 import ControllerRecord
from ottla_controller.core.state import ClusterState


def active_controller(state: ClusterState) -> ControllerRecord | None:
    """The controller that leads as far as the records tell; None while none does."""
    leading = [each for each in state.controllers.values() if each.controller_epoch]
    return max(leading, key=_epoch, default=None)


def _epoch(record: ControllerRecord) -> int:
    return record.controller_epoch
