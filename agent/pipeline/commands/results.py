"""What became of each command, on its way into the outbox."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from agent.contract import payloads
from agent.contract.policy import Policy
from agent.contract.topics import RESULT, CommandTopic, Topics, expiry_s, result_subtopic
from agent.domain.errors import Code
from agent.pipeline.commands.operations import OPERATIONS
from agent.pipeline.outgoing import SUBTOPIC
from agent.ports import Clock, CommandOutcome, Draft, Metrics, Outbox

_SEQUENCE_BYTES: Final = 128
"""What the outbox adds to a message, at most."""

_MOST_MESSAGE_CHARS: Final = 2_000


class Results:
    """Tells results; `scrub` takes the credentials out of them. Used on the event loop."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        topics: Topics,
        clock: Clock,
        metrics: Metrics,
        policy: Policy,
        scrub: Callable[[str], str],
    ) -> None:
        self._outbox = outbox
        self._topics = topics
        self._clock = clock
        self._metrics = metrics
        self._scrub = scrub
        self.adopt(policy)

    def adopt(self, policy: Policy) -> None:
        """How long results keep, and how large they may be, from the next one on."""
        self._expiry_s = policy.publish.expiry_s.get("result", expiry_s(RESULT))
        self._most_bytes = policy.publish.max_message_bytes - _SEQUENCE_BYTES

    async def under_way(self, topic: CommandTopic, status: payloads.ResultStatus) -> None:
        """`accepted` or `running`."""
        await self._append(topic, self._message(topic, status, CommandOutcome("done")))

    async def ended(self, topic: CommandTopic, outcome: CommandOutcome) -> None:
        """How it ended. An output that is larger than a message may be is left out, and that is told."""
        outcome = self.clean(outcome)
        message = self._message(topic, outcome.status, outcome)
        size = len(payloads.encode(message))
        if size > self._most_bytes:
            text = f"the result has {size} bytes, and publish.max_message_bytes allows {self._most_bytes}"
            smaller = replace(outcome, code=Code.SIZE, message=text, output={})
            message = self._message(topic, outcome.status, smaller)
        op = topic.op if topic.op in OPERATIONS else "unknown"
        self._metrics.count("commands_total", op=op, status=outcome.status)
        await self._append(topic, message)

    def clean(self, outcome: CommandOutcome) -> CommandOutcome:
        """The same without credentials, as it is kept and told."""
        message = self._scrub(outcome.message)[:_MOST_MESSAGE_CHARS]
        return replace(outcome, message=message, output=_scrubbed(outcome.output, self._scrub))

    def _message(
        self, topic: CommandTopic, status: payloads.ResultStatus, outcome: CommandOutcome
    ) -> payloads.Result:
        head = payloads.stream_head(
            self._topics, self._clock.now(), synced=self._clock.synced(), boot=self._clock.boot
        )
        return payloads.Result(
            **head,
            op=topic.op,
            id=topic.id,
            status=status,
            code=outcome.code,
            path=outcome.path,
            message=outcome.message,
            retryable=outcome.retryable,
            output=dict(outcome.output),
        )

    async def _append(self, topic: CommandTopic, message: payloads.Result) -> None:
        await self._outbox.append(
            Draft(
                stream=RESULT,
                priority="result",
                body=payloads.encode(message),
                made=self._clock.now(),
                expiry_s=self._expiry_s,
                properties={SUBTOPIC: result_subtopic(topic.op, topic.id)},
            )
        )


def _scrubbed(value: Mapping[str, Any], scrub: Callable[[str], str]) -> dict[str, Any]:
    """Every text in it without credentials; as JSON knows it."""
    plain: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return {key: _scrubbed_value(each, scrub) for key, each in plain.items()}


def _scrubbed_value(value: Any, scrub: Callable[[str], str]) -> Any:
    match value:
        case str():
            return scrub(value)
        case list():
            return [_scrubbed_value(each, scrub) for each in value]
        case dict():
            return {key: _scrubbed_value(each, scrub) for key, each in value.items()}
    return value
