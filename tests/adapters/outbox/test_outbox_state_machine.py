"""Any order of appending, acknowledging, storing, refusing, ageing, evicting and crashing keeps the account.

The `Auditor` writes down what a consumer would; after every step it is held against the file.
"""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Awaitable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.adapters.outbox.bounds import Limit
from agent.adapters.outbox.listing import open_listing
from agent.adapters.outbox.schema import side_files
from agent.domain.ids import Stream
from agent.ports import KeepUntil, Priority, Row
from tests.adapters.outbox.auditor import Auditor
from tests.adapters.outbox.rigs import copy_as_crash_leaves_it, draft, opened, waiting
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics

pytestmark = pytest.mark.timeout(240)

MAX_BYTES = 30_000
RESERVE_BYTES = 8_000
SNAPSHOT_BYTES = 6_000
GATHERING_S = 60.0
"""So that what was not asked for stays in memory while a crash is staged."""

STREAMS: dict[str, Priority] = {
    "detections/door": "detection",
    "detections/gate": "detection",
    "telemetry/motor": "telemetry",
    "snapshots/door": "snapshot",
    "events/crowd": "event",
    "result": "result",
}
BULK = [stream for stream, priority in STREAMS.items() if priority not in {"event", "result"}]
CHOICE = st.lists(st.booleans(), min_size=1, max_size=8)
"""Repeated over the rows that wait: how many those are is a matter of timing, which must draw nothing."""

_WAL_HEADER_BYTES = 32


class OutboxMachine(RuleBasedStateMachine):
    """Each step runs on a loop of its own outbox; a crash goes on with a copy of the file as it lay."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.auditor = Auditor()
        self.until: KeepUntil = "acknowledged"
        self.crashes = 0
        self.boots = 1
        self.undone = False
        self.metrics = FakeMetrics()
        self.syncs = 0.0
        self.synced: Path | None = None
        self.synced_log = (b"", 0)
        self.numbers = 0

    def run(self, what: Awaitable[object]) -> None:
        self.loop.run_until_complete(what)

    @initialize()
    def open(self) -> None:
        self.path = self.folder / "0" / "outbox.sqlite3"
        self.run(self._open())

    async def _open(self) -> None:
        self.outbox = await opened(
            self.path,
            clock=self.clock,
            metrics=self.metrics,
            keep_until=self.until,
            max_bytes=MAX_BYTES,
            reserve_bytes=RESERVE_BYTES,
            limits={"snapshot": Limit(max_bytes=SNAPSHOT_BYTES, max_age_s=3_600)},
            commit_interval_s=GATHERING_S,
        )

    async def _append(self, stream: str, count: int, size: int, expiry_s: int | None = None) -> None:
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

    def _acknowledge(self, rows: list[Row]) -> None:
        self.outbox.acknowledge([row.key for row in rows])
        self.auditor.acknowledge(rows, self.until)

    # --- a day's work -------------------------------------------------------------------------------

    @rule(
        stream=st.sampled_from(sorted(STREAMS)),
        count=st.integers(1, 12),
        size=st.integers(0, 3_000),
        expiry_s=st.sampled_from([None, 5, 3_600]),
    )
    def append(self, stream: str, count: int, size: int, expiry_s: int | None) -> None:
        self.run(self._append(stream, count, size, expiry_s))

    @rule(choice=CHOICE, seconds=st.sampled_from([0.0, 10.0]))
    def acknowledge(self, choice: list[bool], seconds: float) -> None:
        """What is acknowledged counts from then on, though it is committed only later."""

        async def work() -> None:
            rows = await waiting(self.outbox)
            self.auditor.see(rows)
            chosen = list(itertools.compress(rows, itertools.cycle(choice)))
            self._acknowledge(chosen)
            self.clock.advance(seconds)
            again = await self.outbox.fetch(after={}, limit=10_000)
            assert {row.key for row in chosen}.isdisjoint(row.key for row in again)
            statistics = await self.outbox.statistics()
            self.auditor.check(self.path, statistics)
            if self.until == "acknowledged":
                self.auditor.check_left(self.path, chosen)

        self.run(work())

    @rule(place=st.floats(0, 0.99), reason=st.sampled_from(["refused", "oversize"]))
    def refuse(self, place: float, reason: str) -> None:
        async def work() -> None:
            rows = await waiting(self.outbox)
            if rows:
                row = rows[int(place * len(rows))]
                self.auditor.see([row])
                self.outbox.refuse(row.key, reason=reason, code=0x87)  # type: ignore[arg-type]
                self.auditor.refused[row.stream].add(row.seq)

        self.run(work())

    @rule(until=st.sampled_from(["acknowledged", "stored"]))
    def keep(self, until: KeepUntil) -> None:
        if until == "acknowledged":
            self.auditor.let_go()
        self.until = until
        self.outbox.keep(until)

    @precondition(lambda self: self.until == "stored")
    @rule(stream=st.sampled_from(sorted(STREAMS)), beyond=st.integers(-8, 2))
    def store(self, stream: str, beyond: int) -> None:
        """A consumer's ack, near the newest number that the broker has."""
        newest = max(self.auditor.at_broker[stream], default=0)
        seq = max(0, newest + beyond)

        async def work() -> None:
            await self.outbox.statistics()
            before = self.held_at_broker(stream)
            self.auditor.store(stream, seq)
            self.outbox.stored(Stream(stream), self.outbox.epoch, seq)
            await self.outbox.statistics()
            left = before - self.held_at_broker(stream)
            wanted = (
                {number for number in before if number <= seq} if seq <= max(before, default=-1) else set()
            )
            assert wanted <= left

        self.run(work())

    @precondition(lambda self: self.until == "stored")
    @rule(stream=st.sampled_from(sorted(STREAMS)), first=st.integers(0, 20), count=st.integers(0, 30))
    def replay(self, stream: str, first: int, count: int) -> None:
        async def work() -> None:
            await self.outbox.statistics()
            asked = set(range(first, first + count + 1))
            held = self.held_at_broker(stream) & asked
            await self.outbox.replay(Stream(stream), self.outbox.epoch, first, first + count)
            rows = await waiting(self.outbox)
            self.auditor.see(rows)
            assert held <= {row.seq for row in rows if row.stream == stream}

        self.run(work())

    @rule(seconds=st.sampled_from([0.2, 1.5, 30.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-1e9, -86_400.0, 86_400.0]))
    def step_the_wall_clock(self, seconds: float) -> None:
        if self.clock.wall_ns + seconds * 1e9 > 0:
            self.clock.step_wall(seconds)

    # --- what goes wrong ----------------------------------------------------------------------------

    @rule()
    def restart(self) -> None:
        self.run(self.outbox.close())
        self.run(self._open())

    @rule(stream=st.sampled_from(BULK), count=st.integers(0, 5), choice=CHOICE)
    def crash(self, stream: str, count: int, choice: list[bool]) -> None:
        """`kill -9` with drafts and acknowledgements under way: they count, or were never there."""

        async def work() -> None:
            rows = await waiting(self.outbox)
            self.auditor.see(rows)
            self._acknowledge(list(itertools.compress(rows, itertools.cycle(choice))))
            await self._append(stream, count, 100)

        self.run(work())
        self.go_on_with(copy_as_crash_leaves_it(self.path, self.new_place()))

    @precondition(lambda self: self.synced is not None)
    @rule()
    def cut_the_power(self) -> None:
        """Back to what was synced last: what was sent since must not be contradicted."""
        self.run(self._see())
        assert self.synced is not None
        place = copy_as_crash_leaves_it(self.synced, self.new_place())
        self.reboot_with(place)

    @precondition(lambda self: self.synced is not None)
    @rule(share=st.floats(0, 1), torn=st.binary(max_size=600))
    def cut_the_power_with_part_of_the_log_written(self, share: float, torn: bytes) -> None:
        """Of the log that was not synced, the disk has some; its last sectors may hold anything."""
        self.run(self._see())
        place = copy_as_crash_leaves_it(self.path, self.new_place())
        log = side_files(place)[0]
        if log.exists():
            written = log.read_bytes()
            header, synced = self.synced_log
            least = min(synced, len(written)) if written[:_WAL_HEADER_BYTES] == header else 0
            kept = least + int(share * (len(written) - least))
            log.write_bytes(written[:kept] + torn)
        self.reboot_with(place)

    async def _see(self) -> None:
        self.auditor.see(await waiting(self.outbox))

    def new_place(self) -> Path:
        self.crashes += 1
        return self.folder / f"{self.crashes}"

    def reboot_with(self, path: Path) -> None:
        self.boots += 1
        self.clock.boot = f"b0074b00-0000-4000-8000-{self.boots:012}"
        self.clock.monotonic_ns = 10_000_000_000
        self.auditor.undo()
        self.undone = True
        self.go_on_with(path)

    def go_on_with(self, path: Path) -> None:
        self.run(self.outbox.close())
        self.path = path
        self.run(self._open())

    # --- what holds ---------------------------------------------------------------------------------

    def held_at_broker(self, stream: str) -> set[int]:
        with open_listing(self.path) as listing:
            rows = listing.waiting(stream=stream, limit=10_000)
        return {row.seq for row in rows if row.at_broker}

    @invariant()
    def the_account_balances(self) -> None:
        self.run(self._check())
        self.keep_what_is_synced()

    async def _check(self) -> None:
        self.auditor.see(await waiting(self.outbox))
        statistics = await self.outbox.statistics()
        rows = self.auditor.check(self.path, statistics, undone=self.undone)
        self.undone = False
        held = dict.fromkeys(map(str, ("loss", *STREAMS.values())), 0)
        for row in rows:
            held[row.priority] += row.size
        assert statistics.bytes == sum(held.values())
        assert held["snapshot"] <= SNAPSHOT_BYTES
        assert held["snapshot"] + held["telemetry"] + held["detection"] <= MAX_BYTES - RESERVE_BYTES
        assert statistics.bytes - held["loss"] <= MAX_BYTES

    def keep_what_is_synced(self) -> None:
        """The disk has what was committed when the outbox last waited for it."""
        syncs = self.metrics.counts["outbox_syncs_total"]
        if syncs != self.syncs:
            self.syncs = syncs
            self.synced = copy_as_crash_leaves_it(self.path, self.folder / "synced" / f"{syncs}")
            log = side_files(self.synced)[0]
            written = log.read_bytes() if log.exists() else b""
            self.synced_log = (written[:_WAL_HEADER_BYTES], len(written))

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            for _ in range(4):
                self.clock.advance(2)
                self.run(self._see())
            self.auditor.check_told(self.path)
            self.run(self.outbox.close())
        self.loop.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder)


OutboxMachine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)

TestOutboxMachine = OutboxMachine.TestCase
