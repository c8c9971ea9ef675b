"""What the pipeline needs from the outside, as Protocols: who calls what, when, from which thread."""

from agent.ports.commands import CommandLog, CommandOutcome, KeptCommand
from agent.ports.control import ControlVerifier, ExpiredError
from agent.ports.health import Condition, Status
from agent.ports.link import (
    Ack,
    CertificateCheck,
    Certificates,
    Closed,
    Inbound,
    Limits,
    Link,
    Publication,
    Session,
    SessionEvent,
)
from agent.ports.metrics import Metrics
from agent.ports.models import (
    AnomalyModel,
    DetectorModel,
    Graph,
    Look,
    Model,
    ModelFacts,
    ModelUpgrade,
    Timed,
)
from agent.ports.outbox import Draft, KeepUntil, Outbox, OutboxStatistics, Priority, Replay, Row
from agent.ports.policy import KeptPolicy, Origin, PolicyInbox, PolicyStore, PolicyWish, Trial, Unfinished
from agent.ports.rules import RuleCompiler, Standing, StandingEvent, StandingStore
from agent.ports.sources import FrameSource, ReadingSource
from agent.ports.time import Clock, KnownTime

__all__ = [
    "Ack",
    "AnomalyModel",
    "CertificateCheck",
    "Certificates",
    "Clock",
    "Closed",
    "CommandLog",
    "CommandOutcome",
    "Condition",
    "ControlVerifier",
    "DetectorModel",
    "Draft",
    "ExpiredError",
    "FrameSource",
    "Graph",
    "Inbound",
    "KeepUntil",
    "KeptCommand",
    "KeptPolicy",
    "KnownTime",
    "Limits",
    "Link",
    "Look",
    "Metrics",
    "Model",
    "ModelFacts",
    "ModelUpgrade",
    "Origin",
    "Outbox",
    "OutboxStatistics",
    "PolicyInbox",
    "PolicyStore",
    "PolicyWish",
    "Priority",
    "Publication",
    "ReadingSource",
    "Replay",
    "Row",
    "RuleCompiler",
    "Session",
    "SessionEvent",
    "Standing",
    "StandingEvent",
    "StandingStore",
    "Status",
    "Timed",
    "Trial",
    "Unfinished",
]
