"""Where a policy and its attempts are kept, and where a person at the node leaves another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Origin = Literal["file", "mqtt", "patch", "local"]
"""Where a policy came from: the node's file, `config/desired`, a command, or a person at the node."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An attempt at a policy that was begun: `tries` times, if the process ended in it."""

    version: int
    sha256: str
    tries: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What is in force has not shown yet that the process lives with it.

    `previous` was in force before, and came from `origin`; `lives` counts processes that began with what is.
    """

    previous: Mapping[str, Any]
    origin: Origin
    lives: int = 1


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """What the node knows of its policy over restarts, as JSON says it.

    `document` is in force, None before any was; at or below `floor` no version is taken. `attempts` and
    `sources` are as told on `config/reported`.
    """

    document: Mapping[str, Any] | None = None
    origin: Origin = "file"
    floor: int = -1
    desired_sha256: str | None = None
    unfinished: Unfinished | None = None
    trial: Trial | None = None
    attempts: tuple[Mapping[str, Any], ...] = ()
    sources: Mapping[str, Any] = field(default_factory=dict)


class PolicyStore(Protocol):
    """One thread at a time; waits for the disk."""

    def load(self) -> KeptPolicy:
        """What was kept last; nothing, where that is damaged: it is moved aside, and told."""

    def keep(self, kept: KeptPolicy) -> None:
        """On the disk itself when it returns, all or nothing.

        Raises:
            TransientError: the disk refuses; what was kept before stands.
        """


@dataclass(frozen=True, slots=True)
class PolicyWish:
    """What a person at the node wants: that a document, JSON, is tried, or that any version may come next."""

    document: bytes | None
    forget_floor: bool = False


class PolicyInbox(Protocol):
    """One thread at a time; waits for the disk."""

    def take(self) -> PolicyWish | None:
        """What was left since the last time; it is not there any more.

        Raises:
            NanofleetError: it is no policy, or cannot be read.
        """
