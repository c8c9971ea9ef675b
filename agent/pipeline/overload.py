"""The stage that gives up in order what cannot be done, and tells it: reads the signals, applies the rung."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from agent.contract.policy import Policy
from agent.domain.errors import Code
from agent.domain.ids import SourceName
from agent.pipeline.ladder import Dwells, Ladder, PowerMode, Signals, Standing, floor_of, rungs_for
from agent.pipeline.lines import Demand
from agent.pipeline.pressure import Pressure
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.supervise import Ticks, in_thread, ticking
from agent.pipeline.waiting import wait_for_event
from agent.ports import Clock, Condition, Metrics

log = structlog.get_logger(__name__)

_LOOK_S: Final = 1.0
_STAGE: Final = "overload"


@dataclass(frozen=True, slots=True)
class Strain:
    """How hot the board is (None where nothing tells), and who slows it down."""

    temperature_c: float | None = None
    throttled: tuple[str, ...] = ()


class Overload:
    """Looks once a second, climbs or descends the ladder, and applies its rung to the scheduler.

    `strain` is called in a thread of its own: reading sensors takes milliseconds. `lanes` are the worker's.
    Health is `degraded` above the rung that the power mode asks for; the message says which rung, why, and
    what of which camera is given up.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        lanes: int,
        mode: PowerMode,
        max_temperature_c: float,
        strain: Callable[[], Strain],
        clock: Clock,
        metrics: Metrics,
        ticks: Ticks,
        on_condition: Condition,
        dwells: Dwells | None = None,
        look_s: float = _LOOK_S,
    ) -> None:
        self._scheduler = scheduler
        self._lanes = lanes
        self._mode: PowerMode = mode
        self._max_temperature_c = max_temperature_c
        self._strain = strain
        self._clock = clock
        self._metrics = metrics
        self._ticks = ticks
        self._on_condition = on_condition
        self._dwells = dwells or Dwells()
        self._look_s = look_s
        self._pressure = Pressure()
        self._cameras: tuple[dict[SourceName, int], bool] | None = None
        self._ladder = self._ladder_for({}, resizable=False)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`. A closed scheduler serves all that is held, whatever the rung."""
        while not stop.is_set():
            self._ticks.tick(_STAGE)
            self._look(await ticking(self._ticks, _STAGE, in_thread("strain", self._strain)))
            await wait_for_event(stop, timeout_s=self._look_s)
        self._ticks.retire(_STAGE)

    def adopt(self, policy: Policy) -> None:
        """Another power mode or temperature: another ladder with the next look, from its beginning."""
        power = policy.power
        if (power.mode, power.max_temperature_c) != (self._mode, self._max_temperature_c):
            self._mode, self._max_temperature_c = power.mode, power.max_temperature_c
            self._cameras = None

    def resize(self, lanes: int) -> None:
        """The worker has so many lanes now."""
        self._lanes = lanes
        self._cameras = None

    def _look(self, strain: Strain) -> None:
        now_s = self._clock.now().monotonic_ns / 1e9
        demands = self._scheduler.demands()
        self._follow_cameras(demands)
        verdict = self._pressure.look(demands, now_s)
        before = self._ladder.standing
        standing = self._ladder.step(
            Signals(
                late=verdict.late,
                robbed=verdict.robbed,
                at_ease=verdict.at_ease,
                temperature_c=strain.temperature_c,
                throttled=strain.throttled,
            ),
            now_s,
        )
        if standing != before:
            self._apply(standing)
            self._tell_change(standing, climbed=standing.level > before.level)

    def _follow_cameras(self, demands: Mapping[SourceName, Demand]) -> None:
        """Other cameras, or a model of another kind: another ladder, from its beginning."""
        priorities = {name: demand.priority for name, demand in demands.items()}
        cameras = priorities, any(demand.resizable for demand in demands.values())
        if cameras != self._cameras:
            self._cameras = cameras
            self._ladder = self._ladder_for(priorities, resizable=cameras[1])
            rungs = [rung.kind for rung in self._ladder.rungs]
            log.info("overload.ladder_built", mode=self._mode, floor=self._ladder.floor, rungs=rungs)
            self._apply(self._ladder.standing)

    def _ladder_for(self, priorities: Mapping[SourceName, int], *, resizable: bool) -> Ladder:
        rungs = rungs_for(priorities, lanes=self._lanes, resizable=resizable)
        return Ladder(
            rungs=rungs,
            priorities=priorities,
            floor=floor_of(self._mode, rungs),
            max_temperature_c=self._max_temperature_c,
            dwells=self._dwells,
        )

    def _apply(self, standing: Standing) -> None:
        rung = standing.rung
        self._scheduler.relieve(keep_one_of=rung.keep_one_of, scale=rung.scale, lanes=rung.lanes)
        self._pressure.forget()
        self._metrics.gauge("overload_rung", standing.level)
        if standing.level > standing.floor:
            self._on_condition(_STAGE, "degraded", Code.OVERLOAD, self._describe(standing))
        else:
            self._on_condition(_STAGE, "ok", None, self._describe(standing) if standing.level else None)

    def _tell_change(self, standing: Standing, *, climbed: bool) -> None:
        self._metrics.count("overload_changes_total", direction="up" if climbed else "down")
        level = log.warning if climbed else log.info
        level(
            "overload.rung_climbed" if climbed else "overload.rung_descended",
            rung=standing.level,
            of=standing.top,
            kind=standing.rung.kind,
            why=list(standing.why),
            given_up=self._given_up(standing),
        )

    def _describe(self, standing: Standing) -> str:
        why = "; ".join(standing.why) or f"power mode {self._mode}"
        given_up = ", ".join(self._given_up(standing))
        return f"rung {standing.level} of {standing.top}, because {why}: {given_up}"

    def _given_up(self, standing: Standing) -> list[str]:
        rung = standing.rung
        said = [
            f"{name} is paused" if share == 0 else f"{name} gives 1 frame of {share}"
            for name, share in sorted(rung.keep_one_of.items())
            if share != 1
        ]
        if rung.scale < 1:
            said.append(f"inputs at {rung.scale:.0%} of their sides")
        elif rung.kind in {"lanes", "pause"}:
            said.append("inputs as they are, for no model's file leaves its size open")
        if rung.lanes < self._lanes:
            said.append(f"{rung.lanes} of {self._lanes} lanes")
        return said
