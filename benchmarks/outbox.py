"""How fast the outbox is by itself: append, commit, fetch and acknowledge, all at once, without a broker.

`python -m benchmarks.outbox --json FILE`; bulk and strict runs are interleaved. Append is timed on the event
loop, as its callers see it; waiting for a full queue counts.
"""

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import typer

from agent.adapters.metrics.prometheus import PrometheusMetrics
from agent.adapters.outbox import SqliteOutbox
from agent.adapters.system.clock import SystemClock
from agent.domain.ids import Stream
from agent.ports import Draft, Priority
from benchmarks.environment import describe_machine

BODY: Final = b'{"v":1,"x":"' + b"a" * 386 + b'"}'
"""400 bytes."""
WINDOW: Final = 20
PACE_S: Final = 0.001
RUNS: Final[dict[str, tuple[Priority, Stream]]] = {
    "bulk": ("detection", Stream("detections/door")),
    "strict": ("event", Stream("events/crowd")),
}


@dataclass(frozen=True, slots=True)
class Run:
    """`append_s` is sorted."""

    rows_per_s: float
    append_s: list[float]

    @property
    def append_p99_ms(self) -> float:
        return self.append_s[int(0.99 * (len(self.append_s) - 1))] * 1e3


async def run_once(path: Path, name: str, rows: int, *, pace_s: float) -> Run:
    """`rows` through an outbox of its own; with a pace, one every `pace_s`, else as fast as it takes them."""
    clock = SystemClock()
    priority, stream = RUNS[name]
    outbox = await SqliteOutbox.open(
        path,
        site="bench",
        node="bench",
        clock=clock,
        metrics=PrometheusMetrics(version="bench"),
        max_bytes=1 << 30,
        max_age_s=86_400,
    )
    append_s: list[float] = []

    async def produce() -> None:
        for number in range(rows):
            began = time.perf_counter()
            await outbox.append(Draft(stream=stream, priority=priority, body=BODY, made=clock.now()))
            append_s.append(time.perf_counter() - began)
            if pace_s or number % 8 == 0:
                await asyncio.sleep(pace_s)

    async def consume() -> None:
        after: dict[Priority, int] = {}
        left = rows
        while left:
            await outbox.committed()
            while found := await outbox.fetch(after=after, limit=WINDOW):
                after[priority] = found[-1].key
                outbox.acknowledge([row.key for row in found])
                left -= len(found)
        await outbox.statistics()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(produce(), name="produce")
        group.create_task(consume(), name="consume")
    took_s = time.perf_counter() - began
    await outbox.close()
    return Run(rows / took_s, sorted(append_s))


def main(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write figures and environment.", metavar="FILE")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short run: shows that all works.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Where the file is made: it is this disk that is measured.")
    ] = None,
) -> None:
    """Measure, and print the figures."""
    environment = describe_machine()
    rounds, rows = (1, 2_000) if quick else (5, 20_000)
    figures: dict[str, float] = {}
    fast: dict[str, list[Run]] = {name: [] for name in RUNS}
    paced: dict[str, list[Run]] = {name: [] for name in RUNS}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for number in range(rounds):
            for name in RUNS:
                place = Path(scratch) / f"{name}-{number}"
                fast[name].append(asyncio.run(run_once(place / "fast", name, rows, pace_s=0)))
                paced[name].append(asyncio.run(run_once(place / "paced", name, rows // 10, pace_s=PACE_S)))
    for name in RUNS:
        figures[f"{name}_rows_per_s"] = round(median(run.rows_per_s for run in fast[name]))
        figures[f"{name}_append_p99_ms"] = round(median(run.append_p99_ms for run in paced[name]), 4)
        figures[f"{name}_append_max_ms"] = round(max(run.append_s[-1] for run in paced[name]) * 1e3, 3)
    for figure, value in figures.items():
        typer.echo(f"{figure:24} {value:g}")
    if json_file is not None:
        json_file.write_text(json.dumps({"figures": figures, "environment": environment}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
