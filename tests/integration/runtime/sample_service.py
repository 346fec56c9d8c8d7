"""A service with nothing to do but start, wait and end, as the tests ask; run as a program."""

from __future__ import annotations

import asyncio
import sys
from typing import ClassVar, Literal

from ottla.api.cluster.v1.cluster_pb2 import Endpoint
from ottla_runtime.clock import SystemClock
from ottla_runtime.config import ServiceConfig
from ottla_runtime.grpc_server import bind, make_aio_server, serving
from ottla_runtime.health import HealthPort
from ottla_runtime.process import ServiceProcess, run_service
from ottla_runtime.settings import setting


class SampleConfig(ServiceConfig):
    service: ClassVar[str] = "sample"

    behaviour: Literal["serve", "wait", "hang", "die", "crash"] = setting(
        "serve", description="What to do once ready, or before."
    )


async def main(process: ServiceProcess, config: SampleConfig) -> None:
    if config.behaviour == "wait":
        process.report_waiting("for\n rain")
        process.report_waiting("for\n rain")
        raise ValueError("dry")
    server = make_aio_server(interceptors=())
    port = bind(server, Endpoint(host=config.host, port=config.port))
    async with HealthPort() as health, serving(server, grace_seconds=1):
        health_port = await health.start(config.health_host, config.health_port)
        await health.set_started()
        await health.set_ready(True)
        process.report_ready(port=port, health_port=health_port)
        if config.behaviour == "die":
            process.supervisor.start("doomed", _die())
        if config.behaviour == "crash":
            raise RuntimeError("cannot go on")
        await process.drain_requested()
        await health.set_ready(False)
        if config.behaviour == "hang":
            await asyncio.Event().wait()


async def _die() -> None:
    await SystemClock().sleep_until(0)
    raise ValueError("doomed from the start")


if __name__ == "__main__":
    sys.exit(run_service(SampleConfig, main))
