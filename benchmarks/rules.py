"""Measure what rules cost: the CPU seconds of judging over the seconds of traffic that was judged.

Three cameras at 10 frames a second with 20 objects each, a sensor with 30 readings a second, and 100 rules
of every kind, on a clock that does not wait. Events are put into words, as for the outbox. Beside that, what
a frame costs by rules that ask as much as they may.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any, Final

import typer

from agent.adapters.cel import CelRuleCompiler
from agent.adapters.system.clock import SystemClock
from agent.contract.policy import Policy
from agent.contract.topics import Topics
from agent.domain.ids import SourceName
from agent.domain.reading import Reading
from agent.domain.rules.course import Change
from agent.domain.rules.engine import TICK_S, Engine
from agent.domain.scene import Crossing, Scene, Sighting
from agent.domain.stamp import Stamp
from agent.pipeline.events import EventWriter
from agent.pipeline.rulebook import Prepared, prepare
from agent.ports import StandingEvent
from benchmarks.environment import OtherLoad, describe_machine
from benchmarks.plain import JsonFile, Quick, print_figures, write_figures
from benchmarks.rules_at_their_limit import at_their_limit

_CAMERAS: Final = ("door", "yard", "dock")
_CLASSES: Final = ("person", "car", "dog")
_FPS: Final = 10
_OBJECTS: Final = 20
_RULES: Final = 100
_ROUNDS: Final = 5
_SECONDS: Final = 30
_GOAL_PERCENT: Final = 5.0

Figures = dict[str, float]


def main(
    json_file: JsonFile = None,
    quick: Quick = False,
) -> None:
    """Judge made-up traffic by 100 rules, and tell the share of one core that it takes."""
    environment = describe_machine()
    others = OtherLoad()
    policy = a_policy()
    began_s = time.process_time()
    prepared = prepare(policy, compiler=CelRuleCompiler())
    compile_s = time.process_time() - began_s
    seconds, rounds_wanted = (2, 2) if quick else (_SECONDS, _ROUNDS)
    rounds = [judge(prepared, seconds=seconds, seed=seed) for seed in range(rounds_wanted)]
    figures: Figures = {
        "rules": float(len(policy.rules)),
        "frames_per_s": float(len(_CAMERAS) * _FPS),
        "objects_per_frame": float(_OBJECTS),
        "percent_of_one_core": round(median(each.percent for each in rounds), 3),
        "worst_percent_of_one_core": round(max(each.percent for each in rounds), 3),
        "events_per_s": round(median(each.events / each.traffic_s for each in rounds), 2),
        "longest_ms": round(max(each.longest_s for each in rounds) * 1e3, 3),
        "compile_ms_per_rule": round(compile_s * 1e3 / len(policy.rules), 3),
        **at_their_limit(busy_s=600 if quick else 3600),
    }
    print_figures(figures)
    typer.echo(f"goal: percent_of_one_core < {_GOAL_PERCENT:g}")
    environment["others_cores"] = others.cores()
    write_figures(json_file, figures, environment)


@dataclass(frozen=True, slots=True)
class Judged:
    """One round. `longest_s`: what one frame, reading or tick took at most."""

    work_s: float
    traffic_s: float
    events: int
    longest_s: float

    @property
    def percent(self) -> float:
        return 100 * self.work_s / self.traffic_s


def judge(prepared: Prepared, *, seconds: int, seed: int) -> Judged:
    """Judge `seconds` of traffic."""
    names = count(1)
    begin = Stamp(1_700_000_000_000_000_000, 1_000_000_000_000)
    engine = Engine(now=begin, new_id=lambda: f"{next(names)}")
    writer = EventWriter(topics=Topics("plant", "bench"), clock=SystemClock())
    writer.streams = prepared.streams
    engine.adopt(prepared.book, begin)
    work_s = longest_s = 0.0
    events = 0
    for now, happening in list(_traffic(random.Random(seed), begin, seconds)):
        began_s = time.process_time()
        changes = _let(engine, now, happening)
        for change in changes:
            writer.message(change, _STANDING, config_version=1)
        took_s = time.process_time() - began_s
        work_s += took_s
        longest_s = max(longest_s, took_s)
        events += len(changes)
    return Judged(work_s, float(seconds), events, longest_s)


_STANDING: Final = StandingEvent(event="", identity="", began_ns=0, severity="info", message="")

Happening = Scene | tuple[Reading, ...] | None
"""What a camera shows, what a sensor says, or that time has passed."""


def _let(engine: Engine, now: Stamp, happening: Happening) -> list[Change]:
    match happening:
        case Scene():
            return engine.on_scene(happening, now)
        case None:
            return engine.tick(now)
        case _:
            return engine.on_readings(SourceName("motor"), happening, now)


def _traffic(chance: random.Random, begin: Stamp, seconds: int) -> Iterator[tuple[Stamp, Happening]]:
    """In steps of a frame's time: each camera, a few readings, and now and then a tick."""
    step_ns = int(1e9 / _FPS)
    tick_ns = int(TICK_S * 1e9)
    ticked_ns = 0
    since: dict[tuple[str, int], int] = {}
    for step in range(seconds * _FPS):
        past_ns = step * step_ns
        for place, camera in enumerate(_CAMERAS):
            now = _later(begin, past_ns + place * step_ns // len(_CAMERAS))
            yield now, _scene(chance, camera, now, since)
        now = _later(begin, past_ns + step_ns - 1)
        yield now, tuple(Reading(name, chance.uniform(0, 100), "", now) for name in ("x", "y", "z"))
        while ticked_ns <= past_ns:
            yield _later(begin, past_ns + step_ns - 1), None
            ticked_ns += tick_ns


def _scene(chance: random.Random, camera: str, now: Stamp, since: dict[tuple[str, int], int]) -> Scene:
    objects = []
    for track in range(_OBJECTS):
        zone = f"z{track % 4}"
        if chance.random() < 0.05:
            since[camera, track] = now.monotonic_ns
        stands_since = since.setdefault((camera, track), now.monotonic_ns)
        objects.append(
            Sighting(
                class_name=_CLASSES[track % len(_CLASSES)],
                confidence=chance.uniform(0.3, 1.0),
                box=(0.1, 0.1, 0.2, 0.2),
                zones={zone: stands_since} if chance.random() < 0.7 else {},
                track=track,
                moves=chance.random() < 0.5,
            )
        )
    crossings = (Crossing("gate", "person", 0, "forward"),) if chance.random() < 0.1 else ()
    return Scene(source=SourceName(camera), at=now, objects=tuple(objects), crossings=crossings)


def _later(begin: Stamp, past_ns: int) -> Stamp:
    return Stamp(begin.wall_ns + past_ns, begin.monotonic_ns + past_ns)


def a_policy() -> Policy:
    """Three cameras and two sensors, and as many rules of each kind as a large site might have."""
    square = [[0, 0], [1, 0], [1, 1], [0, 1]]
    camera: dict[str, Any] = {
        "kind": "synthetic",
        "zones": {f"z{number}": {"polygon": square} for number in range(4)},
        "lines": {"gate": {"points": [[0, 0], [1, 1]]}},
        "tracking": {},
    }
    conditions = []
    for number in range(_RULES):
        name = _CAMERAS[number % len(_CAMERAS)]
        kind, least = _CLASSES[number % len(_CLASSES)], number % 7
        zone, sure, hot = f"z{number % 4}", 50 + number % 50, "xyz"[number % 3]
        kinds = (
            f'count("{kind}", source="{name}", zone="{zone}") >= {least}',
            f'count("{kind}", min_confidence=0.{sure}) > {least} && health("{name}") != "failed"',
            f'count("{kind}") - count("{kind}", zone="{zone}") > {least} || age("{name}") > 30',
            f'reading("motor/{hot}") > {sure} && count(source="{name}", zone="{zone}") > 0',
            f'dwell("{kind}", source="{name}", zone="{zone}") > {number % 20}',
            f'crossed("gate", source="{name}", within_s={1 + least}) > 0 && count(moving=true) > {least}',
        )
        conditions.append(kinds[number % len(kinds)])
    return Policy.model_validate(
        {
            "sources": {
                **dict.fromkeys(_CAMERAS, camera),
                "motor": {"kind": "vibration"},
            },
            "rules": {
                f"r{number}": {
                    "when": condition,
                    "for_s": number % 3,
                    "end_for_s": 1,
                    "cool_down_s": 10,
                    "update_every_s": 60,
                }
                for number, condition in enumerate(conditions)
            },
        }
    )


if __name__ == "__main__":
    typer.run(main)
