from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import structlog
from structlog.testing import capture_logs

from agent.adapters.logs.configure import Level, Logging, Mode, configure_logging
from agent.adapters.logs.scrub import Scrubber
from agent.contract.payloads import Log


class LogUnderTest:
    """A configured log whose stream the test reads."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.scrubber = Scrubber()
        self.logging: Logging | None = None

    def configure(self, mode: Mode = "json", level: Level = "info") -> Logging:
        self.logging = configure_logging(stream=self.stream, scrubber=self.scrubber, mode=mode, level=level)
        return self.logging

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


def crash(error: Exception, cause: Exception | None = None) -> NoReturn:
    raise error from cause


@pytest.fixture
def log() -> Iterator[LogUnderTest]:
    made = LogUnderTest()
    yield made
    if made.logging is not None:
        made.logging.close()


def test_an_event_is_one_line_of_json(log: LogUnderTest) -> None:
    log.configure()
    structlog.get_logger("agent.x").warning("outbox.row_refused", seq=7, unit="°C", text="two\nlines")
    (line,) = log.stream.getvalue().splitlines()
    entry = json.loads(line)
    assert line.isascii()
    assert list(entry) == ["time", "level", "event", "seq", "unit", "text"]
    assert entry | {"time": ""} == {
        "time": "",
        "level": "warning",
        "event": "outbox.row_refused",
        "seq": 7,
        "unit": "°C",
        "text": "two\nlines",
    }
    assert entry["time"].endswith("Z")
    assert len(entry["time"]) == len("2026-11-23T16:57:01.123Z")


def test_pretty_lines_are_for_a_person(log: LogUnderTest) -> None:
    log.configure("pretty")
    structlog.get_logger().info("source.opened", source="door", note="forged\n2026 [error] line")
    (line,) = log.stream.getvalue().splitlines()
    assert "source.opened" in line
    assert "source=door" in line
    assert "\x1b" not in line


def test_auto_is_json_where_nobody_sits_at_a_terminal(log: LogUnderTest) -> None:
    log.configure("auto")
    structlog.get_logger().info("a.b")
    assert log.entries()[0]["event"] == "a.b"


def test_the_level_can_be_changed_while_running(log: LogUnderTest) -> None:
    configured = log.configure(level="warning")
    logger = structlog.get_logger()
    logger.info("a.quiet")
    configured.set_level("debug")
    logger.debug("a.loud")
    logging.getLogger("paho").debug("loud too")
    configured.set_level("error")
    logger.warning("a.quiet")
    logging.getLogger("paho").warning("quiet")
    assert [entry["event"] for entry in log.entries()] == ["a.loud", "library.logged"]
    assert configured.level == "error"


def test_fields_named_like_the_lines_own_are_kept_apart(log: LogUnderTest) -> None:
    log.configure()
    structlog.get_logger().warning("control.level_set", level="debug", time=3)
    assert log.entries()[0] | {"time": ""} == {
        "time": "",
        "level": "warning",
        "event": "control.level_set",
        "level_": "debug",
        "time_": 3,
    }


def test_no_secret_gets_into_a_line(log: LogUnderTest) -> None:
    log.scrubber.register_secret("hunter2-secret")
    log.configure()
    logger = structlog.get_logger()
    cause = OSError("cannot open rtsp://admin:other-pw@cam/")
    try:
        crash(ValueError("tried hunter2-secret"), cause)
    except ValueError:
        logger.exception("source.crashed", url="rtsp://admin:other-pw@cam/", config={"password": "third-pw"})
    logging.getLogger("paho.mqtt").warning("connecting with %s", "hunter2-secret")
    logger.warning("event hunter2-secret", **{"hunter2-secret": 1})
    written = log.stream.getvalue()
    assert len(log.entries()) == 3
    assert written.count("***") >= 6
    assert not any(secret in written for secret in ("hunter2", "other-pw", "third-pw"))


@pytest.mark.parametrize("mode", ["json", "pretty"])
def test_exceptions_are_told_without_variables(log: LogUnderTest, mode: Mode) -> None:
    log.configure(mode)
    password_here = "third-pw"  # a variable of a frame that the error passes
    try:
        crash(TimeoutError("no answer"))
    except TimeoutError as error:
        structlog.get_logger().error("source.crashed", exc_info=error)
    written = log.stream.getvalue()
    assert "TimeoutError" in written
    assert "test_exceptions_are_told_without_variables" in written
    assert password_here not in written
    if mode == "json":
        (stack,) = log.entries()[0]["exception"]
        assert (stack["exc_type"], stack["exc_value"]) == ("TimeoutError", "no answer")


def test_libraries_and_warnings_come_the_same_way(log: LogUnderTest) -> None:
    log.configure()
    logging.getLogger("paho.mqtt").error("code %d", 7)
    broken: Any = ("%d of %d", "x")
    logging.getLogger("broken").warning(*broken)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert [(entry["event"], entry["level"], entry["logger"]) for entry in log.entries()] == [
        ("library.logged", "error", "paho.mqtt"),
        ("library.logged", "warning", "broken"),
        ("library.logged", "warning", "py.warnings"),
    ]
    assert [entry["message"] for entry in log.entries()][:2] == ["code 7", "%d of %d"]


def test_exceptions_that_nobody_caught_come_the_same_way(log: LogUnderTest) -> None:
    log.configure()
    error = ValueError("rtsp://u:pw@cam/")
    sys.excepthook(ValueError, error, None)
    threading.excepthook(threading.ExceptHookArgs((ValueError, error, None, threading.current_thread())))
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert [(entry["event"], entry["exception"][0]["exc_value"]) for entry in log.entries()] == [
        ("process.crashed", "rtsp://***@cam/"),
        ("thread.crashed", "rtsp://***@cam/"),
    ]


def test_repeats_are_told_once_and_sources_do_not_silence_one_another(log: LogUnderTest) -> None:
    configured = log.configure()
    for _ in range(47):
        structlog.get_logger().warning("source.failed", source="door")
        logging.getLogger("x").warning("again %d", 1)
    structlog.get_logger().warning("source.failed", source="hall")
    configured.flush()
    by_key = [(entry["event"], entry.get("source"), entry.get("repeated")) for entry in log.entries()]
    assert by_key.count(("source.failed", "door", None)) == 10
    assert by_key.count(("library.logged", None, None)) == 10
    assert by_key[-3:] == [
        ("source.failed", "hall", None),
        ("source.failed", "door", 37),
        ("library.logged", None, 37),
    ]


def test_a_stream_that_breaks_stops_nobody(log: LogUnderTest) -> None:
    log.configure()
    log.stream.close()
    structlog.get_logger().warning("a.b")
    logging.getLogger("x").warning("y")
    assert log.stream.closed
    log.stream = io.StringIO()


def test_a_stream_that_cannot_spell_something_still_gets_the_line(log: LogUnderTest) -> None:
    raw = io.BytesIO()
    log.stream = io.TextIOWrapper(raw, encoding="ascii")  # type: ignore[assignment]
    log.configure("pretty")
    structlog.get_logger().warning("sensor.read", unit="°C")
    assert b"unit=\\xb0C" in raw.getvalue()


def test_close_puts_everything_back(log: LogUnderTest) -> None:
    before = (logging.getLogger().handlers[:], logging.getLogger().level, sys.excepthook)
    log.configure(level="error").close()
    log.logging = None
    with capture_logs() as logs:
        structlog.get_logger().info("a.b")
    assert (logging.getLogger().handlers[:], logging.getLogger().level, sys.excepthook) == before
    assert [entry["event"] for entry in logs] == ["a.b"]
    assert log.stream.getvalue() == ""


def test_other_tests_can_still_capture_logs_of_a_used_logger(log: LogUnderTest) -> None:
    logger = structlog.get_logger()
    log.configure()
    logger.info("a.b")
    with capture_logs() as logs:
        logger.info("c.d")
    assert [entry["event"] for entry in logs] == ["c.d"]


def test_warnings_and_worse_are_handed_on_for_the_topic(log: LogUnderTest) -> None:
    log.scrubber.register_secret("hunter2-secret")
    configured = log.configure()
    handed: list[Log] = []
    configured.hand_on(handed.append)
    logger = structlog.get_logger()
    logger.info("a.quiet")
    logger.warning("outbox.row_refused", stream="detections/door", seq=7, by="hunter2-secret")
    try:
        crash(ValueError("with rtsp://u:pw@cam/"))
    except ValueError:
        logger.exception("source.crashed")
    configured.hand_on(None)
    logger.warning("a.later")
    assert [(told.level, told.event) for told in handed] == [
        ("warning", "outbox.row_refused"),
        ("error", "source.crashed"),
    ]
    assert handed[0].fields == {"stream": "detections/door", "seq": 7, "by": "***"}
    assert handed[1].fields == {"exception": "ValueError: with rtsp://***@cam/"}
    assert handed[0].time == log.entries()[1]["time"]


def test_handing_on_is_not_recursive_and_limited(log: LogUnderTest) -> None:
    handed: list[Log] = []

    def hand_on(told: Log) -> None:
        handed.append(told)
        structlog.get_logger().warning("delivery.log_failed")

    log.configure().hand_on(hand_on)
    for number in range(100):
        structlog.get_logger().error("a.b", source=f"s{number}")
    assert {told.event for told in handed} == {"a.b"}
    assert 20 <= len(handed) <= 25
    assert {"delivery.log_failed", "a.b"} == {entry["event"] for entry in log.entries()}


def test_what_is_handed_on_is_small(log: LogUnderTest) -> None:
    handed: list[Log] = []
    log.configure().hand_on(handed.append)
    structlog.get_logger().error("a.b", first=1, second="x" * 3000, third="y" * 3000)
    assert handed[0].fields == {"first": 1, "second": "x" * 3000, "cut": True}
