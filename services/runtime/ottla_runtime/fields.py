"""The keys of log lines: one name for one thing, in every service.

Owns names only. A log call passes them as keywords: `logger.info("broker.registered", node_id=1)`
uses a key listed here; a key missing here is added here first. Nothing checks that at run time: a
log line must never fail.
"""

from __future__ import annotations

from typing import Final

# On every line.
TIMESTAMP: Final = "timestamp"
LEVEL: Final = "level"
EVENT: Final = "event"
LOGGER: Final = "logger"
SERVICE: Final = "service"
NODE_ID: Final = "node_id"

# What a line is about.
CLUSTER_ID: Final = "cluster_id"
TOPIC: Final = "topic"
TOPIC_ID: Final = "topic_id"
PARTITION: Final = "partition"
OFFSET: Final = "offset"
BROKER_EPOCH: Final = "broker_epoch"
CONTROLLER_EPOCH: Final = "controller_epoch"
SEGMENT: Final = "segment"
HOST: Final = "host"
PORT: Final = "port"
SETTING: Final = "setting"
SIGNAL: Final = "signal"
TASK: Final = "task"
DURATION_MS: Final = "duration_ms"

# The canonical line of an RPC.
METHOD: Final = "method"
PEER: Final = "peer"
PRINCIPAL: Final = "principal"
CODE: Final = "code"
REASON: Final = "reason"

# What went wrong.
ERROR: Final = "error"
EXCEPTION: Final = "exception"  # written by structlog
INCIDENT_ID: Final = "incident_id"
LAG_MS: Final = "lag_ms"
