"""The controller as a process: what is made, in which order it starts, and how it ends.

    store opened ─► ports bound ─► metadata read ─► serving ─► leads, or knows who does ─► ready
        … drain asked ─► streams ended, leadership given up ─► calls finished ─► store closed

Owns the wiring; the only module that knows all others.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import grpc

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.api.cluster.v1.cluster_pb2 import SECURITY_PLAINTEXT, Endpoint
from ottla.internal.controller.v1 import controller_pb2
from ottla.protocol.errors import MetadataStoreUnavailable, OttlaError
from ottla_controller.config import ControllerConfig
from ottla_controller.control.controller import Controller, ControlTimes, check_cluster
from ottla_controller.control.feed import MetadataFeed
from ottla_controller.control.image import ClusterImage
from ottla_controller.control.standing import ControllerIdentity
from ottla_controller.core.topic_creation import CreationRules
from ottla_controller.rpc.admin_service import AdminServicer
from ottla_controller.rpc.controller_service import ControllerServicer, add_controller_service
from ottla_controller.store.interface import MetadataStore
from ottla_controller.store_opening import opened_store
from ottla_runtime.entropy import SystemEntropy
from ottla_runtime.failures import StartError
from ottla_runtime.grpc_server import (
    add_health_and_reflection,
    bind,
    make_aio_server,
    mark_serving,
)
from ottla_runtime.health import HealthPort
from ottla_runtime.interceptors import standard_interceptors
from ottla_runtime.interceptors.authorizer import AllowAll
from ottla_runtime.listeners import advertised_endpoints, parse_listeners
from ottla_runtime.process import ServiceProcess

WATCH_HEARTBEAT_MS: Final = 15_000
_LISTENER: Final = "controller"
_STOP_GRACE_SECONDS: Final = 2.0
_RETRY_MS: Final = 500
_SERVICES: Final = (
    admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name,
    controller_pb2.DESCRIPTOR.services_by_name["ControllerService"].full_name,
)


async def run_controller(process: ServiceProcess, config: ControllerConfig) -> None:
    """Runs a controller until it was told to drain and has.

    Raises:
        StartError: it cannot start; the message says why and what to do.
    """
    async with opened_store(config, process, entropy=SystemEntropy()) as store:
        if store is not None:
            await _run_on(store, process, config)


async def _run_on(store: MetadataStore, process: ServiceProcess, config: ControllerConfig) -> None:
    async with AsyncExitStack() as stack:
        server = make_aio_server(
            interceptors=standard_interceptors(
                clock=process.clock,
                entropy=SystemEntropy(),
                authorizer=AllowAll(),
                access_log=config.access_log,
                trusts_forwarded=True,
            )
        )
        endpoints, port = _bind(server, config)
        image = ClusterImage(store, clock=process.clock)
        identity = _identity(config, endpoints)
        await _load(image, identity, process, waits=bool(config.metadata_store))
        health = HealthPort()
        health_port = await health.start(config.health_host, config.health_port)
        stack.push_async_callback(health.stop)
        controller = _controller(store, image, identity, config, process)
        feed = MetadataFeed(
            image,
            clock=process.clock,
            coalesce_ms=config.metadata_coalesce_ms,
            heartbeat_interval_ms=WATCH_HEARTBEAT_MS,
        )
        servicer = _add_services(server, controller, feed, config)
        checks = add_health_and_reflection(server, _SERVICES)
        role = process.supervisor.start_task("controller-role", controller.run())
        tasks = [
            process.supervisor.start_task(name, work)
            for name, work in (
                ("metadata-store", store.run()),
                ("cluster-image", image.run()),
                ("metadata-feed", feed.run()),
                ("metadata-heartbeats", feed.run_heartbeats()),
            )
        ]
        stack.push_async_callback(_end, [role, *tasks])
        await mark_serving(checks, _SERVICES, serving=False)
        await server.start()
        stack.push_async_callback(server.stop, _STOP_GRACE_SECONDS)
        await health.set_started()
        if await _became_useful(controller, process):
            await mark_serving(checks, _SERVICES)
            await health.set_ready(True)
            process.report_ready(port=port, health_port=health_port)
            await process.drain_requested()
            await health.set_ready(False)
        await checks.enter_graceful_shutdown()
        servicer.drain()
        # Before calls are finished: whoever comes now hears who leads instead, once somebody does.
        controller.resign()
        await asyncio.wait([role])


async def _became_useful(controller: Controller, process: ServiceProcess) -> bool:
    """Waits until it leads or knows who does; False if the controller was told to end before."""
    async with asyncio.TaskGroup() as group:
        waits = [
            group.create_task(controller.is_of_use.wait(), name="first-use"),
            group.create_task(process.drain_requested(), name="drain"),
        ]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
    return controller.is_of_use.is_set()


def _bind(server: grpc.aio.Server, config: ControllerConfig) -> tuple[tuple[Endpoint, ...], int]:
    """Listens; returns where others reach the controller, and the port of the first listener."""
    try:
        listeners: Sequence[Endpoint] = parse_listeners(config.listener) or (
            Endpoint(
                listener=_LISTENER,
                host=config.host,
                port=config.port,
                security=SECURITY_PLAINTEXT,
            ),
        )
        ports = {each.listener: bind(server, each) for each in listeners}
        endpoints = advertised_endpoints(listeners, config.advertised, ports)
    except ValueError as error:
        raise StartError(str(error)) from None
    return endpoints, ports[listeners[0].listener]


def _identity(config: ControllerConfig, endpoints: tuple[Endpoint, ...]) -> ControllerIdentity:
    return ControllerIdentity(
        node_id=config.node_id,
        endpoints=endpoints,
        cluster_id=config.cluster_id or uuid.uuid4().hex,
        cluster_id_given=bool(config.cluster_id),
    )


async def _load(
    image: ClusterImage, identity: ControllerIdentity, process: ServiceProcess, *, waits: bool
) -> None:
    """Reads the metadata; `waits` where a store that does not answer will do so later."""
    while True:
        try:
            await image.load()
            check_cluster(image.state, identity)
        except MetadataStoreUnavailable as error:
            if process.is_draining or not waits:
                raise StartError(error.message) from error
            process.report_waiting(error.message)
            await process.clock.sleep_until(process.clock.monotonic_ms() + _RETRY_MS)
        except OttlaError as error:
            raise StartError(error.message) from error
        else:
            return


def _controller(
    store: MetadataStore,
    image: ClusterImage,
    identity: ControllerIdentity,
    config: ControllerConfig,
    process: ServiceProcess,
) -> Controller:
    times = ControlTimes(
        session_timeout_ms=config.session_timeout_ms,
        lease_ttl_ms=config.lease_ttl_ms,
        history_ms=config.metadata_history_ms,
    )
    return Controller(
        store,
        image,
        identity,
        clock=process.clock,
        times=times,
        on_setback=process.report_waiting,
    )


def _add_services(
    server: grpc.aio.Server, controller: Controller, feed: MetadataFeed, config: ControllerConfig
) -> ControllerServicer:
    rules = CreationRules(
        partition_count=config.num_partitions,
        replication_factor=config.default_replication_factor,
        cluster_partitions_max=config.cluster_partitions_max,
    )
    admin = AdminServicer(controller, rules=rules, entropy=SystemEntropy())
    admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, server)
    servicer = ControllerServicer(
        controller,
        feed,
        session_timeout_ms=config.session_timeout_ms,
        heartbeat_interval_ms=config.heartbeat_interval_ms,
        watchers_max=config.metadata_watchers_max,
    )
    add_controller_service(servicer, server)
    return servicer


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Ends the tasks that use the store, before it closes."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
