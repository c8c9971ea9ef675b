"""How each source of a policy is captured and served on this node."""

from collections.abc import Callable
from random import SystemRandom
from typing import Any, Final

from agent import assembly
from agent.contract import sources
from agent.contract.policy import Policy
from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.pipeline.backoff import Backoff
from agent.pipeline.capture import Capture
from agent.pipeline.control.probing import Probe, Told
from agent.pipeline.handover import Handover
from agent.pipeline.health import Health
from agent.pipeline.results import Result
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.sources import Sources
from agent.pipeline.swap import ModelSwap
from agent.ports import Clock, Metrics
from agent.settings import Settings

_RESTART_BASE_S: Final = 1.0
_RESTART_CAP_S: Final = 60.0


class Captures:
    """Makes what the running `sources` are made of. Used on the event loop.

    `on_frame` hears of every frame of a camera, in its thread.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        sources: Sources,
        swap: ModelSwap,
        scheduler: Scheduler,
        results: Handover[Result],
        health: Health,
        clock: Clock,
        metrics: Metrics,
        on_frame: Callable[[Frame], None],
    ) -> None:
        self._on_frame = on_frame
        self._settings = settings
        self._sources = sources
        self._swap = swap
        self._scheduler = scheduler
        self._results = results
        self._health = health
        self._clock = clock
        self._metrics = metrics

    def start_all(self, policy: Policy) -> None:
        """Every source of `policy` that is switched on."""
        for name, stanza in policy.sources.items():
            if stanza.enabled:
                capture = self.make(SourceName(name), policy)
                is_camera = isinstance(stanza, sources.CameraPart)
                self._sources.start(SourceName(name), capture, is_camera=is_camera)

    def make(self, name: SourceName, policy: Policy) -> Capture[Any]:
        """A source on its way into the pipeline: its thread, its mailbox, and the model that serves it."""
        stanza = policy.sources[name]
        return Capture(
            name=name,
            make=assembly.source(stanza, self._settings),
            intake=assembly.intake(
                name,
                policy=policy,
                admitted=self._swap.serving(stanza.model),
                scheduler=self._scheduler,
                results=self._results,
                clock=self._clock,
                metrics=self._metrics,
                on_frame=self._on_frame,
            ),
            backoff=Backoff(base_s=_RESTART_BASE_S, cap_s=_RESTART_CAP_S, random=SystemRandom()),
            clock=self._clock,
            metrics=self._metrics,
            on_condition=self._health.report,
        )

    def alter(self, name: SourceName, policy: Policy) -> None:
        """A source that runs goes on, and is served as `policy` says."""
        stanza = policy.sources[name]
        if not isinstance(stanza, sources.CameraPart):
            return
        admitted = self._swap.serving(stanza.model)
        self._scheduler.alter_camera(
            name,
            model=assembly.as_detector(admitted.model if admitted else None, source=name),
            thresholds=policy.thresholds_of(name, admitted.thresholds if admitted else None),
            priority=stanza.priority,
            max_staleness_s=stanza.max_staleness_s,
            fps=stanza.fps,
        )

    def probe(self) -> Probe:
        """What tells whether a source does its work."""
        return Probe(
            told=self._told,
            flow=self._scheduler.statistics,
            is_running=self._sources.is_running,
            forget=self._health.forget,
        )

    def _told(self, name: SourceName) -> Told | None:
        said = self._health.condition_of(name)
        return None if said is None else Told(said.status, said.code, said.message)
