"""A scheduler with a lane, models whose loading is feigned, and cameras that do what their stanza says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from agent.contract.policy import ModelPolicy, Policy
from agent.contract.sources import SyntheticCamera
from agent.contract.thresholds import ThresholdPolicy
from agent.domain.errors import Code, RefusedError
from agent.domain.frame import Frame
from agent.domain.ids import ModelName, SourceName
from agent.pipeline.control.probing import Probe, Told
from agent.pipeline.control.reconcile import Reconciler
from agent.pipeline.control.terms import Applied
from agent.pipeline.scheduler import FrameJob, NoJob, Scheduler
from agent.pipeline.sources import Sources
from agent.pipeline.swap import Admitted, ModelSwap
from agent.policies import Policies
from agent.ports import Model
from tests.fakes.clock import FakeClock
from tests.fakes.models import FakeDetector

SILENT = 100
"""A camera with this seed, or a higher one, is tried again and again."""
WRONG = 200
"""One with this seed fails at once."""
PROBE_S = 0.5


class Seen(NamedTuple):
    """One frame that the lane was given."""

    source: str
    number: int
    model: str
    confidence: float


def policy(*, models: Mapping[str, str] | None = None, **sources: Mapping[str, Any]) -> Policy:
    """Cameras by name, with stanzas that say no more than what is special of them."""
    stanzas = {name: {"kind": "synthetic", "model": "people", **stanza} for name, stanza in sources.items()}
    files = models or {"people": "a.onnx"}
    return Policy.model_validate(
        {"models": {name: {"file": file} for name, file in files.items()}, "sources": stanzas}
    )


class FakeCapture:
    """A camera, by its seed: see SILENT and WRONG. `answers` lets a silent one work after all."""

    def __init__(self, bench: Bench, name: SourceName, stanza: SyntheticCamera) -> None:
        self._bench = bench
        self._name = name
        self._seed = stanza.seed
        self._stopping = asyncio.Event()
        self.answers = asyncio.Event()
        if stanza.seed < SILENT:
            self.answers.set()
        admitted = bench.swap.serving(stanza.model)
        self._mailbox = bench.scheduler.add_camera(
            name,
            model=bench.detector(stanza.model),
            thresholds=bench.policy.thresholds_of(name, admitted.thresholds if admitted else None),
            overflow="wait",
        )

    def stop(self) -> None:
        self._stopping.set()
        self.answers.set()

    async def run(self) -> None:
        report = self._bench.conditions
        report[self._name] = Told("waiting", None, "opening")
        if self._seed >= SILENT:
            status = "failed" if self._seed >= WRONG else "waiting"
            report[self._name] = Told(status, Code.OPEN, "nobody there")  # type: ignore[arg-type]
        await self.answers.wait()
        number = 0
        while not self._stopping.is_set():
            frame = Frame(self._name, number, self._bench.clock.now(), np.zeros((2, 2, 3), np.uint8))
            if await asyncio.to_thread(self._mailbox.put, frame):
                report[self._name] = Told("ok", None, None)
            number += 1


class Bench:
    """Made by `bench`. `seen` is what the lane was given, `started` and `adopted` what the reconciler did."""

    def __init__(self, begun: Policy) -> None:
        self.clock = FakeClock()
        self.policy = begun
        self.scheduler = Scheduler(clock=self.clock)
        self.conditions: dict[str, Told] = {}
        self.captures: dict[str, FakeCapture] = {}
        self.started: list[str] = []
        self.seen: list[Seen] = []
        self.adopted: list[Policy] = []
        self.marks: list[int] = []
        self.given_back = 0
        self.lost: set[str] = set()
        self.sources = Sources(scheduler=self.scheduler, forget=self._forget)
        self.sources.attach(lambda capture, name: asyncio.create_task(capture, name=name))
        self.models = {
            ModelName(name): self.load(ModelName(name), stanza, True) for name, stanza in begun.models.items()
        }
        self.swap = ModelSwap(
            scheduler=self.scheduler,
            models=self.models,
            policy=begun,
            load=self.load,
            digest=lambda stanza: stanza.file,
            suits=lambda _policy, _models: None,
            give_back=self._give_back,
            on_condition=lambda *_told: None,
            on_swapped=lambda: None,
        )
        self.reconciler = Reconciler(
            policy=begun,
            version=1,
            mark=self.marks.append,
            swap=self.swap,
            sources=self.sources,
            capture=self._capture,
            alter=self._alter,
            stagers=[],
            followers=[self],
            mixture=Policies.mixture,
            probe=Probe(
                told=self.conditions.get,
                flow=self.scheduler.statistics,
                is_running=self.sources.is_running,
                forget=self._forget,
            ),
            probe_s=PROBE_S,
        )

    def load(self, name: ModelName, stanza: ModelPolicy, _may_fall_back: bool) -> Admitted:
        """Feigns it: files whose name begins with `bad` are refused, and those that are lost."""
        if stanza.file.startswith("bad") or stanza.file in self.lost:
            raise RefusedError(f"{stanza.file} finds nothing", code=Code.MODEL)
        model = FakeDetector(name)
        model.facts = replace(model.facts, version=stanza.file)
        return Admitted(model, stanza.file, ThresholdPolicy(), "nothing golden")

    def detector(self, name: str | None) -> FakeDetector | None:
        admitted = self.swap.serving(name)
        model: Model | None = admitted.model if admitted else None
        assert model is None or isinstance(model, FakeDetector)
        return model

    def adopt(self, new: Policy) -> None:
        """As whatever follows the policy does."""
        self.policy = new
        self.adopted.append(new)

    def start(self) -> None:
        """Capture all cameras."""
        for name in self.policy.sources:
            self.sources.start(SourceName(name), self._capture(SourceName(name), self.policy), is_camera=True)
        self.started.clear()

    async def apply(self, new: Policy, *, version: int = 2, **before: int) -> Applied:
        return await self.reconciler.apply(
            new, version=version, before=before, look_at_files=False, on_probation=lambda _standings: None
        )

    def numbers(self, source: str) -> list[int]:
        return [seen.number for seen in list(self.seen) if seen.source == source]

    def have_come(self, source: str, count: int = 5) -> bool:
        return len(self.numbers(source)) >= count

    def infer(self) -> None:
        """What a lane does, in its thread, until the scheduler is closed."""
        while (job := self.scheduler.next_job()) is not NoJob.OVER:
            if isinstance(job, FrameJob):
                for frame, thresholds in zip(job.frames, job.thresholds, strict=True):
                    version = job.model.facts.version
                    self.seen.append(Seen(frame.source, frame.number, version, thresholds.confidence))

    def _capture(self, name: SourceName, wanted: Policy) -> FakeCapture:
        stanza = wanted.sources[name]
        assert isinstance(stanza, SyntheticCamera)
        self.started.append(name)
        self.captures[name] = FakeCapture(self, name, stanza)
        return self.captures[name]

    def _alter(self, name: SourceName, wanted: Policy) -> None:
        stanza = wanted.sources[name]
        assert isinstance(stanza, SyntheticCamera)
        self.scheduler.alter_camera(
            name,
            model=self.detector(stanza.model),
            thresholds=wanted.thresholds_of(name),
            priority=stanza.priority,
            max_staleness_s=stanza.max_staleness_s,
            fps=stanza.fps,
        )

    def _forget(self, name: str) -> None:
        self.conditions.pop(name, None)

    def _give_back(self) -> None:
        self.given_back += 1


@asynccontextmanager
async def bench(begun: Policy) -> AsyncIterator[Bench]:
    """All cameras run, and what they give is inferred."""
    made = Bench(begun)
    lane = threading.Thread(target=made.infer, daemon=True)
    lane.start()
    made.start()
    try:
        yield made
    finally:
        tasks = made.sources.tasks()
        made.sources.stop_all()
        made.scheduler.close()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.to_thread(lane.join)
