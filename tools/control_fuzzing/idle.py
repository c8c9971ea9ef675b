"""What a node begins with, and sources and models that are as a policy wants them, and do nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent.adapters.signing import JwsVerifier, TrustedKey
from agent.captures import Captures
from agent.contract.policy import PolicyDocument
from agent.contract.reported import PolicyAttempt, policy_sha256
from agent.contract.thresholds import ThresholdPolicy
from agent.pipeline.control.journal import Journal
from agent.pipeline.control.probing import Probe, Verdict
from agent.pipeline.swap import Admitted
from agent.policies import FirstPolicy
from agent.ports import KeptPolicy, ModelFacts
from tools.control_fuzzing.seeds import KEY_NAME, NODE, SITE, SMALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract.policy import Policy
    from agent.contract.sources import Camera, Sensor
    from agent.domain.detections import Detections
    from agent.domain.ids import SourceName
    from agent.ports import Clock, Look, PolicyStore, Timed
    from agent.serving.lane_plan import LanePlan


class Unasked:
    """Fulfils `ports.DetectorModel` where nothing is ever inferred."""

    max_batch = 1
    resizable = False

    def __init__(self, name: str) -> None:
        self.facts = ModelFacts(
            name=name,
            version="1",
            sha256="00" * 32,
            task="detect",
            class_names={0: "part"},
            provider_asked="cpu",
            provider_used="cpu",
            graph="exported",
            precision="fp32",
        )

    def detect(self, looks: Sequence[Look]) -> tuple[list[Detections], Timed]:
        raise NotImplementedError


class _Idle:
    """A capture that captures nothing."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        await self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()


class _Content(Probe):
    """Every source passes."""

    def verdict(self, name: SourceName, stanza: Camera | Sensor, *, is_over: bool) -> Verdict:
        del name, stanza, is_over
        return Verdict(True)


class IdleCaptures(Captures):
    """Makes sources that capture nothing, and pass every probe."""

    def make(self, name: SourceName, policy: Policy) -> Any:
        del name, policy
        return _Idle()

    def alter(self, name: SourceName, policy: Policy) -> None: ...

    def probe(self) -> Probe:
        return _Content(
            told=lambda _name: None, flow=dict, is_running=lambda _name: True, forget=lambda _name: None
        )


def admitted(name: str) -> Admitted:
    """A model that has passed, under whatever name."""
    return Admitted(model=Unasked(name), digest="", thresholds=ThresholdPolicy(), passed="not asked")


def in_force(store: PolicyStore) -> FirstPolicy:
    """As if it had been in force for long."""
    document = PolicyDocument.model_validate(SMALL)
    attempt = PolicyAttempt(
        version=document.version,
        sha256=policy_sha256(document.policy),
        status="applied",
        at="2027-01-01T00:00:00.000Z",
    )
    journal = Journal(KeptPolicy()).in_force(attempt, document, origin="file", standings={})
    store.keep(journal.kept)
    return FirstPolicy(document, "file", journal)


def trusting(public_key: bytes, *, clock: Clock) -> JwsVerifier:
    """Takes what that key has signed, and what nobody has."""
    key = TrustedKey(
        name=KEY_NAME,
        public_key=public_key,
        kinds=frozenset({"policy", "command"}),
        issuers=frozenset({KEY_NAME}),
    )
    return JwsVerifier(
        site=SITE,
        node=NODE,
        keys=[key],
        require_signed=False,
        max_age_s={"policy": 86_400.0, "command": 600.0},
        clock=clock,
    )


def no_lanes(_policy: Policy) -> LanePlan:
    """Never asked for."""
    raise NotImplementedError
