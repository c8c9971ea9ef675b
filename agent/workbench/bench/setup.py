"""What is measured: one way to run a model, and the ways worth comparing on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, order=True)
class Setup:
    """`lanes` callers of one session, whose runs have `threads` each; `batch` pictures a run.

    `spinning` and `arena` as `SessionSettings` has them. `busy`: foreign processes beside it that do nothing
    but compute, as the decoding of cameras does.
    """

    lanes: int
    threads: int
    batch: int = 1
    spinning: bool = True
    arena: bool = True
    busy: int = 0

    def __str__(self) -> str:
        lanes = "1 lane" if self.lanes == 1 else f"{self.lanes} lanes"
        parts = [f"{lanes} x {self.threads}"]
        parts += [f"batch {self.batch}"] if self.batch > 1 else []
        parts += [] if self.spinning else ["no spinning"]
        parts += [] if self.arena else ["no arena"]
        parts += [f"{self.busy} busy beside"] if self.busy else []
        return ", ".join(parts)


def ways(cores: int) -> list[Setup]:
    """One lane with all cores and one one-thread lane a core, with and without spinning and arena.

    One thread has nobody to spin for. From four cores on also half as many lanes with two threads.
    """
    one = Setup(lanes=1, threads=cores)
    setups = [one, replace(one, arena=False)]
    if cores > 1:
        setups.append(replace(one, spinning=False))
        many = Setup(lanes=cores, threads=1)
        setups += [many, replace(many, arena=False)]
    if cores >= 4:
        setups.append(Setup(lanes=cores // 2, threads=2, spinning=False))
    return setups


def compared(cores: int, batches: Sequence[int]) -> list[Setup]:
    """All ways, one lane with larger batches, and the ways of sharing cores beside a busy process."""
    one, *others = ways(cores)
    larger = [replace(one, batch=batch) for batch in batches if batch > 1]
    return [one, *others, *larger, *beside([each for each in (one, *others) if each.arena])]


def chosen(lanes: Sequence[int], threads: Sequence[int], batches: Sequence[int]) -> list[Setup]:
    """Every combination of what was asked for."""
    return [
        Setup(lanes=lane, threads=thread, batch=batch)
        for lane in lanes
        for thread in threads
        for batch in batches
    ]


def beside(setups: Sequence[Setup]) -> Iterator[Setup]:
    """The same, each beside one busy process."""
    return (replace(each, busy=1) for each in setups)
