"""Waiting until gRPC is done with a client's calls.

gRPC receives each call's status in a task of its own. A loop that ends before is never let go: the
status comes to nobody then, and gRPC keeps what waits for it. So a client that closes waits for
these tasks, which end as soon as their calls are cancelled. gRPC has no name for them in public;
where a release arranges them otherwise none is found, and nothing is waited for.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from typing import Any, Final

import grpc

_TASK: Final = "_handle_status_once_received"
_DEPTH: Final = 3
"""From a task's coroutine over its frame and its call to the channel."""
_WAIT_SECONDS: Final = 1.0

Tasks = set[asyncio.Task[Any]]


def status_tasks(channels: Iterable[grpc.aio.Channel]) -> Tasks:
    """The tasks of gRPC that wait for the end of calls on these channels, on the running loop."""
    ours = {id(inner) for each in channels if (inner := getattr(each, "_channel", None))}
    return {each for each in asyncio.all_tasks() if _is_for(each, ours)}


def _is_for(task: asyncio.Task[Any], channel_ids: set[int]) -> bool:
    coroutine = task.get_coro()
    if not getattr(coroutine, "__qualname__", "").endswith(_TASK):
        return False
    reached: list[object] = [coroutine]
    for _ in range(_DEPTH):
        reached = gc.get_referents(*reached)
        if any(id(each) in channel_ids for each in reached):
            return True
    return False


async def until_ended(tasks: Tasks) -> None:
    """Return when these have ended: at once, or nearly."""
    if tasks:
        await asyncio.wait(tasks, timeout=_WAIT_SECONDS)
