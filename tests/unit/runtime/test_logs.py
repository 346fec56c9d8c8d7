"""Logs are JSON lines, whoever writes them."""

from __future__ import annotations

import io
import json
import logging
import warnings
from typing import Any

import pytest
import structlog

from ottla_runtime.logs import configure_logs, set_log_level


class Lines:
    """Logs of one test, as written."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def configure(self, level: str = "info") -> None:
        configure_logs(service="broker", node_id=7, level=level, stream=self.stream)

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> Lines:
    made = Lines()
    made.configure()
    return made


def test_a_line_says_when_what_and_who(lines: Lines) -> None:
    structlog.get_logger("any").info("segment.rolled", topic="flights", partition=3)
    (line,) = lines.read()
    assert line.pop("timestamp").endswith("Z")
    assert list(line.items()) == [
        ("level", "info"),
        ("event", "segment.rolled"),
        ("topic", "flights"),
        ("partition", 3),
        ("service", "broker"),
        ("node_id", 7),
    ]


def test_lines_below_the_level_are_not_written(lines: Lines) -> None:
    lines.configure("warning")
    structlog.get_logger().info("segment.rolled")
    structlog.get_logger().warning("disk.filling")
    assert [line["event"] for line in lines.read()] == ["disk.filling"]


def test_what_libraries_log_becomes_a_line(lines: Lines) -> None:
    logging.getLogger("grpc").warning("lost %s", "connection")
    logging.getLogger("grpc").info("routine")
    (line,) = lines.read()
    assert (line["event"], line["logger"], line["message"], line["level"]) == (
        "library.logged",
        "grpc",
        "lost connection",
        "warning",
    )


def test_an_exception_is_one_line(lines: Lines) -> None:
    try:
        raise ValueError("split\nin two")
    except ValueError:
        structlog.get_logger().exception("flush.failed")
    (line,) = lines.read()
    assert "ValueError: split\nin two" in line["exception"]


def test_values_of_any_type_and_size_are_written_bounded(lines: Lines) -> None:
    structlog.get_logger().info("x.seen", raw=b"\x01\xff", thing={1}, text="a" * 100_000)
    (line,) = lines.read()
    assert (line["raw"], line["thing"], len(line["text"])) == ("01ff", "{1}", 16_384)


def test_a_reader_that_went_away_does_not_end_the_service(lines: Lines) -> None:
    lines.stream.close()
    structlog.get_logger().error("nobody.listens")
    logging.getLogger("library").error("nor to me")


def test_warnings_become_lines(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", UserWarning, stacklevel=1)
    assert "UserWarning: old" in lines.read()[0]["message"]


def test_what_python_can_only_print_becomes_a_line(lines: Lines) -> None:
    class Stubborn:
        def __del__(self) -> None:
            raise ValueError("not yet")

    del_me = Stubborn()
    del del_me
    (line,) = lines.read()
    assert (line["event"], line["error"]) == ("error.ignored", "ValueError: not yet")


def test_another_level_holds_from_the_next_line_on(lines: Lines) -> None:
    logger = structlog.get_logger()
    logger.info("before.seen")
    set_log_level("error")
    logger.warning("between.hidden")
    logging.getLogger("library").warning("hidden too")
    set_log_level("debug")
    logger.debug("after.seen")
    assert [line["event"] for line in lines.read()] == ["before.seen", "after.seen"]
