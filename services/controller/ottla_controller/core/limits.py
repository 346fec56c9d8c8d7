"""Bounds of requests and answers of the controller, each with a name.

Owns numbers only. What a cluster may hold in all is a setting of the service; these are fixed,
because clients and the protocol know them.
"""

from __future__ import annotations

from typing import Final

ITEMS_MAX: Final = 1_000
"""Topics, partitions or names in one request."""
TOPIC_PARTITIONS_MAX: Final = 10_000
REPLICATION_FACTOR_MAX: Final = 32_767
REPLICAS_SERVED_MAX: Final = 1
"""Replicas a topic may really have: no broker copies from another before feature level 2."""
LIST_PAGE_MAX: Final = 1_000
DESCRIBE_PAGE_MAX: Final = 2_000
"""Partitions on one page of descriptions."""
PAGE_BYTES_MAX: Final = 900_000
"""A page or chunk ends here, so that no answer exceeds 1 MiB."""
PAGE_TOKEN_CHARS_MAX: Final = 1_024
PREFIX_CHARS_MAX: Final = 249
CLUSTER_ID_CHARS_MAX: Final = 64
ENDPOINTS_MAX: Final = 16
HOST_CHARS_MAX: Final = 253
LISTENER_CHARS_MAX: Final = 63
RACK_CHARS_MAX: Final = 249
VERSION_CHARS_MAX: Final = 64
DIRECTORIES_MAX: Final = 64
BROKER_EPOCH_SEEN_MAX: Final = 2**62
"""Far above any revision that a store comes to, far below where numbers end."""
ID_SIZE: Final = 16
"""Bytes of the random ids: topics, directories, incarnations."""
TOPIC_CONFIGS_BYTES_MAX: Final = 65_536
ALTERATIONS_MAX: Final = 500
"""Settings of one resource in one request; far more than there are."""
CONFIGS_PAGE_MAX: Final = 500
"""Settings on one page of descriptions."""
NODE_ID_DIGITS_MAX: Final = 10
RECORD_BYTES_MAX: Final = 1_048_576
"""One record of an import."""
IMPORT_BYTES_MAX: Final = 256 * 1_048_576
"""All records of an import: ten times what the largest cluster takes."""
