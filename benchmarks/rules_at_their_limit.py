"""What a frame costs by rules that ask as much as a policy may, of lines that were crossed for an hour."""

import time
from itertools import count
from typing import Final

from agent.adapters.cel import CelRuleCompiler
from agent.contract.policy import Policy
from agent.domain.ids import SourceName
from agent.domain.rules.engine import TICK_S, Engine
from agent.domain.rules.prepared import RuleBook
from agent.domain.rules.questions import MOST_QUESTIONS
from agent.domain.scene import Crossing, Scene, Sighting
from agent.domain.stamp import Stamp
from agent.pipeline.rulebook import prepare

_CAMERA: Final = SourceName("gate")
_FPS: Final = 10
_FRAMES: Final = 60
_OBJECTS: Final = 100
_RULES: Final = 100
_CROSSED: Final = (Crossing("line", "person", 1, "forward"), Crossing("other", "car", 2, "backward"))

Figures = dict[str, float]


def at_their_limit(*, busy_s: int) -> Figures:
    """Per frame of 100 objects with two crossings, ticks included, after `busy_s` seconds of such frames."""
    prepared = prepare(_a_policy(), compiler=CelRuleCompiler())
    begin = Stamp(1_700_000_000_000_000_000, 1_000_000_000_000)
    names = count(1)
    engine = Engine(now=begin, new_id=lambda: f"{next(names)}")
    engine.adopt(RuleBook({}, frozenset({_CAMERA})), begin)
    for step in range(busy_s * _FPS):
        _show(engine, begin, step, objects=())
    engine.adopt(prepared.book, _at(begin, busy_s * _FPS))
    objects = tuple(
        Sighting("person", 0.3 + place / 200, (0, 0, 1, 1), track=place) for place in range(_OBJECTS)
    )
    took_s = []
    for step in range(busy_s * _FPS, busy_s * _FPS + _FRAMES):
        began_s = time.process_time()
        _show(engine, begin, step, objects=objects)
        if step % max(1, round(TICK_S * _FPS)) == 0:
            engine.tick(_at(begin, step))
        took_s.append(time.process_time() - began_s)
    mean_s = sum(took_s) / len(took_s)
    return {
        "limit_questions": float(MOST_QUESTIONS),
        "limit_ms_per_frame": round(mean_s * 1e3, 3),
        "limit_percent_of_one_core": round(mean_s * _FPS * 100, 3),
    }


def _show(engine: Engine, begin: Stamp, step: int, *, objects: tuple[Sighting, ...]) -> None:
    now = _at(begin, step)
    engine.on_scene(Scene(_CAMERA, now, objects, _CROSSED), now)


def _at(begin: Stamp, step: int) -> Stamp:
    past_ns = step * (1_000_000_000 // _FPS)
    return Stamp(begin.wall_ns + past_ns, begin.monotonic_ns + past_ns)


def _a_policy() -> Policy:
    """As many different questions as may be asked, half of them of crossings, in 100 rules."""
    kinds = (
        'crossed("line", within_s={}) > 100000',
        "count(min_confidence=0.{}) > 1000",
        'crossed("other", within_s={}) > 100000',
        'dwell("c{}", zone="z") > 1000',
    )
    asked = [kinds[number % len(kinds)].format(1000 + number * 5) for number in range(MOST_QUESTIONS)]
    line = {"points": [[0, 0], [1, 1]]}
    return Policy.model_validate(
        {
            "sources": {
                _CAMERA: {
                    "kind": "synthetic",
                    "zones": {"z": {"polygon": [[0, 0], [1, 0], [1, 1]]}},
                    "lines": {"line": line, "other": line},
                    "tracking": {},
                }
            },
            "rules": {f"r{number}": {"when": " || ".join(asked[number::_RULES])} for number in range(_RULES)},
        }
    )
