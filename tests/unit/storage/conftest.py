"""What tests of the storage may do on the loop, and what they work on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.storage import StorageContext

# Appends go to the page cache from the loop, by design; a full disk is cut back there too.
BY_DESIGN = (
    ("kit/faulty_filesystem.py", {"pwritev", "truncate"}),
    ("ottla_broker/storage/filesystem.py", {"pwritev", "truncate"}),
)


@pytest.fixture(autouse=True, scope="package")
def _appends_may_write(request: pytest.FixtureRequest) -> Iterator[None]:
    plugin = request.config.pluginmanager.get_plugin("ottla-loop-guard")
    assert plugin is not None
    watched = list(plugin.guard.functions.values())
    before = {id(function): list(function.can_block_functions) for function in watched}
    for function in watched:
        function.can_block_functions.extend(BY_DESIGN)
    yield
    for function in watched:
        function.can_block_functions[:] = before[id(function)]


@pytest.fixture
def context(tmp_path: Path) -> StorageContext:
    """One log directory on files with faults."""
    return StorageContext(tmp_path)
