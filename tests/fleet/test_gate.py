"""The gate of a rollout, by messages and times alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.fleet.answers import read_before, verdicts_as_json
from agent.fleet.conditions import Before, Wanted
from agent.fleet.gate import Gate, Verdict
from agent.fleet.node_names import NodeName
from tests.fleet.simulated import detections, heartbeat, payloads

NODE = NodeName("plant", "nano-1")
BORN = "2026-11-29T12:00:00.000Z"
EARLIER = "2026-11-29T11:59:59.999Z"
LATER = "2026-11-29T12:00:01.000Z"
EVERYTHING = Wanted(
    newer_than={str(NODE): Before(session=1, well=frozenset({"door", "motor"}))},
    agent="0.2.0",
    policy_version=3,
    health="degraded",
    fresh_detection=True,
    max_error_rate=0.1,
    max_temperature_c=80,
)


class Watch:
    """A gate for one node, and its messages."""

    def __init__(
        self, wanted: Wanted, *, steady_s: float = 0.0, nodes: tuple[NodeName, ...] = (NODE,)
    ) -> None:
        self.gate = Gate(wanted=dict.fromkeys(nodes, wanted), steady_s=steady_s, began_s=100.0)
        self.now_s = 100.0

    def hear(self, path: str, content: dict[str, Any], *, replay: bool = False) -> None:
        properties = {"v": "1", **({"replay": "1"} if replay else {})}
        self.gate.take(NODE, path, json.dumps(content).encode(), properties, now_s=self.now_s)

    def birth(self, **about: Any) -> None:
        given: dict[str, Any] = {"at": BORN, "session": 2, **about}
        for path, content in payloads(**given).items():
            self.hear(path, content)

    def all_is_well(self) -> None:
        self.birth()
        self.hear("heartbeat", heartbeat(session=2, cpu=60.0))
        self.hear("detections/door", detections(at=LATER))
        self.hear("telemetry/motor", detections("motor", at=LATER))

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.gate.look(self.now_s)

    @property
    def verdict(self) -> Verdict:
        return self.gate.verdicts(self.now_s)[NODE]

    @property
    def unmet(self) -> dict[str, tuple[Any, str]]:
        return {
            name: (finding.seen, finding.remark)
            for name, finding in self.verdict.conditions.items()
            if not finding.met
        }


def test_all_that_is_wanted_is_met() -> None:
    watch = Watch(EVERYTHING)
    watch.all_is_well()
    watch.wait(2.5)
    assert watch.unmet == {}
    assert list(watch.verdict.conditions) == [
        *("online", "session", "agent", "policy", "health", "detection", "errors", "temperature"),
    ]


def test_a_node_that_nobody_heard_of_meets_nothing() -> None:
    watch = Watch(EVERYTHING)
    assert watch.unmet.keys() == watch.verdict.conditions.keys()
    assert watch.unmet["online"] == (None, "nothing was ever heard of it")
    assert watch.verdict.after_s is None


def test_without_conditions_a_node_has_to_be_online() -> None:
    watch = Watch(Wanted())
    watch.birth(state="offline")
    assert list(watch.unmet) == ["online"]
    watch.birth()
    assert watch.verdict.met


def test_what_the_old_process_said_counts_for_nothing() -> None:
    watch = Watch(EVERYTHING)
    watch.birth(session=1)
    watch.hear("heartbeat", heartbeat(session=1, cpu=60.0))
    watch.hear("detections/door", detections(at=LATER))
    watch.hear("telemetry/motor", detections("motor", at=LATER))
    assert watch.unmet.keys() == watch.verdict.conditions.keys() - {"online"}
    watch.birth(session=2)
    assert watch.unmet.keys() == {"detection", "temperature"}


def test_what_is_published_before_the_birth_does_not_count_until_it() -> None:
    watch = Watch(EVERYTHING)
    watch.birth(session=1, agent="0.1.0")
    for path in ("info", "health", "config/reported"):
        watch.hear(path, payloads(session=2)[path])
    assert watch.unmet["agent"] == ("0.2.0", "said before the session that is waited for")


def test_a_node_that_was_not_there_before_needs_any_session() -> None:
    watch = Watch(Wanted(newer_than={}))
    watch.birth(session=0)
    assert watch.verdict.met
    assert watch.verdict.conditions["session"].wanted == ">-1"


def test_a_counter_that_began_again_is_told() -> None:
    watch = Watch(Wanted(newer_than={str(NODE): Before(session=17)}))
    watch.birth(session=1)
    seen, remark = watch.unmet["session"]
    assert seen == 1
    assert "state_dir was lost" in remark


def test_the_will_of_the_session_before_is_ignored() -> None:
    watch = Watch(Wanted())
    watch.birth(session=5)
    watch.hear("state", payloads(session=4, state="offline")["state"])
    assert watch.verdict.met
    watch.hear("state", payloads(session=5, state="offline")["state"])
    assert not watch.verdict.met


@pytest.mark.parametrize(
    ("about", "seen", "remark"),
    [
        ({"version": 2}, "2 applied", ""),
        (
            {
                "status": "partial",
                "sources": {"door": {"version": 2, "status": "rolled_back", "code": "E_PROBE"}},
                "attempts": [{"version": 3, "sha256": "x", "status": "partial"}],
            },
            "3 partial",
            "door rolled_back E_PROBE",
        ),
        (
            {
                "version": 2,
                "status": "failed",
                "attempts": [
                    {"version": 2, "sha256": "x", "status": "applied"},
                    {"version": 3, "sha256": "y", "status": "failed", "code": "E_FILE", "message": "no file"},
                ],
            },
            "2 applied",
            "3 failed E_FILE no file",
        ),
        ({"attempts": [{"version": 3, "sha256": "x", "status": "probation"}]}, "3 probation", ""),
    ],
)
def test_a_policy_that_is_not_wholly_in_force(about: dict[str, Any], seen: str, remark: str) -> None:
    watch = Watch(Wanted(policy_version=3))
    watch.birth(**about)
    assert watch.unmet == {"policy": (seen, remark)}


def test_a_later_policy_that_failed_takes_nothing_from_the_one_in_force() -> None:
    watch = Watch(Wanted(policy_version=3))
    attempts = [{"version": 3, "sha256": "x", "status": "applied"}]
    watch.birth(status="failed", attempts=[*attempts, {"version": 4, "sha256": "y", "status": "failed"}])
    assert watch.verdict.met


def attempt(version: int | None, status: str) -> dict[str, Any]:
    return {"version": version, "sha256": "x", "status": status, "message": "why"}


@pytest.mark.parametrize(
    ("version", "attempts", "seen", "met", "remark"),
    [
        (3, [attempt(3, "applied")], "3 applied", True, ""),
        (4, [attempt(3, "applied"), attempt(4, "applied")], "4 applied", True, ""),
        (4, [attempt(4, "applied"), attempt(2, "failed")], "4 applied", True, ""),
        (4, [attempt(4, "applied"), attempt(None, "failed")], "4 applied", True, ""),
        (4, [attempt(4, "failed"), attempt(4, "applied")], "4 applied", True, ""),
        (3, [attempt(3, "applied"), attempt(4, "failed")], "3 applied", False, "4 failed why"),
        (3, [attempt(3, "applied"), attempt(4, "rolled_back")], "3 applied", False, "4 rolled_back why"),
        (4, [attempt(4, "partial")], "4 partial", False, ""),
        (4, [attempt(4, "probation")], "4 probation", False, ""),
        (2, [attempt(2, "applied")], "2 applied", False, ""),
        (2, [attempt(2, "applied"), attempt(5, "applying")], "2 applied", False, "5 applying why"),
    ],
)
def test_a_policy_or_a_later_one(
    version: int, attempts: list[dict[str, Any]], seen: str, met: bool, remark: str
) -> None:
    watch = Watch(Wanted(policy_at_least=3))
    watch.birth(version=version, attempts=attempts)
    finding = watch.verdict.conditions["policy"]
    assert (finding.met, finding.seen, finding.wanted, finding.remark) == (met, seen, ">=3 applied", remark)


@pytest.mark.parametrize(
    ("path", "made", "replay"),
    [
        ("detections/door", EARLIER, False),
        ("detections/door", LATER, True),
        ("detections/yard", LATER, False),
    ],
)
def test_a_detection_that_is_old_or_replayed_or_anothers_is_not_fresh(
    path: str, made: str, replay: bool
) -> None:
    watch = Watch(Wanted(fresh_detection=True))
    watch.birth()
    watch.hear("telemetry/motor", detections("motor", at=LATER))
    watch.hear(path, detections(at=made), replay=replay)
    assert watch.unmet == {"detection": ("1 of 2 sources", "not heard: door")}
    watch.hear("detections/door", detections(at=BORN))
    assert watch.verdict.met


def test_sources_that_were_not_well_before_need_not_be_heard() -> None:
    before = {str(NODE): Before(session=1, well=frozenset({"motor"}))}
    watch = Watch(Wanted(newer_than=before, fresh_detection=True))
    watch.birth()
    watch.hear("telemetry/motor", detections("motor", at=LATER))
    assert watch.verdict.met


def test_a_source_that_fails_is_named_with_its_code() -> None:
    watch = Watch(Wanted(fresh_detection=True))
    watch.birth()
    health = payloads()["health"]
    health["sources"]["door"] = {"status": "failed", "code": "E_OPEN"}
    watch.hear("health", health)
    watch.hear("telemetry/motor", detections("motor", at=LATER))
    assert watch.unmet == {"detection": ("1 of 2 sources", "not heard: door (failed E_OPEN)")}


@pytest.mark.parametrize(
    ("policy", "heard", "met"),
    [
        ({"sources": {}}, False, True),
        ({"sources": {"door": {"kind": "rtsp", "enabled": False, "model": "m"}}}, False, True),
        ({"sources": {"door": {"kind": "rtsp"}}}, False, True),
        ({"sources": {"door": {"kind": "of-the-future", "model": "m"}}}, False, False),
        (
            {"sources": {"door": {"kind": "rtsp", "model": "m"}}, "publish": {"detections": "changed"}},
            True,
            True,
        ),
        (
            {"sources": {"door": {"kind": "rtsp", "model": "m"}}, "publish": {"detections": "always"}},
            True,
            False,
        ),
        ({"sources": "none of this form"}, False, True),
    ],
)
def test_which_sources_have_to_be_heard(policy: dict[str, Any], heard: bool, met: bool) -> None:
    """`heard`: only by the rate in a heartbeat."""
    watch = Watch(Wanted(fresh_detection=True))
    watch.birth(policy=policy)
    if heard:
        watch.hear("heartbeat", heartbeat(session=2))
    assert watch.verdict.met is met


@pytest.mark.parametrize(
    ("who", "what"), [("sources", "door"), ("stages", "inference-parts")], ids=["source", "model"]
)
def test_a_rate_counts_for_nothing_while_health_says_otherwise(who: str, what: str) -> None:
    """A frame that is being inferred counts in `fps` until the model has failed on it."""
    policy = {
        "sources": {"door": {"kind": "rtsp", "model": "parts"}},
        "publish": {"detections": "changed"},
    }
    watch = Watch(Wanted(fresh_detection=True))
    watch.birth(policy=policy)
    watch.hear("heartbeat", heartbeat(session=1))
    assert watch.unmet.keys() == {"detection"}
    watch.hear("heartbeat", heartbeat(session=2))
    assert watch.verdict.met
    health = payloads()["health"]
    health[who][what] = {"status": "failed", "code": "E_MODEL"}
    watch.hear("health", health)
    assert watch.unmet.keys() == {"detection"}
    health[who][what] = {"status": "ok", "code": None}
    watch.hear("health", health)
    assert watch.verdict.met


def test_losses_and_errors_are_a_share_of_all_that_was_heard() -> None:
    watch = Watch(Wanted(max_error_rate=0.1))
    watch.birth()
    for _ in range(17):
        watch.hear("detections/door", detections(at=LATER))
    watch.hear("loss", {"time": LATER, "count": 1, "reason": "evicted"})
    watch.hear("loss", {"time": EARLIER, "count": 1_000, "reason": "evicted"})
    watch.hear("log", {"time": LATER, "level": "warning", "event": "x"})
    watch.hear("log", {"time": LATER, "level": "error", "event": "x"})
    assert watch.unmet == {"errors": (0.1053, "1 lost, 1 errors, 17 messages heard")}
    watch.hear("detections/door", detections(at=LATER))
    assert watch.verdict.met


def test_temperature_is_the_highest_of_this_session() -> None:
    watch = Watch(Wanted(max_temperature_c=80))
    watch.hear("heartbeat", heartbeat(session=1, cpu=30.0))
    watch.birth()
    assert watch.unmet == {"temperature": (None, "no heartbeat yet")}
    watch.hear("heartbeat", heartbeat(session=2, cpu=60.0, gpu=81.0))
    assert watch.unmet == {"temperature": (81.0, "")}
    watch.hear("heartbeat", heartbeat(session=2))
    assert watch.verdict.met
    assert watch.verdict.conditions["temperature"].remark == "it has no sensor of temperature"


@pytest.mark.parametrize(
    ("worst", "health", "met"), [("ok", "degraded", False), ("degraded", "failed", False)]
)
def test_health_that_is_worse_than_allowed(worst: Any, health: str, met: bool) -> None:
    watch = Watch(Wanted(health=worst))
    watch.birth()
    assert watch.verdict.met
    stages = {"outbox": {"status": health, "code": "E_DISK", "message": "full"}}
    watch.hear("health", payloads()["health"] | {"status": health, "stages": stages})
    assert watch.verdict.met is met
    assert watch.unmet == {"health": (health, f"outbox {health} E_DISK full")}


def test_it_has_to_hold_for_so_long_on_end() -> None:
    watch = Watch(EVERYTHING, steady_s=10)
    watch.wait(1)
    watch.all_is_well()
    watch.wait(0)
    watch.wait(9.9)
    assert watch.unmet == {"steady": (9.9, "")}
    watch.wait(0.1)
    assert watch.verdict.met
    assert watch.verdict.after_s == 11.0
    watch.wait(5)
    assert watch.verdict.after_s == 11.0


def test_a_crash_loop_never_holds() -> None:
    watch = Watch(Wanted(), steady_s=10)
    for session in range(2, 8):
        watch.birth(session=session)
        watch.wait(9)
        assert not watch.verdict.met
    watch.wait(1)
    assert watch.verdict.met


def test_a_crash_between_two_looks_is_seen() -> None:
    watch = Watch(Wanted(), steady_s=10)
    watch.birth(session=2)
    watch.wait(9)
    watch.hear("state", payloads(session=2, state="offline")["state"])
    watch.hear("state", payloads(session=2)["state"])
    watch.wait(9)
    assert watch.unmet == {"steady": (9.0, "")}


def test_who_had_met_it_and_does_not_any_more_has_not_met_it() -> None:
    watch = Watch(Wanted())
    watch.birth()
    watch.wait(1)
    assert watch.verdict.met
    watch.hear("state", payloads(session=2, state="offline")["state"])
    assert list(watch.unmet) == ["online"]
    assert watch.verdict.after_s is None


def test_each_node_is_judged_for_itself_and_others_are_not_listened_to() -> None:
    other = NodeName("plant", "nano-2")
    watch = Watch(Wanted(), nodes=(NODE, other))
    watch.birth()
    stranger = json.dumps(payloads()["state"]).encode()
    watch.gate.take(NodeName("lab", "nano-1"), "state", stranger, {}, now_s=100)
    told = verdicts_as_json(watch.gate.verdicts(101))
    assert told["met"] is False
    assert {name: node["met"] for name, node in told["nodes"].items()} == {
        "plant/nano-1": True,
        "plant/nano-2": False,
    }
    assert told["nodes"]["plant/nano-1"]["conditions"] == {
        "online": {"met": True, "seen": "online", "wanted": "online"}
    }


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b'{"state": "asleep", "session": 1, "time": "x"}', b"\xff", b'{"session": 1}'],
)
def test_what_cannot_be_read_is_as_if_it_had_not_come(payload: bytes) -> None:
    watch = Watch(Wanted())
    watch.birth()
    if payload:
        with pytest.raises(ValueError):  # noqa: PT011 any reader's
            watch.gate.take(NODE, "state", payload, {}, now_s=100)
        assert watch.verdict.met
    else:  # the topic was cleared
        watch.gate.take(NODE, "state", payload, {}, now_s=100)
        assert not watch.verdict.met


def test_what_get_printed_is_read_as_what_was_before() -> None:
    text = json.dumps(
        {
            "nodes": {
                "plant/nano-1": {"state": payloads(session=17)["state"], "health": payloads()["health"]},
                "plant/nano-2": {"state": None, "health": None, "info": None},
            },
            "from_the_future": 1,
        }
    )
    assert read_before(text.encode()) == {
        "plant/nano-1": Before(17, frozenset({"door", "motor"})),
        "plant/nano-2": Before(-1, None),
    }
