"""`B/config/reported`: the policy in force, and what became of the last attempts to change it."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from agent.contract.canonical import sha256_of
from agent.contract.payloads import V1, Payload, Time
from agent.contract.policy import Policy
from agent.domain.errors import Code

MOST_ATTEMPTS: Final = 10

PolicyStatus = Literal["applying", "probation", "applied", "partial", "rolled_back", "failed"]
"""`probation`: sources are being probed; never the last word. `partial`: some of them kept what they had.
`rolled_back`: all of them did; `failed`: refused, or it could not be applied."""


class PolicyAttempt(Payload):
    """One document, and what became of it."""

    version: Annotated[int | None, Field(description="null: it could not be read.")]
    sha256: Annotated[
        str,
        Field(description="Of its `policy`, as canonical JSON (RFC 8785); of all that came, if unreadable."),
    ]
    status: PolicyStatus
    code: Code | None = None
    path: Annotated[str | None, Field(description="JSON pointer to what was wrong.")] = None
    message: str = ""
    at: Time


class SourceStanding(Payload):
    """Which version of the policy one source runs by. `waiting`: it does not answer, and is tried again."""

    version: int
    status: Literal["applied", "probation", "waiting", "rolled_back"]
    code: Code | None = None


class ConfigReported(Payload):
    """The last word on the policy."""

    v: V1 = 1
    version: Annotated[int, Field(description="Of the policy in force.")]
    desired_sha256: Annotated[
        str | None, Field(description="Of the `policy` in `config/desired`, as it was read last.")
    ]
    effective_sha256: Annotated[str, Field(description="Of `policy` here.")]
    diverged: Annotated[
        bool, Field(description="A change made on the node or by a patch is not in `config/desired`.")
    ]
    status: PolicyStatus
    policy: Annotated[
        dict[str, Any], Field(description="In force, as it was written; secrets are only named.")
    ]
    sources: dict[str, SourceStanding]
    attempts: Annotated[
        tuple[PolicyAttempt, ...], Field(max_length=MOST_ATTEMPTS, description="The newest comes last.")
    ]


def as_written(policy: Policy) -> dict[str, Any]:
    """The policy as plain JSON, without what was left to defaults: the same from YAML and from JSON."""
    return policy.model_dump(mode="json", by_alias=True, exclude_unset=True)


def policy_sha256(policy: Policy) -> str:
    """What the wire means by the hash of a policy."""
    return sha256_of(as_written(policy))
