"""What a sensor's readings become on their way in."""

from __future__ import annotations

import asyncio

from agent.domain.ids import SourceName
from agent.domain.reading import Quality, Reading
from agent.domain.stamp import Stamp
from agent.pipeline.handover import Handover
from agent.pipeline.intake import ReadingIntake
from agent.pipeline.results import Result
from agent.pipeline.scheduler import Scheduler, WindowJob
from agent.pipeline.windows import WindowAssembler
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics
from tests.fakes.models import FakeAnomalyModel

MOTOR = SourceName("motor")


def readings(*values: float, first: int, quality: Quality = "good") -> list[Reading]:
    return [
        Reading("x", value, "g", Stamp(wall_ns=number, monotonic_ns=number), quality)
        for number, value in enumerate(values, start=first)
    ]


async def test_windows_given_up_are_counted() -> None:
    metrics = FakeMetrics()
    results: Handover[Result] = Handover(loop=asyncio.get_running_loop(), capacity=8)
    scheduler = Scheduler(clock=FakeClock())
    intake = ReadingIntake(
        source=MOTOR,
        results=results,
        windows=WindowAssembler(source=MOTOR, channels=("x",), window=2, hop=2),
        mailbox=scheduler.add_sensor(MOTOR, model=FakeAnomalyModel(), deadline_s=60),
        metrics=metrics,
    )

    assert intake.accept(readings(1, first=0))
    assert intake.accept(readings(2, first=1, quality="bad"))
    assert not metrics.counts  # its moment may still bring more
    assert intake.accept(readings(3, 4, first=2))

    assert metrics.counts == {"windows_broken_total source=motor": 1}
    job = scheduler.next_job()
    assert isinstance(job, WindowJob)
    assert job.window.values.tolist() == [[3], [4]]
