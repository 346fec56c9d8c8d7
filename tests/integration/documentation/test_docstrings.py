"""The examples in the admin client's docstrings run as they stand, but for the address."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

import pytest

import ottla
import ottla.testing

from .run_page import ADDRESS

EXAMPLE = re.compile(r"Example:\n(?P<code>(?:[ ]{4}.*\n|\n)+)")

pytestmark = pytest.mark.slow


def examples() -> Iterator[tuple[str, str]]:
    """Names and code of the examples."""
    for name in ("__doc__", *dir(ottla.Admin)):
        owner = ottla.Admin if name == "__doc__" else getattr(ottla.Admin, name)
        if name.startswith("_") and name != "__doc__":
            continue
        found = EXAMPLE.search(f"{inspect.getdoc(owner)}\n")
        if found:
            yield name, textwrap.dedent(found["code"])


def test_what_operates_a_cluster_has_examples() -> None:
    assert {name for name, _ in examples()} >= {
        *("__doc__", "create_partitions", "delete_records", "describe_config", "alter_config"),
        *("describe_log_directories", "export_metadata"),
    }


@pytest.mark.parametrize("name", [name for name, _ in examples()])
async def test_the_example_of_a_method_runs(name: str) -> None:
    code = dict(examples())[name]
    async with ottla.testing.cluster() as cluster:
        body = textwrap.indent(code.replace(ADDRESS, cluster.bootstrap), "    ")
        program: dict[str, object] = {"ottla": ottla}
        exec(f"async def example():\n{body}", program)
        example = program["example"]
        assert inspect.iscoroutinefunction(example), name
        await example()
