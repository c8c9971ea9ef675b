"""The topic grammar: where each kind of message goes, and how long it keeps."""

from dataclasses import dataclass
from typing import Final

from agent.domain.ids import NAME_RULE, SourceName, Stream, is_command_id, is_name

CONTRACT_VERSION: Final = 1

DAY_S: Final = 86_400

EXPIRY_S: Final[dict[str, int]] = {
    "detections": 7 * DAY_S,
    "telemetry": DAY_S,
    "events": 30 * DAY_S,
    "snapshots": DAY_S,
    "result": DAY_S,
}
"""Seconds after which nobody wants a message of a stream's first level any more; `loss` never expires."""

LOG_EXPIRY_S: Final = 3_600

LOSS: Final = Stream("loss")
RESULT: Final = Stream("result")


@dataclass(frozen=True, slots=True)
class CommandTopic:
    """What the topic of a command says: the operation, and which command of its issuer it is."""

    op: str
    id: str


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one node, below ``edge/v1/{site}/{node}``.

    Raises:
        ValueError: a name is not of the allowed form.
    """

    site: str
    node: str

    def __post_init__(self) -> None:
        for what, name in (("site", self.site), ("node", self.node)):
            if not is_name(name):
                raise ValueError(f"{what} is {name!r}; a name is {NAME_RULE}")

    @property
    def base(self) -> str:
        return f"edge/v{CONTRACT_VERSION}/{self.site}/{self.node}"

    def below(self, path: str) -> str:
        """The full topic of `path`, e.g. of a stream.

        >>> Topics("plant", "nano-42").below("detections/door")
        'edge/v1/plant/nano-42/detections/door'
        """
        return f"{self.base}/{path}"

    @property
    def state(self) -> str:
        return self.below("state")

    @property
    def health(self) -> str:
        return self.below("health")

    @property
    def info(self) -> str:
        return self.below("info")

    @property
    def heartbeat(self) -> str:
        return self.below("heartbeat")

    @property
    def log(self) -> str:
        return self.below("log")

    @property
    def reported(self) -> str:
        return self.below("config/reported")

    @property
    def desired(self) -> str:
        return self.below("config/desired")

    def alarm(self, rule: str) -> str:
        return self.below(f"alarms/{rule}")

    @property
    def acks(self) -> str:
        """The filter of what consumers say they have stored."""
        return self.below("ack/#")

    def acked_stream(self, topic: str) -> Stream | None:
        """The stream that an ack's topic is about; None: it is not an ack's topic.

        >>> Topics("plant", "n1").acked_stream("edge/v1/plant/n1/ack/detections/door")
        'detections/door'
        """
        stream = topic.removeprefix(self.below("ack/"))
        return Stream(stream) if stream and stream != topic else None

    @property
    def commands(self) -> str:
        """The filter of what this node is asked to do."""
        return self.below("command/+/+")

    def command(self, topic: str) -> CommandTopic | None:
        """What a command's topic says; None: it is not a command's topic, or no well-formed one.

        >>> Topics("plant", "n1").command("edge/v1/plant/n1/command/ping/7f3a")
        CommandTopic(op='ping', id='7f3a')
        """
        op, slash, command_id = topic.removeprefix(self.below("command/")).partition("/")
        if not slash or not topic.startswith(self.below("command/")):
            return None
        return CommandTopic(op, command_id) if is_name(op) and is_command_id(command_id) else None


def result_subtopic(op: str, command_id: str) -> str:
    """Where below the topic of the stream `result` a command's result goes.

    >>> result_subtopic("ping", "7f3a")
    'ping/7f3a'
    """
    return f"{op}/{command_id}"


def snapshots_stream(source: SourceName) -> Stream:
    """The stream of a camera's pictures."""
    return Stream(f"snapshots/{source}")


def detections_stream(source: SourceName) -> Stream:
    """The stream of a camera's detections."""
    return Stream(f"detections/{source}")


def events_stream(rule: str) -> Stream:
    """The stream of a rule's events."""
    return Stream(f"events/{rule}")


def telemetry_stream(source: SourceName) -> Stream:
    """The stream of a sensor's telemetry."""
    return Stream(f"telemetry/{source}")


def expiry_s(stream: Stream) -> int | None:
    """How long a message of `stream` keeps, in seconds; None: for ever.

    >>> expiry_s(Stream("telemetry/motor")), expiry_s(LOSS)
    (86400, None)
    """
    return EXPIRY_S.get(stream.split("/", 1)[0])
