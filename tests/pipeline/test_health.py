"""What the node says of itself."""

import asyncio
import json
from collections.abc import Mapping

import jsonschema

from agent.contract import payloads
from agent.contract.schemas import payload_schema
from agent.contract.topics import Topics
from agent.domain.errors import Code, TransientError
from agent.domain.ids import SourceName
from agent.pipeline.announcements import Announcements
from agent.pipeline.health import Health, Machine
from agent.pipeline.mailbox import MailboxStatistics
from agent.pipeline.supervise import Ticks
from agent.ports import OutboxStatistics, Status
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics
from tests.fakes.outbox import FakeOutbox
from tests.polling import until

DOOR = SourceName("door")


class SilentOutbox(FakeOutbox):
    """Does not answer the first questions."""

    def __init__(self, *, clock: FakeClock, silent_for: int) -> None:
        super().__init__(clock=clock)
        self._silent_for = silent_for

    async def statistics(self) -> OutboxStatistics:
        if self._silent_for:
            self._silent_for -= 1
            raise TransientError("no answer within 10 s", code=Code.TIMEOUT)
        return await super().statistics()


class Post:
    """A health stage and what it announced."""

    def __init__(self, *, outbox: FakeOutbox | None = None) -> None:
        self.clock = FakeClock()
        self.announcements = Announcements()
        self.metrics = FakeMetrics()
        self.flow: Mapping[SourceName, MailboxStatistics] = {DOOR: MailboxStatistics(0, 0, 0, {})}
        self.health = Health(
            topics=Topics("plant", "nano-42"),
            announcements=self.announcements,
            outbox=outbox or FakeOutbox(clock=self.clock),
            clock=self.clock,
            metrics=self.metrics,
            ticks=Ticks(clock=self.clock),
            sources=frozenset({DOOR}),
            flow=lambda: self.flow,
            machine=lambda: Machine(
                memory_mb=170.44, temperature_c={"cpu": 51.0}, memory_left_mb=3, memory_limit_mb=400
            ),
            session=lambda: 17,
            heartbeat_s=10.0,
            config_version=42,
            scrub=lambda text: text.replace("hunter2", "***"),
        )

    def said(self) -> list[dict[str, object]]:
        return [json.loads(publication.payload) for publication in self.announcements.take()]


def test_health_is_the_worst_of_its_stages_and_no_worse_than_degraded_by_a_source() -> None:
    post = Post()
    told = []
    steps: tuple[tuple[str, Status, str | None], ...] = (
        ("door", "ok", None),
        ("door", "failed", "E_FILE"),
        ("outbox", "failed", "E_DISK"),
        ("outbox", "ok", None),
        ("door", "ok", None),
    )
    for who, status, code in steps:
        post.health.report(who, status, code, None)
        told.append(post.health.status)
    assert told == ["ok", "degraded", "failed", "degraded", "ok"]


def test_change_is_told_once_and_since_holds_while_the_status_does() -> None:
    post = Post()
    post.health.report("door", "waiting", "E_OPEN", "refused")
    (first,) = post.said()
    post.clock.advance(5)
    post.health.report("door", "waiting", "E_OPEN", "refused")
    assert post.said() == []
    post.health.report("door", "waiting", "E_TIMEOUT", "no answer")
    (second,) = post.said()
    for message in (first, second):
        jsonschema.validate(message, payload_schema(payloads.Health))
    assert first["sources"]["door"]["since"] == second["sources"]["door"]["since"]  # type: ignore[index]
    assert second["sources"]["door"]["code"] == "E_TIMEOUT"  # type: ignore[index]


def test_who_listens_hears_of_changes_only() -> None:
    post = Post()
    heard: list[tuple[str, Status]] = []

    def note(who: str, status: Status, code: str | None, message: str | None) -> None:
        assert (code, message) == (None, "***")
        heard.append((who, status))

    post.health.heard_by(note)
    for status in ("ok", "ok", "failed"):
        post.health.report("door", status, None, "hunter2")
    assert heard == [("door", "ok"), ("door", "failed")]


def test_message_of_a_condition_is_told_without_the_credentials_in_it() -> None:
    post = Post()
    post.health.report("door", "waiting", "E_ENDED", "ffmpeg ended: rtsp://u:hunter2@10.0.0.7: 401")
    (told,) = post.said()
    assert told["sources"]["door"]["message"] == "ffmpeg ended: rtsp://u:***@10.0.0.7: 401"  # type: ignore[index]
    assert "hunter2" not in json.dumps(post.health.describe())


async def test_heartbeat_tells_rates_since_the_last_one() -> None:
    post = Post()
    stop = asyncio.Event()
    running = asyncio.ensure_future(post.health.run(stop))
    beats: list[dict[str, object]] = []

    def beaten() -> bool:
        beats.extend(message for message in post.said() if "uptime_s" in message)
        return bool(beats)

    await until(beaten)
    beats.clear()
    post.flow = {DOOR: MailboxStatistics(120, 95, 1, {"replaced": 24})}
    post.clock.advance(10)
    await until(beaten)
    stop.set()
    await asyncio.wait_for(running, timeout=5)

    (beat,) = beats
    jsonschema.validate(beat, payload_schema(payloads.Heartbeat))
    assert beat["fps"] == {"door": 9.5}
    assert beat["dropped"] == {"door": {"replaced": 24}}
    assert beat["outbox"] == {"rows": 0, "bytes": 0, "oldest_s": 0.0, "refused": 0, "at_broker": 0}
    assert (beat["session"], beat["memory_mb"], beat["config_version"]) == (17, 170.4, 42)
    assert post.metrics.gauges == {
        "policy_version": 42,
        "clock_synced": 1,
        "outbox_oldest_s": 0,
        "temperature_celsius part=cpu": 51,
        "memory_left_bytes": 3 << 20,
        "memory_limit_bytes": 400 << 20,
    }


def test_metrics_tell_nothing_of_a_source_that_is_gone() -> None:
    post = Post()
    post.health.report("door", "failed", "E_FILE", None)
    assert post.metrics.gauges == {"healthy who=door": 0}
    post.health.forget("door")
    assert post.metrics.gauges == {}


async def test_beat_is_left_out_while_the_outbox_does_not_answer_and_the_stage_lives() -> None:
    post = Post(outbox=SilentOutbox(clock=FakeClock(), silent_for=2))
    stop = asyncio.Event()
    running = asyncio.ensure_future(post.health.run(stop))
    beats = 0

    def beaten() -> bool:
        nonlocal beats
        beats += sum("uptime_s" in message for message in post.said())
        post.clock.advance(10)
        return running.done() or beats > 0

    await until(beaten)
    assert not running.done()
    stop.set()
    await asyncio.wait_for(running, timeout=5)


def test_line_of_the_log_is_passed_on() -> None:
    post = Post()
    entry = payloads.Log(
        time="2026-11-23T16:57:01.123Z", level="warning", event="outbox.row_refused", fields={"seq": 7}
    )
    post.health.tell(entry)
    (publication,) = post.announcements.take()
    assert (publication.topic, publication.qos, publication.expiry_s) == (
        "edge/v1/plant/nano-42/log",
        0,
        3600,
    )
    assert json.loads(publication.payload)["fields"] == {"seq": 7}
