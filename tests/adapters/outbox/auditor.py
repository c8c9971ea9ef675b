"""What a consumer and an auditor would write down about an outbox, held against its file."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.adapters.outbox.books import Tally
from agent.adapters.outbox.ledger import Entry
from agent.adapters.outbox.listing import WaitingRow, open_listing
from agent.ports import KeepUntil, OutboxStatistics, Row
from tests.adapters.outbox.rigs import message

Numbers = defaultdict[str, set[int]]


@dataclass(slots=True)
class Auditor:
    """Numbers per stream. `may_leave`: the broker has them and, where it matters, so has the consumer.

    `claimed` is the highest that a consumer ever said it has.
    """

    bodies: dict[str, dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    at_broker: Numbers = field(default_factory=lambda: defaultdict(set))
    may_leave: Numbers = field(default_factory=lambda: defaultdict(set))
    claimed: defaultdict[str, int] = field(default_factory=lambda: defaultdict(lambda: -1))
    refused: Numbers = field(default_factory=lambda: defaultdict(set))
    told: Numbers = field(default_factory=lambda: defaultdict(set))
    evicted_events: int = 0

    def see(self, rows: Sequence[Row]) -> None:
        """A number never stands for two messages, whatever happened between its being sent."""
        for row in rows:
            assert self.bodies[row.stream].setdefault(row.seq, row.body) == row.body, row.trace
            if row.stream == "loss":
                loss = message(row)
                covered = set(range(loss["from"], loss["to"] + 1))
                assert loss["count"] == len(covered)
                self.told[loss["stream"]] |= covered

    def acknowledge(self, rows: Sequence[Row], until: KeepUntil) -> None:
        for row in rows:
            self.at_broker[row.stream].add(row.seq)
            # What a consumer has said stands: it may be ahead of the broker's acknowledgement.
            if until == "acknowledged" or row.seq <= self.claimed[row.stream]:
                self.may_leave[row.stream].add(row.seq)

    def store(self, stream: str, seq: int) -> None:
        """A consumer says that it has everything up to `seq`."""
        self.claimed[stream] = max(seq, self.claimed[stream])
        self.may_leave[stream] |= {number for number in self.at_broker[stream] if number <= seq}

    def let_go(self) -> None:
        """Rows are not kept for consumers any more."""
        for stream, numbers in self.at_broker.items():
            self.may_leave[stream] |= numbers

    def undo(self) -> None:
        """The power was cut: what was acknowledged or refused since the last sync may wait again.

        The rest of what is at the broker is there still, and may leave when its consumer says so.
        """
        self.may_leave.clear()
        self.refused.clear()

    def check(self, path: Path, statistics: OutboxStatistics, *, undone: bool = False) -> list[WaitingRow]:
        """Hold the file against all that is known; what waits in it."""
        with open_listing(path) as listing:
            streams = listing.streams()
            entries = listing.losses(limit=10_000)
            waiting = listing.waiting(stream=None, limit=10_000)
        assert statistics.produced == statistics.acknowledged + statistics.rows + statistics.lost
        assert statistics.rows == len(waiting)
        lost = numbers_lost(entries, statistics.epoch)
        for tally in streams:
            here = [row.seq for row in waiting if row.stream == tally.stream]
            assert len(here) == len(set(here))
            self._check_stream(tally, set(here), lost[tally.stream], undone=undone)
        for stream, numbers in self.told.items():
            assert numbers <= lost[stream]
        self._check_order_of_eviction(entries, waiting)
        return waiting

    def check_left(self, path: Path, rows: Sequence[Row]) -> None:
        """What the broker has is neither kept nor declared lost."""
        with open_listing(path) as listing:
            entries, waiting = listing.losses(limit=10_000), listing.waiting(stream=None, limit=10_000)
            epoch = listing.meta().epoch
        lost, here = numbers_lost(entries, epoch), {row.key for row in waiting}
        for row in rows:
            assert row.key not in here, row.trace
            assert row.seq not in lost[row.stream], row.trace

    def check_told(self, path: Path) -> None:
        """In the end every loss was told, but for that of loss messages that were themselves refused."""
        with open_listing(path) as listing:
            entries = listing.losses(limit=10_000)
        for entry in entries:
            drop = entry.drop
            assert entry.told, drop
            if drop.stream != "loss" and drop.first is not None and drop.last is not None:
                assert set(range(drop.first, drop.last + 1)) <= self.told[drop.stream], drop

    def _check_stream(self, tally: Tally, here: set[int], gone: set[int], *, undone: bool) -> None:
        stream = tally.stream
        assert here | gone <= set(range(tally.next_seq))
        assert here.isdisjoint(gone)
        assert (tally.waiting, tally.lost) == (len(here), len(gone))
        left = set(range(tally.next_seq)) - here - gone
        assert tally.acknowledged == len(left)
        assert set(self.bodies[stream]) <= set(range(tally.next_seq))
        assert self.refused[stream] <= gone
        if undone:
            self.may_leave[stream] |= left
        # Nothing goes in silence: what is neither here nor declared was handed over.
        assert left <= self.may_leave[stream], f"{stream}: {sorted(left - self.may_leave[stream])}"

    def _check_order_of_eviction(self, entries: Sequence[Entry], waiting: Sequence[WaitingRow]) -> None:
        evicted = sum(
            entry.drop.count
            for entry in entries
            if entry.drop.reason == "evicted" and entry.drop.stream.startswith("events/")
        )
        if evicted > self.evicted_events:
            ranks_behind = {row.priority for row in waiting} - {"loss", "event", "result"}
            assert not ranks_behind, "events had to go while others stayed"
        self.evicted_events = evicted


def numbers_lost(entries: Sequence[Entry], epoch: str) -> Numbers:
    """Per stream, what the ledger covers; no number twice."""
    lost: Numbers = defaultdict(set)
    for entry in entries:
        drop = entry.drop
        assert drop.lost_epoch == epoch
        assert drop.first is not None
        assert drop.last is not None
        covered = set(range(drop.first, drop.last + 1))
        assert drop.count == len(covered)
        assert lost[drop.stream].isdisjoint(covered)
        lost[drop.stream] |= covered
    return lost
