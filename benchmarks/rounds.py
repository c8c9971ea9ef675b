"""The order of things: what takes turns with what in a round."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.broker import RunningBroker
from benchmarks.figures import Round, RunName
from benchmarks.footage import Footage
from benchmarks.lanes import Lanes, LanesName
from benchmarks.raw import RawRun, run_raw
from benchmarks.subject import Subject
from benchmarks.whole_agent import AgentRun, run_whole_agent
from benchmarks.worker import WorkerRun, run_worker

STEPS_PER_ROUND: Final = 8

_PAIRS: Final = 4

Step = tuple[str, Callable[[], None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all rounds have in common. `begin` hears what is measured next."""

    subject: Subject
    footage: Footage
    broker: RunningBroker
    folder: Path
    lanes: tuple[Lanes, Lanes]
    frames: int
    begin: Callable[[str], None]

    def round(self, number: int) -> Round:
        """Measure everything once. Every second round goes backwards, so that a steady drift cancels out.

        Raises:
            RuntimeError, TimeoutError: something did not work, and there are no figures.
        """
        raw: dict[LanesName, RawRun] = {}
        worker: dict[LanesName, WorkerRun] = {}
        agent: dict[RunName, AgentRun] = {}
        added_ms: list[float] = []
        one, every = self.lanes

        def measure_raw(lanes: Lanes) -> None:
            raw[lanes.name] = self._raw(lanes, self.frames)

        def measure_worker(lanes: Lanes) -> None:
            worker[lanes.name] = self._worker(lanes, self.frames)

        def measure_agent(name: RunName, lanes: Lanes) -> None:
            agent[name] = run_whole_agent(
                self.subject,
                self.footage,
                lanes,
                self.broker,
                self.folder / f"round-{number}" / name,
                pace="clock" if name == "camera" else "fast",
            )

        steps: list[Step] = [
            ("raw, one lane", lambda: measure_raw(one)),
            ("worker, one lane", lambda: measure_worker(one)),
            ("agent, one lane", lambda: measure_agent("one_lane", one)),
            ("raw, all lanes", lambda: measure_raw(every)),
            ("worker, all lanes", lambda: measure_worker(every)),
            ("agent, all lanes", lambda: measure_agent("all_lanes", every)),
            ("one frame at a time", lambda: added_ms.append(self._added_ms(one))),
            ("agent, at the camera's rate", lambda: measure_agent("camera", one)),
        ]
        for what, measure in steps if number % 2 == 0 else reversed(steps):
            self.begin(f"round {number + 1}: {what}")
            measure()
        return Round(raw=raw, worker=worker, added_ms=added_ms[0], agent=agent)

    def _raw(self, lanes: Lanes, frames: int) -> RawRun:
        return run_raw(self.subject, self.subject.feed(self.footage.pictures[0]), lanes, frames=frames)

    def _worker(self, lanes: Lanes, frames: int, *, one_by_one: bool = False) -> WorkerRun:
        return run_worker(self.subject, self.footage.pictures, lanes, frames=frames, one_by_one=one_by_one)

    def _added_ms(self, lanes: Lanes) -> float:
        """What a frame takes from capture to detections beyond a raw run, in ms.

        A small difference of large times: each pair is short, so that little drifts between its two.
        """
        frames = max(self.frames // _PAIRS, 3)
        return median(
            self._worker(lanes, frames, one_by_one=True).frame_ms - self._raw(lanes, frames).run_ms
            for _ in range(_PAIRS)
        )
