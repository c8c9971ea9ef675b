"""The composition root: settings → adapters → stages → one TaskGroup, started and stopped in order."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import SystemRandom

import structlog

from agent import __version__, assembly
from agent.adapters.cel import CelRuleCompiler
from agent.adapters.metrics.prometheus import PrometheusMetrics
from agent.adapters.mqtt import MqttLink
from agent.adapters.outbox import SqliteOutbox
from agent.adapters.system.clock import SystemClock
from agent.adapters.system.notify import Notifier
from agent.adapters.system.run_record import RunRecord
from agent.adapters.system.time_floor import TimeFloor
from agent.captures import Captures
from agent.command_plane import CommandPlane
from agent.contract import payloads
from agent.contract.policy import PolicyDocument
from agent.contract.topics import Topics
from agent.control_plane import ControlPlane
from agent.domain.ids import SourceName
from agent.ending import Ending, Stages
from agent.hindsight import Hindsight
from agent.inference_plane import InferencePlane
from agent.pipeline.announcements import Announcements
from agent.pipeline.delivery import Delivery
from agent.pipeline.eventing import Eventing, reports_of
from agent.pipeline.handover import Handover
from agent.pipeline.health import Health
from agent.pipeline.introduction import Introduction
from agent.pipeline.keeping import Keeping
from agent.pipeline.renewal import Renewal
from agent.pipeline.results import Result
from agent.pipeline.ruling import Ruling
from agent.pipeline.scheduler import FrameJob, Scheduler
from agent.pipeline.seeing import Seeing, Seen
from agent.pipeline.shadow import ShadowPlan
from agent.pipeline.sources import Sources
from agent.pipeline.supervise import Ticks, measure_loop_lag
from agent.pipeline.swap import Load, Models
from agent.pipeline.timekeeping import Timekeeping
from agent.pipeline.withholding import Withholding
from agent.policies import FirstPolicy, Policies
from agent.ports import ControlVerifier, Inbound, ModelUpgrade, StandingStore
from agent.settings import Settings
from agent.staging import RunningLanes
from agent.vitals import Vitals

log = structlog.get_logger(__name__)

RESULTS_HELD = 64
"""Between the lanes and eventing; a full hand-over makes the lanes wait."""


class Agent:
    """One node at work: the stages, and how they are joined. Made on the running loop, run once."""

    def __init__(
        self,
        *,
        settings: Settings,
        first: FirstPolicy,
        policies: Policies,
        models: Models,
        shadows: Mapping[SourceName, ShadowPlan],
        lanes: RunningLanes,
        load: Load,
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
        set_log_level: Callable[[str], None] | None,
        verifier: ControlVerifier,
        standing: StandingStore,
    ) -> None:
        document = first.document
        policy = document.policy
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._notifier = notifier
        self._outbox = outbox
        topics = Topics(settings.site, settings.node)

        self.ticks = ticks
        self.announcements = Announcements(first=(topics.info, topics.health, topics.reported))
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
            machine=assembly.machine,
            session=lambda: self.delivery.session,
            heartbeat_s=policy.publish.heartbeat_s,
            config_version=document.version,
            scrub=scrub,
            shadows=lambda: self.inference.shadows.reports,
        )
        self.introduction = Introduction(
            like=info,
            models=models,
            topics=topics,
            announcements=self.announcements,
        )
        self.inference = InferencePlane(
            settings=settings,
            policy=policy,
            policies=policies,
            models=models,
            shadows=shadows,
            lanes=lanes,
            load=load,
            upgrades=upgrades,
            scheduler=self.scheduler,
            results=self.results,
            clock=clock,
            metrics=metrics,
            ticks=ticks,
            on_condition=self.health.report,
            on_served=self._on_served,
            on_swapped=self.introduction.tell,
        )
        self.ruling = Ruling(
            compiler=CelRuleCompiler(),
            outbox=outbox,
            topics=topics,
            announcements=self.announcements,
            clock=clock,
            metrics=metrics,
            ticks=self.ticks,
            store=standing,
            on_condition=self.health.report,
            snapshot=self._ask_snapshot,
            set_rates=self.scheduler.ask_rates,
            classes=lambda policy: assembly.classes_by_camera(policy, self.inference.swap.serving),
        )
        self.ruling.config_version = document.version
        self.hindsight = Hindsight(
            policy=policy,
            swap=self.inference.swap,
            scheduler=self.scheduler,
            compiler=CelRuleCompiler(),
            check=policies.check,
            clock=clock,
        )
        self.health.heard_by(self.ruling.on_condition, self.hindsight.on_condition)
        self.eventing = Eventing(
            results=self.results,
            outbox=outbox,
            topics=topics,
            clock=clock,
            metrics=metrics,
            ticks=self.ticks,
            reports=reports_of(policy),
            config_version=document.version,
            seeing=Seeing(policy),
            withholding=Withholding(policy),
            expiry_overrides_s={str(stream): seconds for stream, seconds in policy.publish.expiry_s.items()},
            ruling=self.ruling,
            on_result=self.hindsight.observe,
            on_seen=self._on_seen,
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
            on_inbound=self._on_inbound,
            on_connected=self._on_connected,
            subscriptions=(*ControlPlane.subscriptions_of(topics), topics.commands),
        )
        self.command = CommandPlane(
            settings=settings,
            policy=policy,
            document=lambda: self.control.policies.document,
            topics=topics,
            outbox=outbox,
            keeping=self.keeping,
            health=self.health,
            clock=clock,
            metrics=metrics,
            session=lambda: self.delivery.session,
            verifier=verifier,
            scrub=scrub,
            set_log_level=set_log_level,
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
        self.sources = Sources(scheduler=self.scheduler, forget=self.health.forget)
        self.captures = Captures(
            settings=settings,
            sources=self.sources,
            swap=self.inference.swap,
            scheduler=self.scheduler,
            results=self.results,
            health=self.health,
            clock=clock,
            metrics=metrics,
            on_frame=self.command.pictures.captured,
        )
        self.control = ControlPlane(
            first=first,
            policies=policies,
            topics=topics,
            announcements=self.announcements,
            mark=self._mark,
            swap=self.inference.swap,
            sources=self.sources,
            captures=self.captures,
            keeping=self.keeping,
            stagers=[self.ruling, *self.inference.stagers],
            followers=[
                self.health,
                self.eventing,
                self.keeping,
                self.delivery,
                self.inference.overload,
                *self.command.followers,
                self.hindsight,
            ],
            clock=clock,
            on_condition=self.health.report,
            on_applied=self._on_applied,
        )
        self.command.answer({**self.control.handlers(), **self.hindsight.handlers})
        self.introduction.able_to(self.command.commands.operations)
        self.vitals = Vitals(
            ticks=ticks,
            health=self.health,
            delivery=self.delivery,
            scheduler=self.scheduler,
            notifier=notifier,
            record=record,
        )
        self.ending = Ending(
            sources=self.sources,
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
        await self.ruling.begin(self.control.policies.document.policy)
        async with asyncio.TaskGroup() as group:
            self.sources.attach(lambda capture, name: group.create_task(capture, name=name))
            self.captures.start_all(self.control.policies.document.policy)
            stages: Stages = {
                "inference": [group.create_task(self.inference.worker.run(), name="inference")],
                "eventing": [
                    group.create_task(self.eventing.run(), name="eventing"),
                    group.create_task(self.ruling.run(), name="rules"),
                ],
                "delivery": [group.create_task(self.delivery.run(), name="delivery")],
            }
            group.create_task(self.health.run(quiet), name="health")
            for name, beside in self.inference.coroutines(stop, quiet=quiet).items():
                group.create_task(beside, name=name)
            group.create_task(self.vitals.watch(quiet), name="watchdog")
            group.create_task(self.timekeeping.run(stop), name="timekeeping")
            if self.renewal is not None:
                group.create_task(self.renewal.run(stop), name="renewal")
            upgrading = group.create_task(self.inference.upgrade(), name="upgrading")
            control = [
                group.create_task(coroutine, name=name)
                for name, coroutine in {**self.control.coroutines(stop), **self.command.coroutines()}.items()
            ]
            group.create_task(
                measure_loop_lag(clock=self._clock, metrics=self._metrics, stop=quiet), name="loop-lag"
            )
            outbox = group.create_task(self._outbox.ended(), name="outbox")
            if until_ended:
                group.create_task(self.ending.when_captured(stages, stop), name="until-ended")
            self.inference.swap.tell()
            self._notifier.ready()
            log.info("agent.started", sources=list(self.sources.names), version=__version__)
            await stop.wait()
            for ending in (upgrading, *control):
                ending.cancel()
            log.info("agent.stopping")
            self._notifier.stopping()
            await self.ending.in_order(stages)
            quiet.set()
            outbox.cancel()

    def tell_warning(self, entry: payloads.Log) -> None:
        """What the log has warned of, for `B/log` and for whoever asks later."""
        self.command.warnings.note(entry)
        self.health.tell(entry)

    def _on_connected(self, outage: payloads.LastOffline | None) -> None:
        self.introduction.connected(outage)
        self.keeping.connected()

    def _on_inbound(self, inbound: Inbound) -> None:
        self.control.receive(inbound)
        self.command.receive(inbound)

    def _on_served(self, job: FrameJob, results: Sequence[Result]) -> None:
        self.command.pictures.served(job, results)

    def _on_seen(self, seen: Seen) -> None:
        self.command.pictures.seen(seen)

    def _ask_snapshot(self, source: SourceName, event: str) -> None:
        self.command.snapshots.request(source, event)

    def _on_sendable(self) -> None:
        self.delivery.send_again()

    def _mark(self, version: int) -> None:
        self.scheduler.config_version = version

    def _on_applied(self, document: PolicyDocument) -> None:
        self.eventing.config_version = self.health.config_version = document.version
        self.ruling.config_version = document.version
        self.introduction.applied(document.version)
