"""The composition root: settings → adapters → stages → one TaskGroup, started and stopped in order."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import SystemRandom
from typing import Any

import structlog

from agent import __version__, assembly
from agent.adapters import heap
from agent.adapters.metrics.prometheus import PrometheusMetrics
from agent.adapters.mqtt import MqttLink
from agent.adapters.outbox import SqliteOutbox
from agent.adapters.system.clock import SystemClock
from agent.adapters.system.memory import memory_mb
from agent.adapters.system.notify import Notifier
from agent.adapters.system.run_record import RunRecord
from agent.adapters.system.temperature import temperatures_c
from agent.adapters.system.time_floor import TimeFloor
from agent.contract import payloads, sources
from agent.contract.policy import Policy, PolicyDocument
from agent.contract.topics import Topics
from agent.domain.ids import ModelName, SourceName
from agent.ending import Ending, Stages
from agent.pipeline.announcements import Announcements
from agent.pipeline.backoff import Backoff
from agent.pipeline.capture import Capture
from agent.pipeline.delivery import Delivery
from agent.pipeline.eventing import Eventing, Report
from agent.pipeline.handover import Handover
from agent.pipeline.health import Health, Machine
from agent.pipeline.inference import InferenceWorker
from agent.pipeline.introduction import Introduction
from agent.pipeline.keeping import Keeping
from agent.pipeline.overload import Overload
from agent.pipeline.reload import Reload, Rereading
from agent.pipeline.renewal import Renewal
from agent.pipeline.results import Result
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.shadow import ShadowPlan, Shadows
from agent.pipeline.supervise import Ticks, feed_watchdog, measure_loop_lag, start_thread
from agent.pipeline.swap import Load, Models, ModelSwap
from agent.pipeline.timekeeping import Timekeeping
from agent.pipeline.upgrading import Upgrading
from agent.ports import ModelUpgrade
from agent.serving.lane_plan import LanePlan
from agent.serving.model_loading import digest_of
from agent.settings import Settings

log = structlog.get_logger(__name__)

RESULTS_HELD = 64
"""Between the lanes and eventing; a full hand-over makes the lanes wait."""

_RESTART_BASE_S = 1.0
_RESTART_CAP_S = 60.0
_WATCHDOG_S = 2.0


class Agent:
    """One node at work: the stages, and how they are joined. Made on the running loop, run once."""

    def __init__(
        self,
        *,
        settings: Settings,
        document: PolicyDocument,
        models: Models,
        shadows: Mapping[SourceName, ShadowPlan],
        plan: LanePlan,
        load: Load,
        rereading: Rereading,
        upgrades: Sequence[ModelUpgrade],
        outbox: SqliteOutbox,
        link: MqttLink,
        known_time: TimeFloor,
        clock: SystemClock,
        metrics: PrometheusMetrics,
        ticks: Ticks,
        notifier: Notifier,
        record: RunRecord,
        info: payloads.Info,
        scrub: Callable[[str], str],
    ) -> None:
        policy = document.policy
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._notifier = notifier
        self._record = record
        self._outbox = outbox
        topics = Topics(settings.site, settings.node)

        self.ticks = ticks
        self.announcements = Announcements()
        self.scheduler = Scheduler(clock=clock)
        self.results: Handover[Result] = Handover(loop=asyncio.get_running_loop(), capacity=RESULTS_HELD)
        self.health = Health(
            topics=topics,
            announcements=self.announcements,
            outbox=outbox,
            clock=clock,
            metrics=metrics,
            ticks=self.ticks,
            sources=frozenset(SourceName(name) for name in policy.sources),
            flow=self.scheduler.statistics,
            machine=lambda: Machine(memory_mb=memory_mb(), temperature_c=temperatures_c()),
            session=lambda: self.delivery.session,
            heartbeat_s=policy.publish.heartbeat_s,
            config_version=document.version,
            scrub=scrub,
            shadows=lambda: self.shadows.reports,
        )
        self.shadows = Shadows(
            plans=shadows,
            scheduler=self.scheduler,
            clock=clock,
            metrics=metrics,
            on_condition=self.health.report,
        )
        self.worker = InferenceWorker(
            scheduler=self.scheduler,
            results=self.results,
            lanes=plan.lanes,
            clock=clock,
            metrics=metrics,
            ticks=self.ticks,
            on_condition=self.health.report,
            on_served=self.shadows.offer,
        )
        self.introduction = Introduction(
            like=info,
            models=models,
            topics=topics,
            announcements=self.announcements,
        )
        self.swap = ModelSwap(
            scheduler=self.scheduler,
            models=models,
            policy=policy,
            load=load,
            digest=lambda stanza: digest_of(stanza, settings),
            fits=lambda old, new, source: assembly.check_fits(old, new, source=source, policy=policy),
            give_back=heap.trim,
            on_condition=self.health.report,
            on_swapped=self.introduction.tell,
        )
        self.reload = Reload(
            rereading=rereading,
            document=document,
            swap=self.swap,
            on_condition=self.health.report,
            on_applied=self._on_applied,
        )
        self.upgrading = Upgrading(
            upgrades=upgrades,
            scheduler=self.scheduler,
            on_condition=self.health.report,
            on_replaced=self.swap.note_replaced,
        )
        self.overload = Overload(
            scheduler=self.scheduler,
            lanes=plan.lanes,
            mode=policy.power.mode,
            max_temperature_c=policy.power.max_temperature_c,
            strain=assembly.strain(),
            clock=clock,
            metrics=metrics,
            ticks=self.ticks,
            on_condition=self.health.report,
        )
        self.eventing = Eventing(
            results=self.results,
            outbox=outbox,
            topics=topics,
            clock=clock,
            metrics=metrics,
            ticks=self.ticks,
            reports={
                SourceName(name): Report(every_s=stanza.report_every_s, which=stanza.report)
                for name, stanza in policy.sources.items()
                if isinstance(stanza, sources.SensorPart)
            },
            config_version=document.version,
            publish_empty=policy.publish.detections == "always",
            expiry_overrides_s={str(stream): seconds for stream, seconds in policy.publish.expiry_s.items()},
        )
        self.keeping = Keeping(
            until=policy.publish.keep_until,
            outbox=outbox,
            topics=topics,
            clock=clock,
            metrics=metrics,
            on_sendable=self._on_sendable,
        )
        self.delivery = Delivery(
            link=link,
            outbox=outbox,
            announcements=self.announcements,
            topics=topics,
            clock=clock,
            metrics=metrics,
            ticks=self.ticks,
            window=policy.publish.window,
            keepalive_s=settings.broker.keepalive_s,
            max_message_bytes=policy.publish.max_message_bytes,
            backlog_per_s=policy.publish.backlog_per_s,
            random=SystemRandom(),
            on_condition=self.health.report,
            on_inbound=self.keeping.receive,
            on_connected=self._on_connected,
            subscriptions=self.keeping.subscriptions,
        )
        self.timekeeping = Timekeeping(known=known_time, on_condition=self.health.report)
        certificates = link.watch()
        self.renewal = (
            None
            if certificates is None
            else Renewal(
                certificates=certificates,
                connected=lambda: self.delivery.connected,
                on_renewed=self.delivery.renew,
                on_condition=self.health.report,
                metrics=metrics,
            )
        )
        self.captures = {
            SourceName(name): self._capture(SourceName(name), policy, models)
            for name, stanza in policy.sources.items()
            if stanza.enabled
        }
        self.ending = Ending(
            captures=self.captures,
            cameras={name for name, part in policy.sources.items() if isinstance(part, sources.CameraPart)},
            scheduler=self.scheduler,
            results=self.results,
            delivery=self.delivery,
            outbox=outbox,
        )

    async def run(self, stop: asyncio.Event, *, until_ended: bool) -> None:
        """Work until `stop`, or until all cameras have ended and the broker has everything.

        Raises:
            ExceptionGroup: a stage ended unexpectedly; all others were cancelled.
        """
        quiet = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            stages: Stages = {
                "capture": [
                    group.create_task(capture.run(), name=f"capture[{name}]")
                    for name, capture in self.captures.items()
                ],
                "inference": [group.create_task(self.worker.run(), name="inference")],
                "eventing": [group.create_task(self.eventing.run(), name="eventing")],
                "delivery": [group.create_task(self.delivery.run(), name="delivery")],
            }
            group.create_task(self.health.run(quiet), name="health")
            group.create_task(self.overload.run(quiet), name="overload")
            group.create_task(self.shadows.run(stop), name="shadow")
            group.create_task(self._watch(quiet), name="watchdog")
            group.create_task(self.timekeeping.run(stop), name="timekeeping")
            if self.renewal is not None:
                group.create_task(self.renewal.run(stop), name="renewal")
            upgrading = group.create_task(self.upgrading.run(), name="upgrading")
            reload = group.create_task(self.reload.run(), name="reload")
            group.create_task(
                measure_loop_lag(clock=self._clock, metrics=self._metrics, stop=quiet), name="loop-lag"
            )
            outbox = group.create_task(self._outbox.ended(), name="outbox")
            if until_ended:
                group.create_task(self.ending.when_captured(stages, stop), name="until-ended")
            self.swap.tell()
            self._notifier.ready()
            log.info("agent.started", sources=list(self.captures), version=__version__)
            await stop.wait()
            upgrading.cancel()
            reload.cancel()
            log.info("agent.stopping")
            self._notifier.stopping()
            await self.ending.in_order(stages)
            quiet.set()
            outbox.cancel()

    def is_alive(self) -> tuple[bool, dict[str, Any]]:
        """Whether no stage stands still; for /healthz, from its thread."""
        stalled = self.ticks.stalled()
        return not stalled, {"stalled": stalled, "health": self.health.status}

    def is_ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether the node does its work: no stage has failed; for /readyz, from its thread."""
        described = self.health.describe()
        return described["status"] != "failed", {"connected": self.delivery.connected, **described}

    async def _watch(self, quiet: asyncio.Event) -> None:
        def feed() -> None:
            self._notifier.watchdog()
            self._notifier.status(self._one_line())

        def on_stall(stalled: bool) -> None:
            start_thread("mark-stalled", lambda: self._record.mark_stalled(stalled=stalled))

        interval_s = min(self._notifier.watchdog_interval_s or _WATCHDOG_S, _WATCHDOG_S)
        await feed_watchdog(ticks=self.ticks, interval_s=interval_s, feed=feed, on_stall=on_stall, stop=quiet)

    def _one_line(self) -> str:
        inferred = sum(mailbox.taken for mailbox in self.scheduler.statistics().values())
        link = "up" if self.delivery.connected else "down"
        return (
            f"health {self.health.status}, session {self.delivery.session} {link}, {inferred} inferred, "
            f"{self.delivery.statistics().acknowledged} acknowledged"
        )

    def _on_connected(self, outage: payloads.LastOffline | None) -> None:
        self.introduction.connected(outage)
        self.keeping.connected()

    def _on_sendable(self) -> None:
        self.delivery.send_again()

    def _on_applied(self, document: PolicyDocument) -> None:
        self.eventing.config_version = self.health.config_version = document.version
        self.introduction.applied(document.version)

    def _capture(self, name: SourceName, policy: Policy, models: Models) -> Capture[Any]:
        """A source on its way into the pipeline: its thread, its mailbox, and the model that serves it."""
        stanza = policy.sources[name]
        return Capture(
            name=name,
            make=assembly.source(stanza, self._settings),
            intake=assembly.intake(
                name,
                policy=policy,
                admitted=models.get(ModelName(stanza.model)) if stanza.model else None,
                scheduler=self.scheduler,
                results=self.results,
                clock=self._clock,
                metrics=self._metrics,
            ),
            backoff=Backoff(base_s=_RESTART_BASE_S, cap_s=_RESTART_CAP_S, random=SystemRandom()),
            clock=self._clock,
            metrics=self._metrics,
            on_condition=self.health.report,
        )
