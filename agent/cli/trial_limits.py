"""Which rules ask what a recording does not tell: their events may be others on the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.recorded import Readings
from agent.domain.rules.features import Count, Crossed, Dwell, HealthOf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.domain.ids import SourceName
    from agent.domain.rules.features import Feature
    from agent.domain.rules.prepared import RuleBook
    from agent.domain.scene import Scene


def not_told(book: RuleBook, said: Sequence[Scene | Readings]) -> dict[str, tuple[str, ...]]:
    """By the names of the rules that ask such things: what the messages do not tell, each in a sentence."""
    scenes = [each for each in said if not isinstance(each, Readings)]
    named = {(scene.source, zone) for scene in scenes for one in scene.objects for zone in one.zones}
    tracked = {scene.source for scene in scenes for one in scene.objects if one.track is not None}
    found: dict[str, tuple[str, ...]] = {}
    for name, rule in book.rules.items():
        asked = [
            one
            for condition in (rule.when, rule.until)
            if condition is not None
            for one in condition.features.values()
        ]
        whys = dict.fromkeys(why for one in asked for why in _not_told(one, named, tracked))
        if whys:
            found[name] = tuple(whys)
    return found


def _not_told(asked: Feature, named: set[tuple[SourceName, str]], tracked: set[SourceName]) -> Iterator[str]:
    match asked:
        case Crossed(line=line):
            yield f"no message tells what crosses a line, so nothing crosses {line} here"
        case HealthOf(source=source):
            yield f"no message of these tells how {source} is"
        case Count(moving=moving) if moving is not None:
            yield "no message tells what stands still, so all objects count as moving"
        case _:
            pass
    if isinstance(asked, Count | Dwell) and asked.zone is not None:
        if not any((source, asked.zone) in named for source in asked.sources):
            yield f"no message names the zone {asked.zone}: it was not there, or nothing stood in it"
        elif isinstance(asked, Dwell) and tracked.isdisjoint(asked.sources):
            yield "no object of these messages has a track, so none stays in a zone"
