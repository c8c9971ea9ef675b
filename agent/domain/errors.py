"""The errors of the agent: one root, branched by what the caller does about it."""

from enum import StrEnum


class Code(StrEnum):
    """The closed list of codes that an error can carry.

    The first block is the wire contract's; the second is told in health and in logs.
    """

    JSON = "E_JSON"
    SCHEMA = "E_SCHEMA"
    VERSION = "E_VERSION"
    SIZE = "E_SIZE"
    DEPTH = "E_DEPTH"
    STALE = "E_STALE"
    CONFLICT = "E_CONFLICT"
    EXPIRED = "E_EXPIRED"
    RETAINED = "E_RETAINED"
    AUTH = "E_AUTH"
    SIGNATURE = "E_SIGNATURE"
    CLOCK = "E_CLOCK"
    UNKNOWN_OP = "E_UNKNOWN_OP"
    BUSY = "E_BUSY"
    APPLY = "E_APPLY"
    PROBE = "E_PROBE"
    ROLLED_BACK = "E_ROLLED_BACK"
    CRASHED = "E_CRASHED"
    INTERRUPTED = "E_INTERRUPTED"
    HASH = "E_HASH"
    SPACE = "E_SPACE"
    COMPATIBILITY = "E_COMPATIBILITY"
    TIMEOUT = "E_TIMEOUT"
    INTERNAL = "E_INTERNAL"

    FILE = "E_FILE"
    """A file is missing, unreadable or not what it should be."""
    OPEN = "E_OPEN"
    """A source did not open."""
    ENDED = "E_ENDED"
    """A source that should go on has ended."""
    FRAME = "E_FRAME"
    """A frame is damaged or of the wrong size."""
    READING = "E_READING"
    """A sensor gave no usable reading."""
    MODEL = "E_MODEL"
    """A model file cannot be loaded, decoded or run."""
    PROVIDER = "E_PROVIDER"
    """The execution provider asked for is not the one in use."""
    OVERLOAD = "E_OVERLOAD"
    """The node does less than its policy asks for: it is overloaded or hot."""
    DISK = "E_DISK"
    """The outbox's disk refuses to write."""
    NETWORK = "E_NETWORK"
    """The broker cannot be reached."""
    TLS = "E_TLS"
    """A certificate is wrong, expired, unreadable or refused."""
    REFUSED = "E_REFUSED"
    """The broker refused a connection or a message."""


class NanofleetError(Exception):
    """The root. `message` is one sentence: what, where, what would be right."""

    def __init__(self, message: str, *, code: Code, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.path = path

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class TransientError(NanofleetError):
    """It may work later: retry with back-off."""


class RefusedError(NanofleetError):
    """This one item will never pass: drop it and record it."""


class ConfigError(NanofleetError):
    """The node's configuration is wrong: say so and leave with exit code 78."""
