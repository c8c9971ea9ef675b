"""Any order of appending, acknowledging, refusing, ageing, evicting and crashing keeps the account.

The model is what a consumer and an auditor would write down; after every step it is held against the file.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.adapters.outbox.ledger import Entry
from agent.adapters.outbox.listing import open_listing
from agent.ports import Priority, Row
from tests.adapters.outbox.rigs import copy_as_crash_leaves_it, draft, message, opened, waiting
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics

MAX_BYTES = 30_000
STREAMS: dict[str, Priority] = {
    "detections/door": "detection",
    "detections/gate": "detection",
    "telemetry/motor": "telemetry",
    "events/crowd": "event",
}


@dataclass(slots=True)
class Model:
    """What is known of each stream's numbers."""

    bodies: dict[str, dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    acknowledged: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    refused: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def see(self, rows: list[Row]) -> None:
        """A number never stands for two messages."""
        for row in rows:
            assert self.bodies[row.stream].setdefault(row.seq, row.body) == row.body, row.trace


class OutboxMachine(RuleBasedStateMachine):
    """Each step runs on a loop of its own outbox; a crash goes on with a copy of the file as it lay."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.model = Model()
        self.crashes = 0
        self.boots = 1
        self.metrics = FakeMetrics()
        self.syncs = 0.0
        self.synced: Path | None = None
        self.numbers = 0

    def run(self, what: Awaitable[object]) -> None:
        self.loop.run_until_complete(what)

    @initialize()
    def open(self) -> None:
        self.path = self.folder / "0" / "outbox.sqlite3"
        self.run(self._open())

    async def _open(self) -> None:
        self.outbox = await opened(self.path, clock=self.clock, metrics=self.metrics, max_bytes=MAX_BYTES)

    @rule(
        stream=st.sampled_from(sorted(STREAMS)),
        count=st.integers(1, 12),
        size=st.integers(0, 3_000),
        expiry_s=st.sampled_from([None, 5, 3_600]),
    )
    def append(self, stream: str, count: int, size: int, expiry_s: int | None) -> None:
        async def work() -> None:
            for _ in range(count):
                self.numbers += 1
                await self.outbox.append(
                    draft(
                        self.clock,
                        STREAMS[stream],
                        number=self.numbers,
                        size=size,
                        stream=stream,
                        expiry_s=expiry_s,
                    )
                )
            await self.outbox.statistics()

        self.run(work())

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        async def work() -> None:
            rows = await waiting(self.outbox)
            self.model.see(rows)
            chosen = [row for row in rows if data.draw(st.booleans())]
            self.outbox.acknowledge([row.key for row in chosen])
            for row in chosen:
                self.model.acknowledged[row.stream].add(row.seq)
            await self.outbox.statistics()

        self.run(work())

    @rule(data=st.data(), reason=st.sampled_from(["refused", "oversize"]))
    def refuse(self, data: st.DataObject, reason: str) -> None:
        async def work() -> None:
            rows = await waiting(self.outbox)
            if rows:
                row = data.draw(st.sampled_from(rows))
                self.outbox.refuse(row.key, reason=reason, code=0x87)  # type: ignore[arg-type]
                self.model.refused[row.stream].add(row.seq)
                await self.outbox.statistics()

        self.run(work())

    @rule(seconds=st.sampled_from([0.2, 1.5, 30.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.run(self.outbox.statistics())

    @rule(seconds=st.sampled_from([-1e9, -86_400.0, 86_400.0]))
    def step_the_wall_clock(self, seconds: float) -> None:
        if self.clock.wall_ns + seconds * 1e9 > 0:
            self.clock.step_wall(seconds)

    @rule()
    def restart(self) -> None:
        self.run(self.outbox.close())
        self.run(self._open())

    @rule()
    def crash(self) -> None:
        self.crashes += 1
        self.go_on_with(copy_as_crash_leaves_it(self.path, self.folder / f"{self.crashes}"))

    @precondition(lambda self: self.synced is not None)
    @rule()
    def cut_the_power(self) -> None:
        """Back to what was synced last, in another boot: what was sent since must not be contradicted."""
        self.run(self._see())
        self.boots += 1
        self.clock.boot = f"b0074b00-0000-4000-8000-{self.boots:012}"
        self.clock.monotonic_ns = 10_000_000_000
        self.crashes += 1
        assert self.synced is not None
        self.go_on_with(copy_as_crash_leaves_it(self.synced, self.folder / f"{self.crashes}"))
        # What was acknowledged after the last sync may wait again: then it is sent twice, under its number.
        self.model.acknowledged.clear()
        self.model.refused.clear()

    async def _see(self) -> None:
        self.model.see(await waiting(self.outbox))

    def keep_what_is_synced(self) -> None:
        """The disk has what was committed when the outbox last waited for it."""
        syncs = self.metrics.counts["outbox_syncs_total"]
        if syncs != self.syncs:
            self.syncs = syncs
            self.synced = copy_as_crash_leaves_it(self.path, self.folder / "synced" / f"{syncs}")

    def go_on_with(self, path: Path) -> None:
        self.run(self.outbox.close())
        self.path = path
        self.run(self._open())

    @invariant()
    def the_account_balances(self) -> None:
        self.run(self._check())
        self.keep_what_is_synced()

    async def _check(self) -> None:
        rows = await waiting(self.outbox)
        self.model.see(rows)
        statistics = await self.outbox.statistics()
        assert statistics.produced == statistics.acknowledged + statistics.rows + statistics.lost
        rows = await waiting(self.outbox)
        assert statistics.rows == len(rows)
        with open_listing(self.path) as listing:
            streams = listing.streams()
            ledger = listing.losses(limit=10_000)
        lost = numbers_lost(ledger, self.outbox.epoch)
        told = [message(row) for row in rows if row.stream == "loss"]
        for tally in streams:
            here = {row.seq for row in rows if row.stream == tally.stream}
            gone = lost[tally.stream]
            assert tally.lost == len(gone)
            assert tally.waiting == len(here)
            assert here.isdisjoint(gone)
            assert self.model.acknowledged[tally.stream].isdisjoint(here)
            assert self.model.acknowledged[tally.stream].isdisjoint(gone)
            assert self.model.refused[tally.stream] <= gone
            # Every number is accounted for: here, declared lost, or acknowledged.
            assert tally.acknowledged == tally.next_seq - len(here) - len(gone)
        for loss in told:
            assert loss["count"] == loss["to"] - loss["from"] + 1
            assert set(range(loss["from"], loss["to"] + 1)) <= lost[loss["stream"]]
        assert statistics.bytes <= MAX_BYTES + 2_000 * len(told)

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.run(self.outbox.close())
        self.loop.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder)


def numbers_lost(ledger: list[Entry], epoch: str) -> dict[str, set[int]]:
    """Per stream, what the ledger covers; no number twice."""
    lost: dict[str, set[int]] = defaultdict(set)
    for entry in ledger:
        drop = entry.drop
        assert drop.lost_epoch == epoch
        assert drop.first is not None
        assert drop.last is not None
        covered = set(range(drop.first, drop.last + 1))
        assert drop.count == len(covered)
        assert lost[drop.stream].isdisjoint(covered)
        lost[drop.stream] |= covered
    return lost


OutboxMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)

TestOutboxMachine = OutboxMachine.TestCase
