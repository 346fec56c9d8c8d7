"""Which metadata store a controller stands on, opened as its settings say.

Owns the choice between the embedded store and etcd, and waiting for an etcd that is not there yet:
services start in any order. What is wrong for good ends the start with one line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from ottla.protocol.errors import InvalidConfig, MetadataStoreUnavailable, OttlaError
from ottla_controller.config import ControllerConfig
from ottla_controller.setbacks import Setbacks
from ottla_controller.store.etcd_settings import EtcdSettings
from ottla_controller.store.etcd_store import EtcdMetadataStore
from ottla_controller.store.interface import MetadataStore
from ottla_controller.store.sqlite_store import SqliteMetadataStore
from ottla_runtime.entropy import Entropy
from ottla_runtime.failures import StartError
from ottla_runtime.process import ServiceProcess

_RETRY_MS = 500


@asynccontextmanager
async def opened_store(
    config: ControllerConfig, process: ServiceProcess, *, entropy: Entropy
) -> AsyncIterator[MetadataStore | None]:
    """The store, closed with the block; None if the process was told to end before it answered.

    Raises:
        StartError: it can never be opened so; the message says why.
    """
    async with AsyncExitStack() as stack:
        if not config.metadata_store:
            yield await _embedded(stack, config, process)
        else:
            yield await _etcd(stack, etcd_settings(config), process, entropy)


def etcd_settings(config: ControllerConfig) -> EtcdSettings:
    """Where etcd is; raises `StartError` where the settings do not say so."""
    try:
        return EtcdSettings.parsed(
            config.metadata_store,
            ca_path=config.metadata_store_tls_ca_path,
            cert_path=config.metadata_store_tls_certificate_path,
            key_path=config.metadata_store_tls_key_path,
            username=config.metadata_store_username,
            password=config.metadata_store_password,
        )
    except InvalidConfig as error:
        raise StartError(f"metadata.store: {error.message}") from error


async def _embedded(
    stack: AsyncExitStack, config: ControllerConfig, process: ServiceProcess
) -> MetadataStore:
    assert config.data_dir is not None, "checked with the settings"
    opening = SqliteMetadataStore.opened(config.data_dir, clock=process.clock)
    try:
        return await stack.enter_async_context(opening)
    except OttlaError as error:
        raise StartError(error.message) from error


async def _etcd(
    stack: AsyncExitStack, settings: EtcdSettings, process: ServiceProcess, entropy: Entropy
) -> MetadataStore | None:
    setbacks = Setbacks()
    # Short tries, so that whoever is told to end meanwhile does.
    settings = replace(settings, open_timeout_ms=settings.request_timeout_ms)
    while not process.is_draining:
        opening = EtcdMetadataStore.opened(settings, clock=process.clock, entropy=entropy)
        try:
            return await stack.enter_async_context(opening)
        except MetadataStoreUnavailable as error:
            waiting = f"etcd does not answer: {error.message}"
            setbacks.met("metadata_store.open_failed", error.message)
            process.report_waiting(waiting)
        except OttlaError as error:
            raise StartError(f"etcd: {error.message}") from error
        await process.clock.sleep_until(process.clock.monotonic_ms() + _RETRY_MS)
    return None
