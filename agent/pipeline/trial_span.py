"""How far back a trial goes: as far as it can in the time it has, from now on backwards."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from agent.domain.ids import SourceName
from agent.pipeline.recollection import Entry, Heard
from agent.pipeline.replaying import Replay

_FIRST: Final = 8
_GROWTH: Final = 8
_SHARE: Final = 0.8
"""Of the time that is left a further attempt is to take no more: not all frames take equally long."""


def judge_newest(
    entries: Sequence[Entry],
    replay_of: Callable[[Sequence[Entry]], Replay],
    *,
    go_on: Callable[[], bool],
    left_s: Callable[[], float],
) -> Replay | None:
    """All of the newest entries that can be judged while `go_on` says so; None: not even a few.

    Rules and tracks want time to go forwards, so a longer time is judged anew from its beginning: first a
    few entries, which tell how long more will take, then ever more of them. `left_s`: until `go_on` ends it.
    """
    judged: Replay | None = None
    count = min(_FIRST, len(entries))
    while True:
        before_s = left_s()
        replay = replay_of(newest(entries, count))
        if not replay.run(go_on):
            return judged
        judged = replay
        after_s = left_s()
        took_s = max(before_s - after_s, 1e-6)
        affordable = min(len(entries), _GROWTH * count, int(count * _SHARE * after_s / took_s))
        if affordable <= count:
            return judged
        count = affordable


def newest(entries: Sequence[Entry], count: int) -> Sequence[Entry]:
    """The last `count`; before them, how sources were at their beginning."""
    cut = len(entries) - count
    if cut <= 0:
        return entries
    conditions: dict[SourceName, Heard] = {}
    for entry in entries[:cut]:
        if isinstance(entry, Heard) and isinstance(entry.what, str):
            conditions[entry.source] = entry
    now = entries[cut].now
    return (*(replace(each, now=now) for each in conditions.values()), *entries[cut:])
