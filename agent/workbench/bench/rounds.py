"""All setups in turn, round after round, each in a child process; a figure is the median of its rounds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from agent.domain.errors import Code, RefusedError
from agent.workbench.bench.child import Measured
from agent.workbench.bench.setup import Setup

if TYPE_CHECKING:
    from agent.adapters.onnx.input_shape import Shape

_PATIENCE_S: Final = 300.0
"""For loading and warming; a slow model on a small board may take minutes."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured with every setup: a model, how it is fed, and for how long at a time."""

    path: Path
    shape: Shape = "file"
    provider: str = "cpu"
    image: Path | None = None
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over `rounds` of one setup; the peak of memory is the greatest."""

    setup: Setup
    rounds: int
    measured: Measured

    def as_json(self) -> dict[str, Any]:
        return {"setup": asdict(self.setup), "name": str(self.setup), "rounds": self.rounds} | asdict(
            self.measured
        )


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured, in the order of the setups, and what could not be: the setup and why."""

    figures: tuple[Figures, ...]
    refused: tuple[tuple[Setup, str], ...]


def measure(
    subject: Subject, setups: Sequence[Setup], *, rounds: int, progress: Callable[[str], None]
) -> Bench:
    """Run every setup `rounds` times, every other round in reverse order: what drifts hits all alike.

    `progress` is told before each.

    Raises:
        RefusedError: the model cannot be measured in any of them; a child died or took too long.
    """
    found: dict[Setup, list[Measured]] = {setup: [] for setup in setups}
    refused: dict[Setup, str] = {}
    for number in range(rounds):
        for setup in setups if number % 2 == 0 else reversed(setups):
            if setup in refused:
                continue
            progress(str(setup))
            answer = _measure_one(subject, setup)
            if isinstance(answer, Measured):
                found[setup].append(answer)
            else:
                refused[setup] = answer
    if len(refused) == len(found):
        raise RefusedError(f"{subject.path.name}: {next(iter(refused.values()))}", code=Code.MODEL)
    figures = tuple(Figures(setup, len(taken), _medians(taken)) for setup, taken in found.items() if taken)
    return Bench(figures, tuple(refused.items()))


def _measure_one(subject: Subject, setup: Setup) -> Measured | str:
    """What a child measured, or why it cannot."""
    asked = {
        "path": str(subject.path),
        "shape": subject.shape,
        "provider": subject.provider,
        "image": str(subject.image) if subject.image else None,
        "seconds": subject.seconds,
        "setup": asdict(setup),
    }
    with _busy(setup.busy):
        try:
            done = subprocess.run(
                [sys.executable, "-m", "agent.workbench.bench.child", json.dumps(asked)],
                capture_output=True,
                text=True,
                timeout=subject.seconds + _PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RefusedError(
                f"{subject.path.name} with {setup} was not done within {error.timeout:.0f} s",
                code=Code.TIMEOUT,
            ) from error
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        said = done.stderr.strip().splitlines()
        raise RefusedError(
            f"{subject.path.name} with {setup} did not survive (exit {done.returncode}): "
            f"{said[-1] if said else 'it said nothing'}",
            code=Code.MODEL,
        )
    answer = json.loads(lines[-1])
    return str(answer["refused"]) if "refused" in answer else Measured(**answer)


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many foreign processes that take a core each."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        command = [sys.executable, "-m", "agent.workbench.bench.busy"]
        running += (subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(count))
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _medians(taken: Sequence[Measured]) -> Measured:
    first = taken[0]
    return Measured(
        runs=sum(one.runs for one in taken),
        per_second=median(one.per_second for one in taken),
        stage_ms={
            stage: {name: median(one.stage_ms[stage][name] for one in taken) for name in by_name}
            for stage, by_name in first.stage_ms.items()
        },
        peak_mb=max(one.peak_mb for one in taken),
        libraries_mb=median(one.libraries_mb for one in taken),
    )
