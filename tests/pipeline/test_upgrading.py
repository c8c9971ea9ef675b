"""A faster model takes over under running lanes, or the slower one goes on and it is told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from agent.domain.errors import Code, TransientError
from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.domain.thresholds import Thresholds
from agent.pipeline.handover import Handover
from agent.pipeline.inference import InferenceWorker
from agent.pipeline.results import FrameResult, Result
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.supervise import Ticks
from agent.pipeline.upgrading import Upgrading
from agent.ports import DetectorModel, Status
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics
from tests.fakes.models import FakeDetector
from tests.polling import until

DOOR = SourceName("door")


def detector(provider: str) -> FakeDetector:
    model = FakeDetector()
    model.facts = replace(model.facts, provider_asked="tensorrt", provider_used=provider)
    return model


class FakeUpgrade:
    """Fulfils `ports.ModelUpgrade`: ready when `gate` opens; `error` is raised then."""

    def __init__(self, serving: DetectorModel, *, error: TransientError | None = None) -> None:
        self.serving = serving
        self.new = detector("tensorrt")
        self.gate = threading.Event()
        self.stopped = threading.Event()
        self._error = error

    def build(self, *, tell: Callable[[float], None], stop: threading.Event) -> DetectorModel:
        tell(40.0)
        while not self.gate.wait(timeout=0.005):
            if stop.is_set():
                self.stopped.set()
                raise TransientError("it was stopped", code=Code.PROVIDER)
        if self._error is not None:
            raise self._error
        return self.new


class Conditions:
    def __init__(self) -> None:
        self.told: list[tuple[str, Status, str | None, str | None]] = []

    def __call__(self, who: str, status: Status, code: str | None, message: str | None) -> None:
        self.told.append((who, status, code, message))


def upgrading(
    upgrade: FakeUpgrade, scheduler: Scheduler, conditions: Conditions
) -> tuple[Upgrading, list[tuple[DetectorModel, DetectorModel]]]:
    replaced: list[tuple[DetectorModel, DetectorModel]] = []
    return Upgrading(
        upgrades=[upgrade],
        scheduler=scheduler,
        on_condition=conditions,
        on_replaced=lambda old, new: replaced.append((old, new)),
    ), replaced


async def test_the_new_model_takes_over_between_two_frames_and_none_is_lost() -> None:
    clock, conditions = FakeClock(), Conditions()
    scheduler = Scheduler(clock=clock)
    old = detector("cuda")
    upgrade = FakeUpgrade(old)
    stage, replaced = upgrading(upgrade, scheduler, conditions)
    mailbox = scheduler.add_camera(DOOR, model=old, thresholds=Thresholds(), overflow="wait")
    results: Handover[Result] = Handover(loop=asyncio.get_running_loop(), capacity=1000)
    worker = InferenceWorker(
        scheduler=scheduler,
        results=results,
        lanes=2,
        clock=clock,
        metrics=FakeMetrics(),
        ticks=Ticks(clock=clock),
        on_condition=conditions,
    )
    lanes = asyncio.create_task(worker.run())
    building = asyncio.create_task(stage.run())

    def put(first: int, last: int) -> None:
        for number in range(first, last):
            assert mailbox.put(Frame(DOOR, number, clock.now(), np.zeros((2, 2, 3), np.uint8)))

    await asyncio.to_thread(put, 0, 100)
    await until(lambda: len(old.batches) > 50)
    busy = asyncio.create_task(asyncio.to_thread(put, 100, 300))
    upgrade.gate.set()
    await building
    await busy
    await asyncio.to_thread(put, 300, 400)
    await until(lambda: len(old.batches) + len(upgrade.new.batches) == 400)
    scheduler.close()
    await lanes
    results.close()

    found = []
    while (result := await results.get(timeout_s=1)) is not None:
        found.append(result)
    by = {"cuda": 0, "tensorrt": 0}
    for result in found:
        assert isinstance(result, FrameResult)
        by[result.model.provider_used] += 1
    assert sorted(result.number for result in found if isinstance(result, FrameResult)) == list(range(400))
    assert by == {"cuda": len(old.batches), "tensorrt": len(upgrade.new.batches)}
    assert by["tensorrt"] >= 100
    assert replaced == [(old, upgrade.new)]
    assert conditions.told == [
        ("model-people", "waiting", None, "tensorrt is being prepared, cuda serves meanwhile (40 s so far)"),
        ("model-people", "ok", None, "tensorrt serves"),
    ]


async def test_a_build_that_fails_is_told_and_the_old_model_goes_on() -> None:
    clock, conditions = FakeClock(), Conditions()
    scheduler = Scheduler(clock=clock)
    old = detector("cuda")
    upgrade = FakeUpgrade(old, error=TransientError("no engine from this network", code=Code.PROVIDER))
    stage, replaced = upgrading(upgrade, scheduler, conditions)
    upgrade.gate.set()
    await stage.run()
    assert not replaced
    assert conditions.told[-1] == (
        "model-people",
        "degraded",
        "E_PROVIDER",
        "cuda goes on serving: no engine from this network",
    )


async def test_a_stop_ends_the_build_under_way() -> None:
    conditions = Conditions()
    upgrade = FakeUpgrade(detector("cuda"))
    stage, _ = upgrading(upgrade, Scheduler(clock=FakeClock()), conditions)
    building = asyncio.create_task(stage.run())
    await until(lambda: bool(conditions.told))
    building.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await building
    await until(upgrade.stopped.is_set)
