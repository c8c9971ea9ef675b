"""What became of every number that was given: the outbox file, the wire and the consumer side by side."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agent.contract.continuity import Continuity
from tests.e2e.outbox_rows import given_numbers, waiting_rows

Numbers = Mapping[str, set[int]]
"""Per stream."""


class Heard(Protocol):
    """A message as a consumer has it."""

    @property
    def stream(self) -> str: ...
    @property
    def content(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One generation of one outbox. `acknowledged` and `received` are different messages, not sendings."""

    produced: int
    acknowledged: int
    received: int
    waiting: int
    declared: int
    duplicated: int
    lost: Mapping[str, list[int]]
    lost_by_broker: Mapping[str, list[int]]

    @property
    def lost_count(self) -> int:
        return sum(map(len, self.lost.values()))

    @property
    def lost_by_broker_count(self) -> int:
        return sum(map(len, self.lost_by_broker.values()))


def audit(outbox_file: Path, received: Iterable[Heard], acknowledged: Numbers | None = None) -> Audit:
    """Hold what was given in `outbox_file` against what is known of it outside.

    The agent has stopped, or was killed. `acknowledged` is what the wire showed; None: nobody listened
    there, and what was received counts as acknowledged. `received` may hold other generations, which are
    passed over.
    """
    epoch = epoch_of(outbox_file)
    continuity = Continuity()
    had: defaultdict[str, set[int]] = defaultdict(set)
    for message in received:
        if message.content.get("epoch") == epoch:
            continuity.see(message.stream, message.content)
            had[message.stream].add(message.content["seq"])
    taken = had if acknowledged is None else acknowledged
    given, waiting = given_numbers(outbox_file), waiting_rows(outbox_file)
    declared = _declared_in(outbox_file)
    lost, lost_by_broker = {}, {}
    for stream, next_seq in given.items():
        taken_here = taken.get(stream, set())
        accounted = had[stream] | waiting.get(stream, set()) | declared.numbers[stream]
        if unknown := sorted(set(range(next_seq)) - accounted - taken_here):
            lost[stream] = unknown
        if gone := sorted(taken_here - accounted):
            lost_by_broker[stream] = gone
    return Audit(
        produced=sum(given.values()),
        acknowledged=sum(map(len, taken.values())),
        received=continuity.received,
        waiting=sum(map(len, waiting.values())),
        declared=declared.count,
        duplicated=continuity.duplicates,
        lost=lost,
        lost_by_broker=lost_by_broker,
    )


def epoch_of(outbox_file: Path) -> str:
    """The generation of the outbox."""
    with sqlite3.connect(f"file:{outbox_file}?mode=ro", uri=True) as outbox:
        epoch: str = outbox.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()[0]
    return epoch


@dataclass(frozen=True, slots=True)
class _Declared:
    """Numbers that are accounted for as lost, and how many messages the declarations count."""

    numbers: defaultdict[str, set[int]]
    count: int


def _declared_in(outbox_file: Path) -> _Declared:
    """What the ledger has as lost of this generation, told or not yet."""
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    total = 0
    with sqlite3.connect(f"file:{outbox_file}?mode=ro", uri=True) as outbox:
        rows = outbox.execute(
            "SELECT stream, first, last, count FROM ledger WHERE first IS NOT NULL AND lost_epoch = ?",
            [epoch_of(outbox_file)],
        )
        for stream, first, last, count in rows:
            numbers[stream] |= set(range(first, last + 1))
            total += count
    return _Declared(numbers, total)
