"""Lines of hosted services go to the host's `logging`; the host's own structlog stays its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from ottla_runtime.hosted_logs import logs_to_host

SERVICE = structlog.get_logger("ottla_broker.app")
HOST = structlog.get_logger("host.app")


@pytest.fixture(autouse=True)
def _structlog_given_back() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def test_a_services_line_is_a_record_under_its_module(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with logs_to_host(), structlog.contextvars.bound_contextvars(service="broker"):
        SERVICE.info("segment.rolled", partition=3)
        SERVICE.bind(node_id=1).warning("disk.full")
    assert [(each.name, each.levelname, each.message) for each in caplog.records] == [
        ("ottla_broker.app", "INFO", "segment.rolled partition=3 service=broker"),
        ("ottla_broker.app", "WARNING", "disk.full node_id=1 service=broker"),
    ]


def test_an_exception_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with logs_to_host():
        try:
            raise KeyError("lost")
        except KeyError:
            SERVICE.exception("task.failed", task="sync 100%")
    (record,) = caplog.records
    assert record.message == "task.failed task=sync 100%"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


def test_debug_lines_cost_nothing_and_appear_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with logs_to_host():
        SERVICE.debug("poll")
    assert caplog.records == []


def test_without_a_handler_warnings_do_not_reach_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        with logs_to_host():
            SERVICE.warning("disk.full")
    finally:
        root.handlers = handlers
    assert capsys.readouterr() == ("", "")


def test_the_hosts_own_lines_go_where_the_host_said() -> None:
    lines: list[Any] = []

    def keep(_logger: object, _method: str, event: Any) -> Any:
        lines.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[keep], wrapper_class=structlog.BoundLogger)
    before = structlog.get_config()
    with logs_to_host(), logs_to_host():
        HOST.bind(user=1).info("bought")
        SERVICE.info("segment.rolled")
    assert lines == [{"event": "bought", "user": 1}]
    assert structlog.get_config() == before
    assert structlog.is_configured()


def test_what_was_never_configured_is_so_again() -> None:
    with logs_to_host():
        assert structlog.is_configured()
    assert not structlog.is_configured()


def test_what_the_host_configures_meanwhile_stays() -> None:
    def mine(_logger: object, _method: str, event: Any) -> Any:
        return event

    with logs_to_host():
        structlog.configure(processors=[mine], wrapper_class=structlog.BoundLogger)
    assert structlog.get_config()["processors"] == [mine]
    assert structlog.get_config()["wrapper_class"] is structlog.BoundLogger
