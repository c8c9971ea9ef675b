"""What nodes say, read by somebody else's version: only what is needed here, and whatever else is ignored.

`agent/contract/payloads.py` is how this version writes; a fleet in the midst of an update holds others.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue

NOTHING_CAME_OF_IT: Final = frozenset({"failed", "rolled_back"})


class Told(BaseModel):
    """What all of it shares: unknown fields are ignored, as the contract wants of consumers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ToldState(Told):
    """`state`."""

    state: Literal["online", "offline"]
    session: int
    time: AwareDatetime
    reason: str | None = None


class ToldInfo(Told):
    """`info`."""

    agent: str


class ToldCondition(Told):
    """One source or stage in `health`."""

    status: str
    code: str | None = None
    message: str | None = None


class ToldHealth(Told):
    """`health`."""

    status: str
    sources: dict[str, ToldCondition] = {}
    stages: dict[str, ToldCondition] = {}

    @property
    def worst(self) -> tuple[str, ToldCondition] | None:
        """The source or stage that is worst off, and how; None: all are well.

        A stage that waits is well: nobody may have asked anything of it yet.
        """
        ranks = {"ok": 0, "waiting": 1, "degraded": 2, "failed": 3}
        off = [(name, one) for name, one in self.sources.items() if one.status != "ok"]
        off += [(name, one) for name, one in self.stages.items() if one.status not in {"ok", "waiting"}]
        return max(off, key=lambda each: ranks.get(each[1].status, 2), default=None)


class ToldStanding(Told):
    """One source in `config/reported`."""

    version: int
    status: str
    code: str | None = None


class ToldAttempt(Told):
    """One attempt in `config/reported`."""

    version: int | None
    sha256: str
    status: str
    code: str | None = None
    path: str | None = None
    message: str = ""
    at: str | None = None


class ToldConfig(Told):
    """`config/reported`. `status` is that of the last attempt, which need not be the policy in force."""

    version: int
    effective_sha256: str
    diverged: bool = False
    status: str
    policy: dict[str, JsonValue]
    sources: dict[str, ToldStanding] = {}
    attempts: tuple[ToldAttempt, ...] = ()

    @property
    def status_in_force(self) -> str:
        """What became of the attempt by which the policy in force came."""
        came = (
            one.status
            for one in reversed(self.attempts)
            if one.version == self.version and one.status not in NOTHING_CAME_OF_IT
        )
        undone = any(source.status == "rolled_back" for source in self.sources.values())
        # Ten attempts are told: of one long ago, the sources say what became of it.
        in_force = "partial" if undone else "applied"
        return next(came, in_force if self.attempts else self.status)


class ToldHeartbeat(Told):
    """`heartbeat`."""

    session: int
    fps: dict[str, float] = {}
    temperature_c: dict[str, float | None] = {}

    @property
    def hottest_c(self) -> float | None:
        """The highest temperature; None: the node has no sensor that says one."""
        return max((celsius for celsius in self.temperature_c.values() if celsius is not None), default=None)


class ToldMoment(Told):
    """A message of a stream, as far as it matters when it was made."""

    time: AwareDatetime


class ToldLoss(ToldMoment):
    """`loss`."""

    count: int


class ToldLog(ToldMoment):
    """`log`."""

    level: str


class ToldAlarm(Told):
    """`alarms/{rule}`."""

    severity: str
    message: str = ""


Raw = dict[str, Any]
"""A payload as it came."""
