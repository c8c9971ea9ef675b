"""How a consumer proves that nothing is missing: duplicates dropped, gaps named, losses accounted for.

Sequence numbers of a stream have no gaps when they are given, messages may arrive twice and out of order, and
what the node had to drop is declared on its `loss` stream. So whatever is neither received nor declared is
missing, and `Continuity` can name it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class _Seen:
    """The numbers of one stream that are accounted for, as sorted ranges that do not touch (first, last)."""

    ranges: list[tuple[int, int]] = field(default_factory=list)

    def add(self, first: int, last: int) -> bool:
        """Account for `first` to `last`; False if all of them were already."""
        if any(low <= first and last <= high for low, high in self.ranges):
            return False
        apart = [pair for pair in self.ranges if pair[1] < first - 1 or pair[0] > last + 1]
        joined = [pair for pair in self.ranges if pair not in apart]
        joined.append((first, last))
        merged = (min(low for low, _ in joined), max(high for _, high in joined))
        self.ranges = sorted([*apart, merged])
        return True

    def gaps(self) -> list[tuple[int, int]]:
        return [
            (left[1] + 1, right[0] - 1) for left, right in zip(self.ranges, self.ranges[1:], strict=False)
        ]


@dataclass(frozen=True, slots=True)
class StreamKey:
    """Where sequence numbers count: one stream of one generation of one node's outbox."""

    site: str
    node: str
    epoch: str
    stream: str


class Continuity:
    """Follows the streams of any number of nodes.

    A gap is judged between the first and the last number seen of a stream: a consumer that joined late does
    not miss what came before. One that stores everything asks for it `from_start`: numbers begin at 0.

    >>> continuity = Continuity()
    >>> head = {"site": "plant", "node": "n1", "epoch": "01J"}
    >>> [continuity.see("detections/door", head | {"seq": seq}) for seq in (4, 5, 5, 9)]
    [True, True, False, True]
    >>> continuity.missing()
    {StreamKey(site='plant', node='n1', epoch='01J', stream='detections/door'): [(6, 8)]}
    >>> lost = {"stream": "detections/door", "lost_epoch": "01J", "from": 6, "to": 8, "count": 3}
    >>> continuity.see("loss", head | {"seq": 1} | lost)
    True
    >>> continuity.missing(), continuity.declared_lost
    ({}, 3)
    >>> [(key.stream, seq) for key, seq in continuity.complete().items()]
    [('detections/door', 9), ('loss', 1)]
    """

    def __init__(self, *, from_start: bool = False) -> None:
        self._from_start = from_start
        self._seen: dict[StreamKey, _Seen] = {}
        self.received = 0
        """Messages that were new."""
        self.duplicates = 0
        self.declared_lost = 0

    def see(self, stream: str, message: Mapping[str, Any]) -> bool:
        """Take note of a message of `stream`; True if it is new, False if it is a duplicate to be dropped."""
        key = StreamKey(message["site"], message["node"], message["epoch"], stream)
        seq = message["seq"]
        if not self._seen.setdefault(key, _Seen()).add(seq, seq):
            self.duplicates += 1
            return False
        self.received += 1
        if stream == "loss":
            self._declare(key, message)
        return True

    def missing(self) -> dict[StreamKey, list[tuple[int, int]]]:
        """Per stream the ranges (first, last) that were neither received nor declared lost."""
        gaps = {key: [*self._head(seen), *seen.gaps()] for key, seen in self._seen.items()}
        return {key: ranges for key, ranges in gaps.items() if ranges}

    def complete(self) -> dict[StreamKey, int]:
        """Per stream the highest number up to which nothing is missing: what `B/ack/{stream}` may say."""
        return {key: seen.ranges[0][1] for key, seen in self._seen.items() if not self._head(seen)}

    def forgo(self, key: StreamKey, first: int, last: int) -> None:
        """Miss `first` to `last` no longer, because the node has them no more: it has said so to a replay."""
        self._seen.setdefault(key, _Seen()).add(first, last)

    def _head(self, seen: _Seen) -> list[tuple[int, int]]:
        first = seen.ranges[0][0]
        return [(0, first - 1)] if self._from_start and first > 0 else []

    def _declare(self, key: StreamKey, message: Mapping[str, Any]) -> None:
        self.declared_lost += message["count"]
        if message["from"] is not None and message["lost_epoch"] is not None:
            lost = StreamKey(key.site, key.node, message["lost_epoch"], message["stream"])
            self._seen.setdefault(lost, _Seen()).add(message["from"], message["to"])
