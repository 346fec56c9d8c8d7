"""DescribeConfigs at a broker: the controller's entries and the brokers' own, cut into pages."""

from __future__ import annotations

from typing import Any

import pytest

from kit.clock import ManualClock
from ottla.api.admin.v1 import admin_pb2
from ottla.internal.broker.v1 import broker_pb2
from ottla.protocol.error_details import from_proto, to_proto
from ottla.protocol.errors import InvalidRequest, LeaderNotAvailable
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.rpc.config_descriptions import (
    ASK_MS_MAX,
    PAGE_SIZE_MAX,
    ConfigDescriptions,
)

from .cluster_messages import broker
from .scripted_brokers import ScriptedBrokers

Entry = admin_pb2.ConfigEntry
Request = admin_pb2.DescribeConfigsRequest
Response = admin_pb2.DescribeConfigsResponse
Resource = admin_pb2.ConfigResource

WITHIN_MS = 30_000
TOPIC = admin_pb2.CONFIG_RESOURCE_KIND_TOPIC
BROKER = admin_pb2.CONFIG_RESOURCE_KIND_BROKER
CLUSTER = Resource(kind=admin_pb2.CONFIG_RESOURCE_KIND_CLUSTER)


def broker_named(name: object) -> Resource:
    return Resource(kind=BROKER, name=str(name))


def topic_named(name: str) -> Resource:
    return Resource(kind=TOPIC, name=name)


class ScriptedController:
    """Answers with `dynamic` for any resource, in pages, as a controller does."""

    def __init__(self) -> None:
        self.dynamic = [
            Entry(name="log.level", value="debug", source=admin_pb2.CONFIG_SOURCE_BROKER),
            Entry(name="retention.ms", value="9", source=admin_pb2.CONFIG_SOURCE_DEFAULT),
        ]
        self.refused: dict[str, Exception] = {}
        self.asked: list[Request] = []

    async def __call__(
        self, answer_type: Any, request: Any, *, principal: str, deadline_ms: int
    ) -> Any:
        asked = Request()
        asked.CopyFrom(request)
        self.asked.append(asked)
        every = [
            (number, entry)
            for number in range(len(request.resources))
            for entry in self.dynamic
            if not request.names or entry.name in request.names
        ]
        first = int(request.page_token or 0)
        size = request.page_size or 500
        response = Response()
        for number, entry in every[first : first + size]:
            resource = request.resources[number]
            if not response.results or response.results[-1].resource != resource:
                response.results.add(resource=resource, version=4)
            if resource.name in self.refused:
                response.results[-1].error.CopyFrom(to_proto(self.refused[resource.name]))  # type: ignore[arg-type]  # errors of ours
            else:
                response.results[-1].entries.append(entry)
        if len(every) > first + size:
            response.next_page_token = str(first + size)
        return response


def own(value: str) -> list[Entry]:
    static, default = admin_pb2.CONFIG_SOURCE_STATIC, admin_pb2.CONFIG_SOURCE_DEFAULT
    return [
        Entry(name="log.level", value="info", source=default),
        Entry(name="port", value=value, source=static),
        Entry(name="retention.ms", value=value, source=static),
    ]


class Describing:
    """Broker 1 is asked; broker 2 answers, broker 3 doesn't."""

    def __init__(self) -> None:
        table = ClusterTable()
        table.apply([broker(1), broker(2), broker(3)])
        self.clock = ManualClock()
        self.controller = ScriptedController()
        self.brokers = ScriptedBrokers(table)
        self.brokers.answers[2] = lambda _: broker_pb2.DescribeStaticConfigsResponse(
            entries=own("2")
        )
        self.descriptions = ConfigDescriptions(
            table,
            self.brokers,
            node_id=NodeId(1),
            own_entries=lambda: own("1"),
            ask_controller=self.controller,
            clock=self.clock,
        )

    async def page(self, *resources: Resource, **fields: Any) -> Response:
        request = Request(resources=resources, **fields)
        deadline_ms = self.clock.monotonic_ms() + WITHIN_MS
        return await self.descriptions.page(request, principal="User:x", deadline_ms=deadline_ms)

    async def whole(self, *resources: Resource, **fields: Any) -> list[tuple[str, str]]:
        """Names of resources and settings over all pages."""
        found, token = [], ""
        while True:
            page = await self.page(*resources, page_token=token, **fields)
            count = sum(len(each.entries) for each in page.results)
            assert count <= fields.get("page_size", 500)
            assert page.ByteSize() <= PAGE_SIZE_MAX
            found += [
                (each.resource.name, one.name) for each in page.results for one in each.entries
            ]
            token = page.next_page_token
            if not token:
                return found


NAMES = ["log.level", "port", "retention.ms"]


@pytest.mark.parametrize("node_id", [1, 2])
async def test_a_brokers_settings_come_from_the_controller_and_from_itself(node_id: int) -> None:
    (result,) = (await Describing().page(broker_named(node_id))).results
    values = [(each.name, each.value, each.source) for each in result.entries]
    assert values == [
        ("log.level", "debug", admin_pb2.CONFIG_SOURCE_BROKER),
        ("port", str(node_id), admin_pb2.CONFIG_SOURCE_STATIC),
        ("retention.ms", str(node_id), admin_pb2.CONFIG_SOURCE_STATIC),
    ]
    assert [each.value for each in result.entries[0].synonyms] == ["info"]
    assert [each.value for each in result.entries[2].synonyms] == ["9"]
    assert (result.version, result.HasField("error")) == (4, False)


async def test_a_silent_broker_shows_what_was_made_while_it_ran_and_why_there_is_no_more() -> None:
    (result,) = (await Describing().page(broker_named(3))).results
    assert [each.name for each in result.entries] == ["log.level"]
    assert from_proto(result.error).reason == "LEADER_NOT_AVAILABLE"


async def test_what_the_controller_refuses_stays_refused() -> None:
    test = Describing()
    test.controller.refused["x"] = InvalidRequest("no number")
    first, second = (await test.page(broker_named("x"), broker_named(1))).results
    assert from_proto(first.error).message == "no number"
    assert (len(first.entries), len(second.entries)) == (0, 3)


async def test_names_leave_the_others_out() -> None:
    test = Describing()
    found = await test.whole(broker_named(1), topic_named("t"), names=["retention.ms", "port"])
    assert found == [("1", "port"), ("1", "retention.ms"), ("t", "retention.ms")]


async def test_without_brokers_the_controllers_pages_pass_as_they_are() -> None:
    test = Describing()
    page = await test.page(topic_named("a"), CLUSTER, page_size=1)
    assert [each.resource.name for each in page.results] == ["a"]
    assert page.next_page_token == "1"
    assert len(test.controller.asked) == 1


@pytest.mark.parametrize("page_size", [1, 2, 3, 4, 5, 500])
async def test_pages_hold_every_entry_once_in_the_order_asked(page_size: int) -> None:
    resources = [topic_named("a"), topic_named("b"), broker_named(2), CLUSTER, broker_named(1)]
    found = await Describing().whole(*resources, page_size=page_size)
    both = ["log.level", "retention.ms"]
    assert found == [
        *(("a", name) for name in both),
        *(("b", name) for name in both),
        *(("2", name) for name in NAMES),
        *(("", name) for name in both),
        *(("1", name) for name in NAMES),
    ]


async def test_a_page_ends_before_it_exceeds_a_mebibyte() -> None:
    test = Describing()
    test.controller.dynamic = [
        Entry(name=f"n{number:03}", documentation="d" * 4_000) for number in range(100)
    ]
    resources = [broker_named(1), topic_named("t"), broker_named(2), CLUSTER]
    assert len(await test.whole(*resources)) == 2 * 103 + 2 * 100


async def test_a_page_asks_no_more_brokers_than_is_quick() -> None:
    test = Describing()
    page = await test.page(*[broker_named(1)] * 100, names=["port"])
    assert len(page.results) == 32
    assert len(await test.whole(*[broker_named(1)] * 100, names=["port"])) == 100


@pytest.mark.parametrize(
    "fields",
    [{"page_token": "x"}, {"page_token": "x:"}, {"page_token": "1" * 20 + ":"}, {"page_size": 501}],
)
async def test_what_is_out_of_bounds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        await Describing().page(broker_named(1), **fields)


async def test_more_than_a_thousand_resources_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        await Describing().page(*[broker_named(1)] * 1_001)


async def test_a_page_ends_before_brokers_that_do_not_answer_outlast_the_call() -> None:
    test = Describing()

    def hangs(_: object) -> broker_pb2.DescribeStaticConfigsResponse:
        test.clock.tick(ASK_MS_MAX)
        raise LeaderNotAvailable("it didn't answer in time")

    test.brokers.answers[2] = hangs
    resources = [broker_named(2) for _ in range(20)]
    began_ms = test.clock.monotonic_ms()
    page = await test.page(*resources)
    assert test.clock.monotonic_ms() - began_ms <= WITHIN_MS
    assert 1 < len(page.results) < 20
    assert page.next_page_token == f"{len(page.results)}:"
