"""From a message below `B/command/` to its result: each command once, in bounds, whatever it says."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final

import structlog

from agent.contract.commands import Command
from agent.contract.policy import Policy
from agent.contract.topics import CommandTopic, Topics
from agent.domain.errors import Code, NanofleetError
from agent.pipeline.commands.admission import Gate
from agent.pipeline.commands.operations import OPERATIONS, Handler
from agent.pipeline.commands.outcomes import BUSY, failed, rejected, told_before
from agent.pipeline.commands.reading import Arrival, Open, Reader
from agent.pipeline.commands.record import Record
from agent.pipeline.commands.results import Results
from agent.pipeline.supervise import accompany, attempt
from agent.ports import Clock, CommandLog, CommandOutcome, Inbound, Metrics

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 32
LONG_AT_ONCE: Final = 2
MOST_LONG_WAITING: Final = 4
_MOST_BUSY_ANSWERS: Final = 32
_READ_S: Final = 30.0
_LOGGED_EVERY_NS: Final = 10_000_000_000


class Commands:
    """Takes commands, does each once, and tells its result. Used on the event loop.

    `handlers` are the operations that this node answers. `open_signed` gives the JSON inside a message for
    an operation, and raises RefusedError for one that this node may not take.
    """

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler],
        kept: CommandLog,
        results: Results,
        topics: Topics,
        clock: Clock,
        metrics: Metrics,
        open_signed: Open = lambda payload, op: payload,  # noqa: ARG005
    ) -> None:
        self._handlers = handlers
        self._record = Record(kept)
        self._results = results
        self._topics = topics
        self._below = topics.below("command/")
        self._clock = clock
        self._metrics = metrics
        self._reader = Reader(operations=handlers.keys(), clock=clock, open_signed=open_signed)
        self._gate = Gate()
        self._waiting: asyncio.Queue[Arrival] = asyncio.Queue(MOST_WAITING)
        self._long: asyncio.Queue[Command] = asyncio.Queue(MOST_LONG_WAITING)
        self._too_many: deque[CommandTopic] = deque(maxlen=_MOST_BUSY_ANSWERS)
        self._any_too_many = asyncio.Event()
        self._logged_ns: int | None = None
        self._unlogged = 0

    @property
    def operations(self) -> tuple[str, ...]:
        """What this node answers."""
        return tuple(sorted(self._handlers))

    def adopt(self, policy: Policy) -> None:
        """Results are published as `policy` says, from the next one on."""
        self._results.adopt(policy)

    def receive(self, inbound: Inbound) -> None:
        """A message to this node. Never waits, and costs next to nothing where there are too many.

        Only those below `B/command/` mean anything here. An empty one takes a retained command away; one
        whose topic names no command cannot be answered.
        """
        if not inbound.payload or not inbound.topic.startswith(self._below):
            return
        now_ns = self._clock.now().monotonic_ns
        topic = self._topics.command(inbound.topic)
        if topic is None:
            self._ignore("topic", now_ns)
            return
        admission = self._gate.admit(len(inbound.payload), now_ns)
        if admission == "taken" and self._waiting.full():
            admission = self._gate.refuse(now_ns)
        match admission:
            case "taken":
                self._waiting.put_nowait(Arrival(topic, inbound, now_ns))
            case "refused":
                self._too_many.append(topic)
                self._any_too_many.set()
            case "ignored":
                self._ignore("rate", now_ns)

    async def run(self) -> None:
        """Serve until cancelled. What is cut short by the end of the process is told at the next start."""
        await self._tell_interrupted()
        long = {f"commands[long-{number}]": self._serve_long() for number in range(LONG_AT_ONCE)}
        await accompany(self._serve(), {**long, "commands[too-many]": self._serve_too_many()})

    async def _serve(self) -> None:
        while True:
            arrival = await self._waiting.get()
            try:
                command = await attempt("read-command", self._reader.read(arrival), timeout_s=_READ_S)
            except NanofleetError as error:
                await self._reject(arrival.topic, rejected(error))
            else:
                await self._begin(arrival.topic, command)

    async def _serve_long(self) -> None:
        while True:
            command = await self._long.get()
            topic = CommandTopic(command.op, command.id)
            await self._results.under_way(topic, "running")
            await self._do(topic, command)

    async def _serve_too_many(self) -> None:
        while True:
            await self._any_too_many.wait()
            self._any_too_many.clear()
            while self._too_many:
                await self._results.ended(self._too_many.popleft(), BUSY)

    async def _begin(self, topic: CommandTopic, command: Command) -> None:
        operation = OPERATIONS[command.op]
        if operation.is_long and self._long.full():
            await self._results.ended(topic, BUSY)
            return
        try:
            known = await self._record.enter(command.op, command.id)
        except NanofleetError as error:
            if not operation.is_repeatable:
                await self._results.ended(topic, rejected(error))
                return
            log.warning("commands.id_not_kept", op=command.op, code=error.code, message=error.message)
            known = None
        if known is not None:
            await self._tell_again(topic, told_before(known, topic))
        elif operation.is_long:
            log.info("commands.accepted", op=command.op, id=command.id, issuer=command.issuer)
            await self._results.under_way(topic, "accepted")
            self._long.put_nowait(command)
        else:
            await self._do(topic, command)

    async def _do(self, topic: CommandTopic, command: Command) -> None:
        began_ns = self._clock.now().monotonic_ns
        operation = OPERATIONS[command.op]
        args = {**command.args, "issuer": command.issuer} if operation.changes_policy else command.args
        work = self._handlers[command.op](args)
        try:
            output = await attempt(f"command[{command.op}]", work, timeout_s=operation.timeout_s)
            outcome = CommandOutcome("done", output=output)
        except NanofleetError as error:
            outcome = failed(error)
        outcome = self._results.clean(outcome)
        self._metrics.observe(
            "command_seconds", (self._clock.now().monotonic_ns - began_ns) / 1e9, op=command.op
        )
        log.info(
            "commands.ended",
            op=command.op,
            id=command.id,
            issuer=command.issuer,
            status=outcome.status,
            code=outcome.code,
        )
        try:
            # Before it is told: who hears nothing asks again, and is answered; who has heard asks no more.
            await self._record.finish(command.id, outcome)
        except NanofleetError as error:
            log.warning("commands.outcome_not_kept", op=command.op, code=error.code, message=error.message)
        await self._results.ended(topic, outcome)

    async def _reject(self, topic: CommandTopic, outcome: CommandOutcome) -> None:
        outcome = self._results.clean(outcome)
        log.warning("commands.rejected", op=topic.op, code=outcome.code, message=outcome.message)
        try:
            known = await self._record.refuse(topic.op, topic.id, outcome)
        except NanofleetError as error:
            log.warning("commands.outcome_not_kept", op=topic.op, code=error.code, message=error.message)
            known = None
        await self._tell_again(topic, outcome if known is None else told_before(known, topic))

    async def _tell_again(self, topic: CommandTopic, outcome: CommandOutcome | None) -> None:
        """None: it has not ended, and will tell its result by itself."""
        if outcome is not None:
            await self._results.ended(topic, outcome)

    async def _tell_interrupted(self) -> None:
        """What the process before had begun and did not end."""
        message = "the node was stopped or restarted while it ran; what it did until then is not known"
        outcome = CommandOutcome("failed", Code.INTERRUPTED, None, message, retryable=True)
        try:
            for kept in await self._record.unfinished():
                log.warning("commands.interrupted", op=kept.op, id=kept.id)
                await self._record.finish(kept.id, outcome)
                await self._results.ended(CommandTopic(kept.op, kept.id), outcome)
        except NanofleetError as error:
            log.warning("commands.log_unreadable", code=error.code, message=error.message)

    def _ignore(self, reason: str, now_ns: int) -> None:
        """A line at times, whatever comes; the metrics know how many."""
        self._metrics.count("commands_ignored_total", reason=reason)
        self._unlogged += 1
        if self._logged_ns is None or now_ns - self._logged_ns >= _LOGGED_EVERY_NS:
            log.warning("commands.ignored", reason=reason, count=self._unlogged)
            self._logged_ns, self._unlogged = now_ns, 0
