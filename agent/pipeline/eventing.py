"""From results and readings to messages in the outbox."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, assert_never

from agent.contract import payloads
from agent.contract.objects import to_objects
from agent.contract.policy import Policy
from agent.contract.sources import SensorPart
from agent.contract.topics import Topics, detections_stream, expiry_s, telemetry_stream
from agent.domain.ids import SourceName
from agent.domain.stamp import Stamp, rfc3339
from agent.pipeline.frame_message import frame_message
from agent.pipeline.gathering import Gathered
from agent.pipeline.handover import Handover
from agent.pipeline.results import FrameResult, Result, SensorReadings, WindowResult
from agent.pipeline.ruling import Ruling
from agent.pipeline.seeing import Seeing, Seen
from agent.pipeline.supervise import Ticks, ticking
from agent.pipeline.withholding import Withholding
from agent.ports import Clock, Draft, Metrics, Outbox

_TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """How one sensor's readings become messages: one every `every_s`, of which readings `which` says."""

    every_s: float
    which: Literal["last", "mean", "all"]


_AS_BY_DEFAULT: Final = Report(every_s=1.0, which="last")


def reports_of(policy: Policy) -> dict[SourceName, Report]:
    """How each sensor of a policy is reported."""
    return {
        SourceName(name): Report(every_s=stanza.report_every_s, which=stanza.report)
        for name, stanza in policy.sources.items()
        if isinstance(stanza, SensorPart)
    }


class Eventing:
    """Turns what was seen into contract messages and appends them to the outbox, in order per source.

    `on_result` hears of each result after its message, `on_seen` of what was seen in each frame.
    """

    def __init__(
        self,
        *,
        results: Handover[Result],
        outbox: Outbox,
        topics: Topics,
        clock: Clock,
        metrics: Metrics,
        ticks: Ticks,
        reports: Mapping[SourceName, Report],
        config_version: int,
        seeing: Seeing,
        withholding: Withholding,
        expiry_overrides_s: Mapping[str, int],
        ruling: Ruling | None = None,
        on_result: Callable[[Result], None] | None = None,
        on_seen: Callable[[Seen], None] | None = None,
    ) -> None:
        self._results = results
        self._outbox = outbox
        self._topics = topics
        self._clock = clock
        self._metrics = metrics
        self._ticks = ticks
        self._reports = reports
        self.config_version = config_version
        """Of the policy in force; told in every message."""
        self._seeing = seeing
        self._withholding = withholding
        self._expiry_overrides_s = expiry_overrides_s
        self._ruling = ruling
        self._on_result = on_result
        self._on_seen = on_seen
        self._gathered: dict[SourceName, Gathered] = {}

    def adopt(self, policy: Policy) -> None:
        """What is seen and published, and how messages are put together, from the next result on."""
        self._reports = reports_of(policy)
        self._seeing.adopt(policy)
        self._withholding.adopt(policy)
        self._expiry_overrides_s = {str(name): seconds for name, seconds in policy.publish.expiry_s.items()}

    async def run(self) -> None:
        """Returns when the hand-over is closed and everything in it is in the outbox."""
        while not self._results.drained:
            self._ticks.tick("eventing")
            match await self._results.get(timeout_s=_TICK_S):
                case FrameResult() as result:
                    await self._on_frame(result)
                case WindowResult() as result:
                    await self._on_score(result)
                    await self._judge(result)
                case SensorReadings() as readings:
                    await self._on_readings(readings)
                    await self._judge(readings)
                case None:
                    await self._report_overdue()
                case never:
                    assert_never(never)
        for source in list(self._gathered):
            await self._report(source)
        if self._ruling is not None:
            self._ruling.close()
        self._ticks.retire("eventing")

    async def _judge(self, result: Result | Seen) -> None:
        """By the rules, after its message: an event follows what it rests on."""
        if self._on_result is not None:
            self._on_result(result.result if isinstance(result, Seen) else result)
        if self._on_seen is not None and isinstance(result, Seen):
            self._on_seen(result)
        match result:
            case _ if self._ruling is None:
                return
            case Seen():
                await self._ruling.on_scene(result.scene)
            case WindowResult():
                await self._ruling.on_score(result.source, result.score)
            case SensorReadings():
                await self._ruling.on_readings(result.source, result.readings)

    async def _on_frame(self, result: FrameResult) -> None:
        self._metrics.count("frames_inferred_total", source=result.source)
        self._metrics.count("objects_total", len(result.detections), source=result.source)
        seen = self._seeing.see(result)
        if seen.is_late:
            self._metrics.count("frames_late_total", source=result.source)
        withheld = self._withholding.why(seen)
        if withheld is None:
            await self._tell(seen)
        else:
            self._metrics.count("detections_withheld_total", source=result.source, cause=withheld)
        await self._judge(seen)

    async def _tell(self, seen: Seen) -> None:
        now, result = self._clock.now(), seen.result
        message = frame_message(
            result,
            head=self._head(result.captured),
            objects=to_objects(
                result.detections,
                result.model.class_names,
                width_px=result.width_px,
                height_px=result.height_px,
                sightings=seen.scene.objects,
            ),
            config_version=self.config_version if result.config_version is None else result.config_version,
            now=now,
        )
        stream = detections_stream(result.source)
        await self._append(
            Draft(
                stream=stream,
                priority="detection",
                body=payloads.encode(message),
                made=now,
                captured=result.captured,
                expiry_s=self._expiry_overrides_s.get("detections", expiry_s(stream)),
            )
        )

    async def _on_readings(self, result: SensorReadings) -> None:
        """A message goes out as soon as the readings at hand reach over the reporting period."""
        for reading in result.readings:
            gathered = self._gather(result.source, reading.at)
            every_ns = int(self._report_of(result.source).every_s * 1e9)
            if reading.at.monotonic_ns - gathered.began_ns >= every_ns:
                await self._report(result.source)
                gathered = self._gather(result.source, reading.at)
            gathered.add(reading)
            if gathered.full:
                await self._report(result.source)

    async def _on_score(self, result: WindowResult) -> None:
        gathered = self._gather(result.source, result.score.last)
        gathered.scores.append(_score(result))
        if gathered.full:
            await self._report(result.source)

    def _report_of(self, source: SourceName) -> Report:
        """A sensor that is no more may still have something to say."""
        return self._reports.get(source, _AS_BY_DEFAULT)

    def _gather(self, source: SourceName, at: Stamp) -> Gathered:
        gathered = self._gathered.get(source)
        if gathered is None:
            which = self._report_of(source).which
            gathered = self._gathered[source] = Gathered(began_ns=at.monotonic_ns, which=which)
        return gathered

    async def _report(self, source: SourceName) -> None:
        gathered = self._gathered.pop(source)
        if gathered.last_at is None and not gathered.scores:
            return
        now = self._clock.now()
        message = payloads.Telemetry(
            **self._head(gathered.last_at or now),
            source=source,
            config_version=self.config_version,
            readings=tuple(
                payloads.ReadingValue(
                    time=rfc3339(reading.at.wall_ns),
                    name=reading.name,
                    value=reading.value,
                    unit=reading.unit,
                    quality=reading.quality,
                )
                for reading in gathered.readings()
            ),
            scores=tuple(gathered.scores),
        )
        stream = telemetry_stream(source)
        await self._append(
            Draft(
                stream=stream,
                priority="telemetry",
                body=payloads.encode(message),
                made=now,
                expiry_s=self._expiry_overrides_s.get("telemetry", expiry_s(stream)),
            )
        )

    async def _append(self, draft: Draft) -> None:
        await ticking(self._ticks, "eventing", self._outbox.append(draft))

    async def _report_overdue(self) -> None:
        """A sensor that fell silent is told of all the same."""
        now_ns = self._clock.now().monotonic_ns
        for source, gathered in list(self._gathered.items()):
            if now_ns - gathered.began_ns >= self._report_of(source).every_s * 1e9:
                await self._report(source)

    def _head(self, at: Stamp) -> payloads.StreamHead:
        return payloads.stream_head(self._topics, at, synced=self._clock.synced(), boot=self._clock.boot)


def _score(result: WindowResult) -> payloads.ScoreValue:
    score = result.score
    return payloads.ScoreValue(
        model=score.model,
        first=rfc3339(score.first.wall_ns),
        last=rfc3339(score.last.wall_ns),
        score=score.score,
        threshold=score.threshold,
    )
