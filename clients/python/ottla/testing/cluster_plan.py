"""What a test cluster shall be, before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """Options of a cluster; settings by name, in any of their forms."""

    data_dir: Path | None = None
    """Where data stays; None: somewhere temporary."""
    topics: Mapping[str, int] = field(default_factory=dict)
    """Topics to begin with, and their numbers of partitions."""
    broker_settings: Mapping[str, object] = field(default_factory=dict)
    controller_settings: Mapping[str, object] = field(default_factory=dict)
