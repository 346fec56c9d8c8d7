"""The admin client's part about settings, of topics, brokers and the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ottla.api.admin.v1 import admin_pb2
from ottla.client.admin_config_items import (
    AlteredConfigs,
    ConfigChange,
    ConfigResource,
    ConfigResult,
    altered_configs,
    configs_together,
)
from ottla.client.admin_connection import AdminConnection, sole


class ConfigAdmin(AdminConnection):
    """Calls about settings."""

    async def describe_config(
        self, kind: str, name: str = "", *, names: Iterable[str] = ()
    ) -> ConfigResult:
        """Settings of one resource, with where each value comes from.

        Example:
            async with ottla.Admin("127.0.0.1:9092") as admin:
                settings = await admin.describe_config("cluster", names=["retention.ms"])
                print(settings["retention.ms"], settings.entries[0].source)

        Args:
            kind: "topic", "broker" or "cluster".
            name: a topic's name or a broker's node id; the cluster has none.
            names: only these settings; none: all.

        Raises:
            UnknownTopicOrPartition: there is no such topic.
            InvalidConfig, InvalidRequest: there is no such kind, broker or setting.
        """
        return sole(await self.describe_configs([ConfigResource(kind, name)], names=names))

    async def describe_configs(
        self, resources: Iterable[ConfigResource], *, names: Iterable[str] = ()
    ) -> list[ConfigResult]:
        """Settings of several resources, at most 1,000, with where each value comes from."""
        request = admin_pb2.DescribeConfigsRequest(
            resources=[each.message() for each in resources], names=names
        )
        found: list[admin_pb2.DescribeConfigsResult] = []
        while True:
            answer = await self._ask(lambda stub, left: stub.DescribeConfigs(request, timeout=left))
            found += answer.results
            if not answer.next_page_token:
                return configs_together(found)
            request.page_token = answer.next_page_token

    async def alter_config(
        self,
        kind: str,
        name: str = "",
        *,
        values: Mapping[str, str | None] | None = None,
        append: Mapping[str, str] | None = None,
        subtract: Mapping[str, str] | None = None,
        expected_version: int = 0,
        validate_only: bool = False,
    ) -> None:
        """Change settings of one resource, all or none; returns once they hold at one broker.

        Example:
            async with ottla.Admin("127.0.0.1:9092") as admin:
                await admin.create_topic("gates", partition_count=1)
                await admin.alter_config("topic", "gates", values={"retention.ms": "3600000"})

        Args:
            kind: "topic", "broker" or "cluster".
            name: a topic's name or a broker's node id; the cluster has none.
            values: to set; None unsets, so that the next source's value holds.
            append: to add to settings that are lists.
            subtract: to take out of settings that are lists.
            expected_version: only if the settings are of this version; 0: any. A call repeated
                after its answer was lost may then fail although it was done.
            validate_only: check alone.

        Raises:
            InvalidConfig: a setting is unknown or its value not allowed.
            VersionConflict: they are not of `expected_version`.
        """
        change = ConfigChange(
            ConfigResource(kind, name), values or {}, append or {}, subtract or {}, expected_version
        )
        sole(await self.alter_configs([change], validate_only=validate_only))

    async def alter_configs(
        self, changes: Iterable[ConfigChange], *, validate_only: bool = False
    ) -> list[AlteredConfigs]:
        """Change settings of several resources, at most 1,000; each all or none."""
        request = admin_pb2.AlterConfigsRequest(
            resources=[each.message() for each in changes], validate_only=validate_only
        )
        answer = await self._ask(lambda stub, left: stub.AlterConfigs(request, timeout=left))
        return [altered_configs(each) for each in answer.results]
