"""The order of things: what takes turns with what in a round."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from benchmarks.broker import RunningBroker
from benchmarks.figures import Pair, PeerRound, Round
from benchmarks.footage import Footage
from benchmarks.lanes import Lanes, LanesName, usable_cores, warm_up_of
from benchmarks.peers.peer import Peer
from benchmarks.peers.steps import time_decoding, time_feeding
from benchmarks.raw import Raw
from benchmarks.runs import RUNS, AgentTask, RunName
from benchmarks.subject import Subject, Subjects
from benchmarks.whole_agent import AgentRun, run_whole_agent
from benchmarks.worker import Worker

_PAIRS: Final = 4

Step = tuple[str, Callable[[], None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all rounds have in common. `begin` hears what is measured next; without `peer`, no comparison."""

    subjects: Subjects
    footage: Footage
    broker: RunningBroker
    folder: Path
    lanes: Mapping[LanesName, Lanes]
    frames: int
    peer: Peer | None
    begin: Callable[[str], None]

    def steps(self) -> int:
        """How many things a round measures."""
        return len(self._steps(0, _Measured.empty()))

    def round(self, number: int) -> Round:
        """Measure everything once. Every second round goes backwards, so that a steady drift cancels out.

        Raises:
            RuntimeError, TimeoutError: something did not work, and there are no figures.
        """
        measured = _Measured.empty()
        steps = self._steps(number, measured)
        for what, measure in steps if number % 2 == 0 else reversed(steps):
            self.begin(f"round {number + 1}: {what}")
            measure()
        return Round(
            memory=measured.memory,
            alone=measured.alone,
            raw_t2_hz=measured.rates["raw_t2"],
            agent=measured.agent,
            peer=measured.peer_round(),
        )

    def _steps(self, number: int, measured: "_Measured") -> list[Step]:
        one, every = self.lanes["one_lane"], self.lanes["all_lanes"]

        def measure_memory(lanes: Lanes) -> None:
            measured.memory[lanes.name] = self._pairs(lanes, self.frames // 2, one_by_one=False)

        def measure_alone() -> None:
            measured.alone.extend(self._pairs(one, self.frames // _PAIRS, one_by_one=True))

        def measure_raw() -> None:
            raw = Raw.open(self.subjects.exported, self.footage.pictures[0], one)
            measured.rates["raw_t2"] = raw.run(self.frames).rate_hz

        def measure_agent(name: RunName, task: AgentTask) -> None:
            measured.agent[name] = run_whole_agent(
                task, self.subjects, self.footage, self.broker, self.folder / f"round-{number}" / name
            )

        steps: list[Step] = [
            ("raw, the exported graph", measure_raw),
            ("frames from memory, one lane", lambda: measure_memory(one)),
            ("frames from memory, all lanes", lambda: measure_memory(every)),
            ("one frame at a time", measure_alone),
        ]
        steps += [
            (f"agent, {task.caption}", partial(measure_agent, name, task)) for name, task in RUNS.items()
        ]
        return steps if self.peer is None else self._with_peer(steps, self.peer, measured)

    def _with_peer(self, steps: list[Step], peer: Peer, measured: "_Measured") -> list[Step]:
        subjects, footage = self.subjects, self.footage
        size = subjects.exported.size.height_px, subjects.exported.size.width_px

        def measure_video(name: str, subject: Subject) -> None:
            warm_up = warm_up_of(footage.frames, lanes=1)
            measured.rates[name] = peer.predict_video(
                subject.path, footage.video, size, warm_up=warm_up
            ).rate_hz

        def measure_parts() -> None:
            for name, threads in (("letterbox", usable_cores()), ("letterbox_one_thread", 1)):
                measured.rates[name] = time_feeding(
                    peer, subjects.exported, footage.pictures, self.folder, threads=threads
                )
            measured.rates["decode"] = time_decoding(peer, subjects.exported, self.folder)

        peers: list[Step] = [
            ("Ultralytics, the exported graph", lambda: measure_video("exported", subjects.exported)),
            ("Ultralytics, the exact graph", lambda: measure_video("same_graph", subjects.exact)),
            ("feeding and decoding beside Ultralytics'", measure_parts),
        ]
        # What is compared stands side by side.
        first = next(at for at, (what, _) in enumerate(steps) if what.startswith("agent"))
        return [*steps[: first + 1], peers[0], *steps[first + 1 : first + 3], *peers[1:], *steps[first + 3 :]]

    def _pairs(self, lanes: Lanes, frames: int, *, one_by_one: bool) -> list[Pair]:
        """Short blocks of raw runs and of the worker in turn: little drifts between the two of a pair.

        Both sessions stay loaded; between its blocks a session's threads wait without working.
        """
        frames = max(frames, 3)
        served, pictures = self.subjects.served, self.footage.pictures
        raw = Raw.open(served, pictures[0], lanes)
        worker = Worker.open(served, pictures, lanes)
        pairs = []
        for turn in range(_PAIRS):
            if turn % 2:
                ours = worker.run(frames, one_by_one=one_by_one)
                pairs.append(Pair(raw=raw.run(frames), worker=ours))
            else:
                bare = raw.run(frames)
                pairs.append(Pair(raw=bare, worker=worker.run(frames, one_by_one=one_by_one)))
        return pairs


@dataclass(slots=True)
class _Measured:
    """What a round has measured so far."""

    memory: dict[LanesName, list[Pair]]
    alone: list[Pair]
    agent: dict[RunName, AgentRun]
    rates: dict[str, float]

    @classmethod
    def empty(cls) -> Self:
        return cls(memory={}, alone=[], agent={}, rates={})

    def peer_round(self) -> PeerRound | None:
        if "exported" not in self.rates:
            return None
        return PeerRound(
            exported_hz=self.rates["exported"],
            same_graph_hz=self.rates["same_graph"],
            letterbox=self.rates["letterbox"],
            letterbox_one_thread=self.rates["letterbox_one_thread"],
            decode=self.rates["decode"],
        )
