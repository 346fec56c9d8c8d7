"""Runs the Python blocks of a page one after the other, as `python -m asyncio` would.

    python run_page.py PAGE BOOTSTRAP

A program of its own: blocks may block, and what one defines the next one uses. Prints a JSON list
with what each block printed.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "127.0.0.1:9092"


def run(page: str, bootstrap: str) -> list[str]:
    """What each block printed."""
    printed = []
    names: dict[str, object] = {}
    with asyncio.Runner() as runner:
        for number, block in enumerate(BLOCK.findall(page)):
            source = block.replace(ADDRESS, bootstrap)
            code = compile(source, f"block {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            with redirect_stdout(io.StringIO()) as output:
                left = eval(code, names)
                if inspect.iscoroutine(left):
                    runner.run(left)
            printed.append(output.getvalue())
    return printed


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2])))
