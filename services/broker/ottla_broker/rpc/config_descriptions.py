"""DescribeConfigs where brokers are asked about: the controller's part over the brokers' own.

    resources, in order ─┬─► topics, the cluster: the controller's pages, as they come
                         └─► a broker: the controller's entries over what it was started with

Owns the course of a call, its pages and their token, which says the resource and where in it. A
page also ends when the next broker could outlast the call. Does not own which value wins:
`config_layers` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from ottla.api.admin.v1 import admin_pb2
from ottla.internal.broker.v1 import broker_pb2
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import FieldError, InvalidRequest, OttlaError
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.rpc.broker_calls import BrokerCalls
from ottla_broker.rpc.config_layers import Entry, made_while_running, merged_entries
from ottla_broker.rpc.page_tokens import split_token
from ottla_runtime.clock import Clock

RESOURCES_MAX: Final = 1_000
PAGE_ENTRIES_MAX: Final = 500
PAGE_SIZE_MAX: Final = 1 << 20
TOKEN_CHARS_MAX: Final = 2_048
BROKERS_ON_PAGE_MAX: Final = 32
"""Each is a call or two, one after the other."""
ASK_MS_MAX: Final = 5_000
"""How long one broker is waited for."""
_CONTROLLER_PAGES_MAX: Final = 100

Request = admin_pb2.DescribeConfigsRequest
Response = admin_pb2.DescribeConfigsResponse
Result = admin_pb2.DescribeConfigsResult
_Answer = TypeVar("_Answer", bound=Message)


class AskController(Protocol):
    """Asks the active controller what does no harm when it is asked twice."""

    async def __call__(
        self, answer_type: type[_Answer], request: Message, *, principal: str, deadline_ms: int
    ) -> _Answer: ...


@dataclass(frozen=True, slots=True)
class _Asker:
    """On whose behalf, and until when."""

    principal: str
    deadline_ms: int


@dataclass(slots=True)
class _Page:
    """What a page holds so far."""

    entries_left: int
    response: Response = field(default_factory=Response)
    size: int = 0

    def take(self, result: Result) -> str | None:
        """Take as much of a result as fits; the name of the first entry that doesn't, if any."""
        shown = self.response.results.add(
            resource=result.resource, version=result.version, error=None
        )
        if result.HasField("error"):
            shown.error.CopyFrom(result.error)
        self.size += shown.ByteSize()
        for entry in result.entries:
            size = entry.ByteSize()
            is_first = not shown.entries and len(self.response.results) == 1
            if not is_first and (self.entries_left < 1 or self.size + size > PAGE_SIZE_MAX):
                return entry.name
            shown.entries.append(entry)
            self.entries_left -= 1
            self.size += size
        return None

    def take_all(self, answer: Response) -> bool:
        """Take a page of the controller's whole, if it fits."""
        size = answer.ByteSize()
        if self.response.results and self.size + size > PAGE_SIZE_MAX:
            return False
        self.response.results.extend(answer.results)
        self.entries_left -= sum(len(each.entries) for each in answer.results)
        self.size += size
        return True


class ConfigDescriptions:
    """Answers DescribeConfigs at a broker."""

    def __init__(
        self,
        table: ClusterTable,
        brokers: BrokerCalls,
        *,
        node_id: NodeId,
        own_entries: Callable[[], Sequence[Entry]],
        ask_controller: AskController,
        clock: Clock,
    ) -> None:
        self._table = table
        self._brokers = brokers
        self._node_id = node_id
        self._own_entries = own_entries
        self._ask_controller = ask_controller
        self._clock = clock

    async def page(self, request: Request, *, principal: str, deadline_ms: int) -> Response:
        """One page of the settings asked for.

        Raises:
            InvalidRequest: too many resources, or page size or token are out of bounds.
            OttlaError: the controller fails the call.
        """
        asker = _Asker(principal, deadline_ms)
        if not any(map(_is_broker, request.resources)):
            return await self._controllers(request, asker)
        check_bounds(request)
        number, inner = split_token(request.page_token, chars_max=TOKEN_CHARS_MAX)
        page = _Page(request.page_size or PAGE_ENTRIES_MAX)
        brokers_left = BROKERS_ON_PAGE_MAX
        resources = request.resources
        while number < len(resources):
            is_late = self._clock.monotonic_ms() + ASK_MS_MAX >= deadline_ms
            is_full = page.entries_left < 1 or brokers_left < 1 or is_late
            if page.response.results and is_full:
                page.response.next_page_token = f"{number}:{inner}"
                break
            if _is_broker(resources[number]):
                result = await self._broker(resources[number], request.names, asker)
                rest, end = page.take(_from(result, inner)), number + 1
                brokers_left -= 1
            else:
                end = _run_end(resources, number)
                rest = await self._take_run(page, request, number, inner, asker)
            if rest is not None:
                page.response.next_page_token = f"{number}:{rest}"
                break
            number, inner = end, ""
        return page.response

    async def _take_run(
        self, page: _Page, request: Request, number: int, inner: str, asker: _Asker
    ) -> str | None:
        """Resources between two brokers, as far as they fit; where they go on, if they don't."""
        asked = Request(
            resources=request.resources[number : _run_end(request.resources, number)],
            names=request.names,
            page_size=max(page.entries_left, 1),
            page_token=inner,
        )
        answer = await self._controllers(asked, asker)
        if not page.take_all(answer):
            return inner
        return answer.next_page_token or None

    async def _controllers(self, request: Request, asker: _Asker) -> Response:
        return await self._ask_controller(
            Response, request, principal=asker.principal, deadline_ms=asker.deadline_ms
        )

    async def _broker(
        self, resource: admin_pb2.ConfigResource, names: Sequence[str], asker: _Asker
    ) -> Result:
        """All settings of a broker, or those of `names`; its error says what is missing."""
        result = await self._dynamic(resource, asker)
        if result.HasField("error"):
            return result
        try:
            entries = merged_entries(result.entries, await self._static(resource, asker))
        except OttlaError as error:
            entries = made_while_running(result.entries)
            result.error.CopyFrom(to_proto(error))
        del result.entries[:]
        result.entries.extend(each for each in entries if not names or each.name in names)
        return result

    async def _dynamic(self, resource: admin_pb2.ConfigResource, asker: _Asker) -> Result:
        """What the controller knows of a broker, from all its pages."""
        request, whole = Request(resources=[resource]), Result(resource=resource)
        for _ in range(_CONTROLLER_PAGES_MAX):
            answer = await self._controllers(request, asker)
            for each in answer.results:
                whole.MergeFrom(Result(entries=each.entries, version=each.version))
                if each.HasField("error"):
                    whole.error.CopyFrom(each.error)
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        return whole

    async def _static(self, resource: admin_pb2.ConfigResource, asker: _Asker) -> Sequence[Entry]:
        node_id = _node_id(resource.name)
        if node_id == self._node_id:
            return self._own_entries()
        if node_id not in self._table.brokers:
            raise InvalidRequest(f"there is no broker {node_id}")
        answer = await self._brokers.ask(
            node_id,
            broker_pb2.DescribeStaticConfigsRequest(),
            broker_pb2.DescribeStaticConfigsResponse,
            principal=asker.principal,
            timeout_seconds=ASK_MS_MAX / 1_000,
        )
        return answer.entries


def check_bounds(request: Request) -> None:
    """Raises InvalidRequest for too many resources or too large a page."""
    if len(request.resources) > RESOURCES_MAX:
        raise InvalidRequest(
            f"at most {RESOURCES_MAX} resources may be described at once",
            field_errors=[FieldError("resources", f"at most {RESOURCES_MAX}")],
        )
    if request.page_size > PAGE_ENTRIES_MAX:
        raise InvalidRequest(
            f"page_size is {request.page_size}; at most {PAGE_ENTRIES_MAX} entries fit on a page",
            field_errors=[FieldError("page_size", f"0 to {PAGE_ENTRIES_MAX}")],
        )


def _node_id(name: str) -> NodeId:
    """The broker of a name that the controller took. Raises InvalidRequest."""
    if not (name.isascii() and name.isdecimal()):
        raise InvalidRequest(f"a broker is named by its node id, not {name[:32]!r}")
    return NodeId(int(name))


def _is_broker(resource: admin_pb2.ConfigResource) -> bool:
    return resource.kind == admin_pb2.CONFIG_RESOURCE_KIND_BROKER


def _run_end(resources: Sequence[admin_pb2.ConfigResource], number: int) -> int:
    """Behind the last resource from here on that is no broker."""
    while number < len(resources) and not _is_broker(resources[number]):
        number += 1
    return number


def _from(result: Result, name: str) -> Result:
    """The result with its entries from a name on."""
    rest = [each for each in result.entries if each.name >= name]
    del result.entries[:]
    result.entries.extend(rest)
    return result
