"""From settings and a policy to a running agent and what it did: opens what it needs, and closes it."""

import asyncio
from collections.abc import Callable

import structlog

from agent import __version__, assembly
from agent.adapters import heap
from agent.adapters.http.server import HttpServer
from agent.adapters.metrics.prometheus import PrometheusMetrics
from agent.adapters.outbox import SqliteOutbox
from agent.adapters.policy_inbox import FilePolicyInbox
from agent.adapters.policy_store import FilePolicyStore
from agent.adapters.standing import FileStandingStore
from agent.adapters.system.clock import SystemClock
from agent.adapters.system.memory import peak_memory_mb
from agent.adapters.system.notify import Notifier
from agent.adapters.system.run_record import Ending, RunRecord
from agent.adapters.system.time_floor import TimeFloor
from agent.app import Agent
from agent.contract import payloads
from agent.contract.policy import PolicyDocument
from agent.contract.schemas import schema_hashes
from agent.domain.errors import ConfigError, NanofleetError, RefusedError
from agent.domain.latency import STAGES
from agent.pipeline.supervise import Ticks, in_thread, unless
from agent.policies import (
    Policies,
    Rereading,
    check_permitted,
    first_policy,
    forgive,
    read_policy,
    without_first,
)
from agent.ports import Condition, Status
from agent.report import MessageFlow, Percentiles, RunReport, SourceFlow
from agent.serving.lane_plan import LanePlan
from agent.serving.model_loading import (
    load_another,
    load_shadows,
)
from agent.serving.provisions import Provisions, plan_for, provide
from agent.settings import Settings, UnixSocket
from agent.settings.advice import advice_on_policy, advice_on_settings
from agent.staging import RunningLanes
from agent.trust import control_verifier

log = structlog.get_logger(__name__)

HandOn = Callable[[Callable[[payloads.Log], None] | None], None]
"""Where the log hands its warnings on: takes a callback, or None to end it."""


async def run_agent(
    settings: Settings,
    *,
    stop: asyncio.Event,
    rereading: Rereading,
    until_ended: bool,
    notifier: Notifier,
    hand_on_warnings: HandOn,
    scrub: Callable[[str], str],
    set_log_level: Callable[[str], None] | None = None,
) -> RunReport | None:
    """Watch, infer and publish until `stop`; returns what was done, None if it was stopped before it started.

    `rereading` reads the node's policy file, now and whenever it is asked; `scrub` takes credentials out of
    a text.

    Raises:
        ConfigError, RefusedError: settings or policy cannot be put to work on this node; nothing was started.
        ExceptionGroup: a stage ended unexpectedly; everything else was stopped.
    """
    store = FilePolicyStore(state_dir=settings.state_dir)
    try:
        report = await _run_agent(
            settings,
            store,
            stop=stop,
            rereading=rereading,
            until_ended=until_ended,
            notifier=notifier,
            hand_on_warnings=hand_on_warnings,
            scrub=scrub,
            set_log_level=set_log_level,
        )
    except NanofleetError:
        await in_thread("forgive-policy", lambda: forgive(store))
        raise
    await in_thread("forgive-policy", lambda: forgive(store))
    return report


async def _run_agent(
    settings: Settings,
    store: FilePolicyStore,
    *,
    stop: asyncio.Event,
    rereading: Rereading,
    until_ended: bool,
    notifier: Notifier,
    hand_on_warnings: HandOn,
    scrub: Callable[[str], str],
    set_log_level: Callable[[str], None] | None,
) -> RunReport | None:
    loop = asyncio.get_running_loop()
    heap.limit_heaps()
    clock = SystemClock()
    first = await in_thread(
        "first-policy", lambda: first_policy(store, settings, read=rereading.read, clock=clock)
    )
    began_ns = clock.now().monotonic_ns
    metrics = PrometheusMetrics(version=__version__)
    record = RunRecord(state_dir=settings.state_dir, version=__version__, boot=clock.boot)
    # Rewriting a graph, or a first look at a GPU, takes longer than a service manager waits for an end.
    try:
        loaded = await unless(stop, "load", _load(settings, first.document))
    except (RefusedError, ConfigError) as error:
        first = without_first(first, error, store=store, clock=clock, settings=settings)
        loaded = await unless(stop, "load", _load(settings, first.document))
    if loaded is None:
        log.info("agent.stopped_while_loading")
        return None
    document, lanes = first.document, RunningLanes(loaded.plan, loaded.plan)
    verifier = await in_thread("control-keys", lambda: control_verifier(settings, clock=clock))
    known_time = await in_thread("time-floor", lambda: TimeFloor(state_dir=settings.state_dir, clock=clock))
    link = await in_thread("link", lambda: assembly.link(settings, clock=clock, known_time=known_time))
    ticks = Ticks(clock=clock)
    outbox_is = _LateCondition("outbox")
    outbox = await SqliteOutbox.open(
        path=settings.outbox_file,
        site=settings.site,
        node=settings.node,
        clock=clock,
        metrics=metrics,
        bounds=assembly.outbox_bounds(settings.outbox),
        commit_interval_s=settings.outbox.commit_interval_ms / 1e3,
        card_endurance_bytes=settings.outbox.card_endurance_tb * 1e12,
        keep_until=document.policy.publish.keep_until,
        on_condition=outbox_is,
        on_tick=lambda: ticks.tick("outbox"),
    )
    ending: Ending = "crash"
    try:
        # Only now: a configuration that is refused before is no run, and the next start no crash's.
        started = await in_thread("run-record", record.begin)
        agent = Agent(
            settings=settings,
            first=first,
            policies=Policies(
                store=store,
                inbox=FilePolicyInbox(state_dir=settings.state_dir),
                read=lambda payload: read_policy(verifier.open(payload, kind="policy")),
                read_local=read_policy,
                check=lambda wanted: _check(wanted, settings),
                plan_lanes=lambda wanted: plan_for(wanted, settings),
                load_shadows=lambda wanted: load_shadows(wanted, settings),
                rereading=rereading,
            ),
            models=loaded.models,
            shadows=loaded.shadows.plans,
            lanes=lanes,
            load=lambda name, stanza, may_fall_back: load_another(
                name, stanza, settings, plan=lanes.coming, may_fall_back=may_fall_back
            ),
            upgrades=loaded.upgrades,
            outbox=outbox,
            link=link,
            known_time=known_time,
            clock=clock,
            metrics=metrics,
            ticks=ticks,
            notifier=notifier,
            record=record,
            info=_info(document, started),
            scrub=scrub,
            set_log_level=set_log_level,
            verifier=verifier,
            standing=FileStandingStore(state_dir=settings.state_dir),
        )
        outbox_is.tell(agent.health.report)
        for name, why in loaded.shadows.lacking.items():
            agent.health.report(f"shadow-{name}", "degraded", why.code, why.message)
        http = _http_server(settings, agent, metrics)
        hand_on_warnings(lambda entry: _on_loop(loop, lambda: agent.tell_warning(entry)))
        try:
            await agent.run(stop, until_ended=until_ended)
            ending = "signal"
            seconds = (clock.now().monotonic_ns - began_ns) / 1e9
            report = await _report(agent, outbox, metrics, lanes.plan, seconds=seconds)
        finally:
            hand_on_warnings(None)
            if http is not None:
                await in_thread("http-stop", http.stop)
    finally:
        await asyncio.shield(outbox.close())
        ticks.retire("outbox")
        await in_thread("run-record", lambda: record.end(ending))
    return report


class _LateCondition:
    """How something is that is opened before there is anybody to tell; told as soon as there is."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._early: tuple[Status, str | None, str | None] = ("ok", None, None)
        self._report: Condition | None = None

    def __call__(self, status: Status, code: str | None, message: str | None) -> None:
        if self._report is None:
            self._early = (status, code, message)
        else:
            self._report(self._who, status, code, message)

    def tell(self, report: Condition) -> None:
        """From now on this is whom to tell."""
        self._report = report
        self(*self._early)


def _check(document: PolicyDocument, settings: Settings) -> None:
    """Raises: FaultyDocumentError (not permitted here), ConfigError (there is no memory for it)."""
    check_permitted(document.policy, settings)
    plan_for(document.policy, settings)
    for sentence in advice_on_policy(document.policy, settings):
        log.info("config.advice", advice=sentence)


async def _load(settings: Settings, document: PolicyDocument) -> Provisions:
    await in_thread("advise", lambda: _advise(settings, document))
    return await provide(document.policy, settings)


def _advise(settings: Settings, document: PolicyDocument) -> None:
    """Say what is allowed and yet probably not meant; plain text towards the broker, loudly."""
    if settings.broker.allow_insecure:
        log.warning("config.insecure", host=settings.broker.host, port=settings.broker.port)
    for sentence in (*advice_on_settings(settings), *advice_on_policy(document.policy, settings)):
        log.info("config.advice", advice=sentence)


def _info(document: PolicyDocument, started: payloads.Started) -> payloads.Info:
    """What this node is, but for its models, which may change, and the commands that it answers."""
    return payloads.Info(
        agent=__version__,
        schemas=schema_hashes(),
        provider=None,
        models={},
        capabilities=(),
        config_version=document.version,
        last_offline=None,
        started=started,
    )


def _http_server(settings: Settings, agent: Agent, metrics: PrometheusMetrics) -> HttpServer | None:
    """Health and metrics for whoever looks after this machine; started.

    Raises:
        ConfigError: the place is taken or cannot be used.
    """
    place = settings.http.place
    if place is None:
        return None
    server = HttpServer(
        listen=place.path if isinstance(place, UnixSocket) else (place.host, place.port),
        health=agent.vitals.is_alive,
        ready=agent.vitals.is_ready,
        metrics_page=metrics.page,
    )
    server.start()
    return server


async def _report(
    agent: Agent, outbox: SqliteOutbox, metrics: PrometheusMetrics, plan: LanePlan, *, seconds: float
) -> RunReport:
    statistics = await outbox.statistics()
    lag = metrics.percentiles("loop_lag_seconds")
    latencies = {stage: metrics.percentiles("stage_seconds", stage=stage) for stage in STAGES}
    latencies["capture_to_ack"] = metrics.percentiles("capture_to_ack_seconds")
    return RunReport(
        version=__version__,
        seconds=round(seconds, 3),
        lanes=plan.lanes,
        sources={
            name: SourceFlow(
                offered=flow.offered,
                inferred=flow.taken,
                held=flow.held,
                dropped={str(cause): count for cause, count in flow.dropped.items()},
            )
            for name, flow in agent.scheduler.statistics().items()
        },
        messages=MessageFlow(
            produced=statistics.produced,
            acknowledged=statistics.acknowledged,
            waiting=statistics.rows,
            lost=statistics.lost,
        ),
        sessions=agent.delivery.session,
        latency_ms={
            stage: Percentiles(
                count=found.count,
                p50=_ms(found.p50_s),
                p95=_ms(found.p95_s),
                p99=_ms(found.p99_s),
                max=_ms(found.max_s),
            )
            for stage, found in latencies.items()
            if found is not None
        },
        loop_lag_p99_ms=_ms(lag.p99_s) if lag else 0.0,
        loop_lag_max_ms=_ms(lag.max_s) if lag else 0.0,
        peak_memory_mb=round(peak_memory_mb(), 1),
    )


def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """From any thread; a loop that is closed hears nothing any more."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
