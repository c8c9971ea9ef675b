"""What a rollout wants of a node, and whether what the node says fulfils it. No I/O.

All is judged of the session that goes on. `info`, `health` and `config/reported` are published before the
birth of a session and replaced later, so what is known once the new session is online is the new session's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from agent.contract.sources import Sensor
from agent.fleet.sighting import Sighting
from agent.fleet.told import NOTHING_CAME_OF_IT, ToldAttempt, ToldConfig

_SENSORS: Final = frozenset(
    kind for sensor in get_args(Sensor) for kind in get_args(sensor.model_fields["kind"].annotation)
)
"""What speaks without a model."""


@dataclass(frozen=True, slots=True)
class Before:
    """A node before the update: its session (-1: it had none), and the sources that were well.

    `well` None: nobody knows.
    """

    session: int = -1
    well: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The conditions. A node has to be online in any case; what is None or False is not asked."""

    newer_than: Mapping[str, Before] | None = None
    """By `SITE/NODE`; a node that is not in it had no session before."""
    agent: str | None = None
    policy_version: int | None = None
    policy_at_least: int | None = None
    """This or a later one, which may have come meanwhile; instead of `policy_version`."""
    fresh_detection: bool = False
    sources: frozenset[str] | None = None
    """Of those that publish, only these have to be heard; None: those that were well before."""
    max_error_rate: float | None = None
    max_temperature_c: float | None = None
    health: Literal["ok", "degraded"] | None = None
    """The worst that is let pass."""

    @property
    def streams(self) -> bool:
        """Whether more than the retained topics and heartbeats has to be heard."""
        return self.fresh_detection or self.max_error_rate is not None


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition: what was seen, and what is wanted; both for JSON and for a person."""

    met: bool
    seen: Any
    wanted: str
    remark: str = ""


def judge(sighting: Sighting, wanted: Wanted, *, node: str) -> dict[str, Finding]:
    """Each condition that is asked, by its name."""
    return dict(_findings(sighting, wanted, node))


def _findings(sighting: Sighting, wanted: Wanted, node: str) -> Iterator[tuple[str, Finding]]:
    before = Before()
    yield "online", _online(sighting)
    current = sighting.online
    if wanted.newer_than is not None:
        before = wanted.newer_than.get(node, before)
        session = _session(sighting, before)
        current = current and session.met
        yield "session", session
    if wanted.agent is not None:
        yield "agent", _of_session(_agent(sighting, wanted.agent), current=current)
    if wanted.policy_version is not None:
        yield "policy", _of_session(_policy(sighting, wanted.policy_version), current=current)
    if wanted.policy_at_least is not None:
        yield "policy", _of_session(_policy_at_least(sighting, wanted.policy_at_least), current=current)
    if wanted.health is not None:
        yield "health", _of_session(_health(sighting, wanted.health), current=current)
    if wanted.fresh_detection:
        well = before.well if wanted.sources is None else wanted.sources
        yield "detection", _of_session(_detection(sighting, well), current=current)
    if wanted.max_error_rate is not None:
        yield "errors", _of_session(_errors(sighting, wanted.max_error_rate), current=current)
    if wanted.max_temperature_c is not None:
        yield "temperature", _of_session(_temperature(sighting, wanted.max_temperature_c), current=current)


def _of_session(finding: Finding, *, current: bool) -> Finding:
    """What an offline node, or the process before the update, has said fulfils nothing."""
    if current or not finding.met:
        return finding
    return Finding(False, finding.seen, finding.wanted, "said before the session that is waited for")


def _online(sighting: Sighting) -> Finding:
    state = sighting.state
    if state is None:
        return Finding(False, None, "online", "nothing was ever heard of it")
    return Finding(sighting.online, state.state, "online", state.reason or "")


def _session(sighting: Sighting, before: Before) -> Finding:
    seen = None if sighting.state is None else sighting.session
    newer = seen is not None and seen > before.session
    remark = ""
    if seen is not None and sighting.online and seen < before.session:
        remark = "it counts from the start again: its state_dir was lost, or another node has its name"
    return Finding(sighting.online and newer, seen, f">{before.session}", remark)


def _agent(sighting: Sighting, version: str) -> Finding:
    seen = None if sighting.info is None else sighting.info.agent
    return Finding(seen == version, seen, version)


def _policy(sighting: Sighting, version: int) -> Finding:
    config, wanted = sighting.config, f"{version} applied"
    if config is None:
        return Finding(False, None, wanted)
    status = config.status_in_force
    seen = f"{config.version} {status}"
    if config.version == version:
        return Finding(status == "applied", seen, wanted, _undone(config))
    tried = next((one for one in reversed(config.attempts) if one.version == version), None)
    if tried is None:
        return Finding(False, seen, wanted)
    return Finding(False, seen, wanted, _became(tried))


def _policy_at_least(sighting: Sighting, version: int) -> Finding:
    config, wanted = sighting.config, f">={version} applied"
    if config is None:
        return Finding(False, None, wanted)
    status = config.status_in_force
    seen = f"{config.version} {status}"
    there = config.version >= version
    for newest in config.attempts[-1:]:
        is_later = newest.version is not None and newest.version >= version
        if is_later and (not there or newest.status in NOTHING_CAME_OF_IT):
            return Finding(False, seen, wanted, _became(newest))
    return Finding(there and status == "applied", seen, wanted, _undone(config) if there else "")


def _undone(config: ToldConfig) -> str:
    return ", ".join(
        f"{name} {source.status} {source.code or ''}".rstrip()
        for name, source in config.sources.items()
        if source.status not in {"applied", "probation"}
    )


def _became(tried: ToldAttempt) -> str:
    return " ".join(f"{tried.version} {tried.status} {tried.code or ''} {tried.message}".split())


def _health(sighting: Sighting, worst_allowed: Literal["ok", "degraded"]) -> Finding:
    wanted = "ok" if worst_allowed == "ok" else "ok or degraded"
    health = sighting.health
    if health is None:
        return Finding(False, None, wanted)
    met = health.status == "ok" or (worst_allowed == "degraded" and health.status == "degraded")
    remark = ""
    if health.worst is not None:
        who, how = health.worst
        remark = " ".join(filter(None, (who, how.status, how.code, how.message)))
    return Finding(met, health.status, wanted, remark)


def _detection(sighting: Sighting, well: frozenset[str] | None) -> Finding:
    if sighting.config is None:
        return Finding(False, None, "every source")
    speakers, on_change = _speakers(sighting.config.policy)
    expected = speakers if well is None else speakers & well
    if not expected:
        why = "no source publishes" if not speakers else "no source was well before"
        return Finding(True, "0 of 0 sources", "every source", why)
    at_work = {name for name in expected if _is_at_work(sighting, name)} if on_change else set()
    silent = sorted(expected - sighting.heard.keys() - at_work)
    seen = f"{len(expected) - len(silent)} of {len(expected)} sources"
    how = {name: _how(sighting, name) for name in silent}
    remark = "not heard: " + ", ".join(f"{name}{why}" for name, why in how.items()) if silent else ""
    return Finding(not silent, seen, f"{len(expected)} of {len(expected)} sources", remark)


def _is_at_work(sighting: Sighting, source: str) -> bool:
    """Whether it infers, by a heartbeat of this session.

    `fps` counts a frame when it is taken for inference, and takes it back if the model fails; in between, a
    heartbeat may show a rate above 0 where nothing was ever inferred. What `health` says goes before it.
    """
    beat, config, health = sighting.heartbeat, sighting.config, sighting.health
    if beat is None or beat.session != sighting.session or beat.fps.get(source, 0) <= 0:
        return False
    if config is None or health is None:
        return False
    sources = config.policy.get("sources")
    stanza = sources.get(source) if isinstance(sources, dict) else None
    model = stanza.get("model") if isinstance(stanza, dict) else None
    said = (health.sources.get(source), health.stages.get(f"inference-{model}"))
    return all(one is None or one.status == "ok" for one in said)


def _speakers(policy: Mapping[str, Any]) -> tuple[frozenset[str], bool]:
    """The sources that publish, and whether they do so only where something is found.

    A policy of another version may be of any form.
    """
    sources, publish = policy.get("sources"), policy.get("publish")
    stanzas = sources.items() if isinstance(sources, dict) else ()
    speaking = frozenset(
        name
        for name, stanza in stanzas
        if isinstance(stanza, dict)
        and stanza.get("enabled", True)
        and (stanza.get("model") is not None or stanza.get("kind") in _SENSORS)
    )
    mode = publish.get("detections", "always") if isinstance(publish, dict) else "always"
    return speaking, mode != "always"


def _how(sighting: Sighting, source: str) -> str:
    condition = sighting.health.sources.get(source) if sighting.health is not None else None
    if condition is None or condition.status == "ok":
        return ""
    return f" ({condition.status} {condition.code or ''}".rstrip() + ")"


def _errors(sighting: Sighting, most: float) -> Finding:
    bad = sighting.lost + sighting.errors
    told = sum(sighting.heard.values())
    rate = bad / (bad + told) if bad else 0.0
    remark = f"{sighting.lost} lost, {sighting.errors} errors, {told} messages heard"
    return Finding(rate <= most, round(rate, 4), f"<={most:g}", remark)


def _temperature(sighting: Sighting, most_c: float) -> Finding:
    wanted = f"<={most_c:g}"
    if sighting.heartbeat is None or sighting.heartbeat.session != sighting.session:
        return Finding(False, None, wanted, "no heartbeat yet")
    hottest_c = sighting.heartbeat.hottest_c
    if hottest_c is None:
        return Finding(True, None, wanted, "it has no sensor of temperature")
    return Finding(hottest_c <= most_c, hottest_c, wanted)
