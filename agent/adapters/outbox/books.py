"""The account of each stream: `produced = acknowledged + waiting + lost`, changed with what it counts."""

import sqlite3
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from agent.adapters.outbox.bounds import priority_of
from agent.adapters.outbox.faults import DamagedStoreError
from agent.domain.ids import Stream
from agent.ports import Priority

_COLUMNS = "id, name, next_seq, ceiling, unnumbered, acknowledged, lost, waiting_bytes"


@dataclass(frozen=True, slots=True)
class Tally:
    """One stream's account.

    `ceiling` is the number below which sequence numbers may have been given by commits that a power cut
    undoes; it is on disk before they are. `unnumbered` were lost before they had a sequence number.
    """

    id: int
    stream: Stream
    next_seq: int = 0
    ceiling: int = 0
    unnumbered: int = 0
    acknowledged: int = 0
    lost: int = 0
    waiting_bytes: int = 0

    @property
    def produced(self) -> int:
        return self.next_seq + self.unnumbered

    @property
    def waiting(self) -> int:
        return self.produced - self.acknowledged - self.lost

    @property
    def crc(self) -> int:
        """A check sum: SQLite has none on its pages, and a wrong `next_seq` would be used again."""
        return zlib.crc32(repr(astuple(self)).encode())


class Books:
    """The tallies of an open file. `put` is provisional until `settle`; `discard` takes it back.

    Raises:
        DamagedStoreError: a tally on disk is not what was written.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._settled = read_tallies(connection)
        self._changed: dict[Stream, Tally] = {}
        self._names = {tally.id: tally.stream for tally in self._settled.values()}

    def of(self, stream: Stream) -> Tally:
        """The stream's tally; a stream that is new gets one."""
        tally = self.find(stream)
        if tally is None:
            tally = Tally(id=len(self._settled.keys() | self._changed.keys()) + 1, stream=stream)
            self.put(tally)
        return tally

    def find(self, stream: Stream) -> Tally | None:
        """The stream's tally, if there is such a stream."""
        return self._changed.get(stream) or self._settled.get(stream)

    def put(self, tally: Tally) -> None:
        self._changed[tally.stream] = tally
        self._names[tally.id] = tally.stream

    def name_of(self, stream_id: int) -> Stream:
        """Raises: DamagedStoreError (no stream has this number)."""
        try:
            return self._names[stream_id]
        except KeyError:
            raise DamagedStoreError(f"a row belongs to stream {stream_id}, which does not exist") from None

    @property
    def waiting_bytes(self) -> int:
        return sum(tally.waiting_bytes for tally in self.all())

    def bytes_by_priority(self) -> Counter[Priority]:
        """The same, parted."""
        held: Counter[Priority] = Counter()
        for tally in self.all():
            held[priority_of(tally.stream)] += tally.waiting_bytes
        return held

    @property
    def names(self) -> Mapping[int, Stream]:
        """The streams by their number in the file."""
        return self._names

    def all(self) -> list[Tally]:
        return list((self._settled | self._changed).values())

    def save(self) -> None:
        """Write what has changed; inside the transaction that changed it."""
        self._connection.executemany(
            f"INSERT INTO stream ({_COLUMNS}, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
            " ON CONFLICT (id) DO UPDATE SET next_seq = excluded.next_seq, ceiling = excluded.ceiling,"
            " unnumbered = excluded.unnumbered, acknowledged = excluded.acknowledged, lost = excluded.lost,"
            " waiting_bytes = excluded.waiting_bytes, crc = excluded.crc",
            [(*astuple(tally), tally.crc) for tally in self._changed.values()],
        )

    def settle(self) -> None:
        """The transaction was committed."""
        self._settled |= self._changed
        self._changed = {}

    def discard(self) -> None:
        """The transaction was rolled back."""
        self._changed = {}


def read_tallies(connection: sqlite3.Connection) -> dict[Stream, Tally]:
    """Every stream's tally, as it is on disk.

    Raises:
        DamagedStoreError: one is not what was written.
    """
    tallies = {}
    for *columns, crc in connection.execute(f"SELECT {_COLUMNS}, crc FROM stream ORDER BY id"):  # noqa: S608
        tally = Tally(*columns)
        if tally.crc != crc:
            raise DamagedStoreError(f"the account of stream {tally.stream!r} is damaged")
        tallies[tally.stream] = tally
    return tallies
