"""`B/config/reported`: the retained word on which policy is in force."""

from collections.abc import Mapping

from agent.contract.payloads import encode
from agent.contract.policy import PolicyDocument
from agent.contract.reported import (
    MOST_ATTEMPTS,
    ConfigReported,
    PolicyAttempt,
    PolicyStatus,
    SourceStanding,
    as_written,
    policy_sha256,
)
from agent.contract.topics import Topics
from agent.domain.ids import SourceName
from agent.pipeline.announcements import Announcements
from agent.pipeline.control.journal import Journal
from agent.ports import Origin, Publication


class Reporting:
    """Says it anew whenever something of it has changed."""

    def __init__(self, *, topics: Topics, announcements: Announcements) -> None:
        self._topic = topics.reported
        self._announcements = announcements

    def tell(
        self,
        status: PolicyStatus,
        document: PolicyDocument,
        journal: Journal,
        *,
        origin: Origin,
        under_way: PolicyAttempt | None = None,
        standings: Mapping[SourceName, SourceStanding] | None = None,
    ) -> None:
        """`document`, which came from `origin`, is in force; `under_way` is tried, `standings` are probed."""
        effective, desired = policy_sha256(document.policy), journal.kept.desired_sha256
        known = journal.sources
        standing = SourceStanding(version=document.version, status="applied")
        sources: dict[str, SourceStanding] = {
            name: known.get(name, standing) for name in document.policy.sources
        }
        sources.update({str(name): one for name, one in (standings or {}).items()})
        attempts = journal.attempts if under_way is None else (*journal.attempts, under_way)
        report = ConfigReported(
            version=document.version,
            desired_sha256=desired,
            effective_sha256=effective,
            diverged=origin in {"patch", "local"} and effective != desired,
            status=status,
            policy=as_written(document.policy),
            sources=sources,
            attempts=attempts[-MOST_ATTEMPTS:],
        )
        self._announcements.retain(Publication(self._topic, encode(report), retain=True))
