"""Policies of nodes: read from files, held against what is reported, and what a node says to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.contract.json_text import read_json
from agent.contract.policy_text import parse_policy
from agent.domain.errors import Code, ConfigError
from agent.fleet.drift import as_json, drift_of
from agent.fleet.key_files import make_key_pair, read_private_key
from agent.fleet.node_names import NodeName
from agent.fleet.policy_answers import Question, foreseen_refusal
from agent.fleet.sighting import Sighting
from agent.fleet.signing import sign, stamped
from agent.fleet.told import ToldConfig
from agent.fleet.wishes import Wish, read_wishes, version_and_hash
from tests.fleet.simulated import POLICY, payloads

NODE = NodeName("plant", "nano-1")
NOW_S = 1_800_000_000.0


def wish_of(folder: Path, text: str = POLICY) -> Wish:
    (folder / "policy.yaml").write_text(text)
    return read_wishes({NODE: folder / "policy.yaml"}, issuer="me", now_s=NOW_S)[NODE]


def reported(**more: Any) -> ToldConfig:
    return ToldConfig.model_validate_json(json.dumps(payloads(**more)["config/reported"]))


def signed(
    folder: Path, *, audience: str = "plant/*", expires_in_s: float = 60, kind: Any = "policy"
) -> Path:
    keys = make_key_pair("ops", folder=folder)
    text = POLICY.encode()
    if kind == "command":
        text = b'{"v": 1, "op": "ping", "id": "1", "args": {}}'
    body = stamped(text, kind=kind, issuer=None, signer="ops", now_s=NOW_S, expires_in_s=expires_in_s)
    file = folder / "policy.jws"
    key = read_private_key(keys.private)
    file.write_text(sign(body, kind=kind, key=key, key_id="ops", audience=[audience]) + "\n")
    return file


def test_a_document_is_sent_dated_and_with_an_issuer(tmp_path: Path) -> None:
    wish = wish_of(tmp_path)
    sent = json.loads(wish.payload)
    assert (sent["v"], sent["version"], sent["issuer"]) == (1, 3, "me")
    assert sent["issued_at"] == "2027-01-15T08:00:00.000Z"
    assert sent["policy"] == wish.policy
    assert parse_policy(read_json(wish.payload)).version == 3


def test_what_a_document_says_of_its_origin_stands(tmp_path: Path) -> None:
    head = "issuer: ops\nissued_at: 2026-01-01T00:00:00Z\n"
    sent = json.loads(wish_of(tmp_path, head + POLICY).payload)
    assert (sent["issuer"], sent["issued_at"]) == ("ops", "2026-01-01T00:00:00Z")


def test_a_document_whose_first_key_begins_with_e_is_not_taken_for_signed(tmp_path: Path) -> None:
    assert wish_of(tmp_path, "expires_at: 2030-01-01T00:00:00Z\n" + POLICY).version == 3


def test_what_was_signed_is_sent_as_it_is(tmp_path: Path) -> None:
    file = signed(tmp_path)
    wish = read_wishes({NODE: file}, issuer="me", now_s=NOW_S)[NODE]
    assert wish.payload == file.read_bytes().strip()
    assert (wish.version, wish.sha256) == (3, wish_of(tmp_path).sha256)


@pytest.mark.parametrize(
    ("about", "code", "says"),
    [
        ({"audience": "lab/*"}, Code.SIGNATURE, "signed for lab/., and not for plant/nano-1"),
        ({"expires_in_s": -1}, Code.EXPIRED, "it expired at"),
        ({"kind": "command"}, Code.SIGNATURE, "which is no policy"),
    ],
)
def test_what_was_signed_for_another_end_is_refused(
    tmp_path: Path, about: dict[str, Any], code: Code, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        read_wishes({NODE: signed(tmp_path, **about)}, issuer="me", now_s=NOW_S)
    assert caught.value.code is code


@pytest.mark.parametrize(
    "text", ["", "policy: {}", "version: 3\npolicy: {sources: {door: {kind: nix}}}", "e.y.z"]
)
def test_a_document_that_no_node_would_take_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"policy\.yaml"):
        wish_of(tmp_path, text)


def test_no_drift_where_a_node_runs_what_it_should(tmp_path: Path) -> None:
    drift = drift_of(wish_of(tmp_path), reported())
    assert not drift.is_drift
    assert as_json(drift)["differences"] == []


def test_differences_are_told_by_pointer_with_both_values(tmp_path: Path) -> None:
    changed = POLICY.replace("rate_hz: 5", "rate_hz: 8, fps: 2").replace(
        "  sources:", "  publish: {window: 5}\n  sources:"
    )
    told = as_json(drift_of(wish_of(tmp_path, changed), reported()))
    assert told["drift"] is True
    assert told["differences"] == [
        {"path": "/publish", "wanted": {"window": 5}, "reported": None},
        {"path": "/sources/door/fps", "wanted": 2.0, "reported": None},
        {"path": "/sources/door/rate_hz", "wanted": 8.0, "reported": 5.0},
    ]
    assert told["wanted"]["publish"] == {"window": 5}
    assert "publish" not in told["reported"]


@pytest.mark.parametrize(
    "about",
    [
        {"version": 4},
        {"diverged": True},
        {"effective_sha256": "0" * 64},
        {"attempts": [{"version": 3, "sha256": "x", "status": "partial"}]},
    ],
)
def test_drift_without_a_difference(tmp_path: Path, about: dict[str, Any]) -> None:
    drift = drift_of(wish_of(tmp_path), reported(**about))
    assert drift.is_drift
    assert drift.differences == ()


def test_a_node_that_reports_nothing_has_drifted(tmp_path: Path) -> None:
    told = as_json(drift_of(wish_of(tmp_path), None))
    assert (told["drift"], told["reported_version"], told["reported"]) == (True, None, None)


def test_a_source_that_waits_is_told_and_is_no_drift(tmp_path: Path) -> None:
    sources = {"door": {"version": 3, "status": "waiting", "code": "E_OPEN"}}
    drift = drift_of(wish_of(tmp_path), reported(sources=sources))
    assert not drift.is_drift
    assert as_json(drift)["sources"] == sources


class Asked:
    """A node that was asked to run a policy while it reported `before`."""

    def __init__(self, folder: Path, before: ToldConfig | None) -> None:
        self.wish = wish_of(folder)
        self.question = Question(self.wish, before, asked_s=10.0)

    def attempt(self, status: str, **about: Any) -> dict[str, Any]:
        return {"version": 3, "sha256": self.wish.sha256, "status": status, "at": "t1", **about}

    def status(self, config: ToldConfig | None, *, now_s: float = 11.0) -> str | None:
        answer = self.question.answer(config, now_s=now_s)
        return None if answer is None else answer.status


def old(*attempts: dict[str, Any]) -> ToldConfig:
    return reported(version=2, effective_sha256="0" * 64, attempts=list(attempts))


def test_the_last_word_is_waited_for(tmp_path: Path) -> None:
    asked = Asked(tmp_path, old())
    assert not asked.question.was_in_force
    assert asked.status(None) is None
    assert asked.status(old()) is None
    assert asked.status(old(asked.attempt("applying"))) is None
    assert asked.status(old(asked.attempt("probation"))) is None
    assert asked.status(reported()) == "applied"


def test_a_refusal_is_told_with_its_code(tmp_path: Path) -> None:
    asked = Asked(tmp_path, old())
    failed = old(asked.attempt("failed", code="E_FILE", path="/policy", message="no file"))
    answer = asked.question.answer(failed, now_s=11)
    assert answer is not None
    assert (answer.status, answer.code, answer.path, answer.message) == (
        "failed",
        "E_FILE",
        "/policy",
        "no file",
    )


def test_a_refusal_of_the_same_document_before_counts_after_a_while(tmp_path: Path) -> None:
    asked = Asked(tmp_path, None)
    asked.question.before = old(asked.attempt("failed", code="E_SPACE"))
    assert asked.status(asked.question.before, now_s=12.9) is None
    assert asked.status(asked.question.before, now_s=13.1) == "failed"
    assert asked.status(old(asked.attempt("failed", at="t2")), now_s=10.1) == "failed"


def test_a_refusal_of_another_document_with_this_version_is_no_answer(tmp_path: Path) -> None:
    asked = Asked(tmp_path, old())
    assert asked.status(old(asked.attempt("failed", sha256="f" * 64))) is None


def test_a_node_that_could_not_read_it_names_it_by_all_of_it(tmp_path: Path) -> None:
    import hashlib

    asked = Asked(tmp_path, old())
    sha256 = hashlib.sha256(asked.wish.payload).hexdigest()
    refused = old(asked.attempt("failed", version=None, sha256=sha256, code="E_SIGNATURE"))
    assert asked.status(refused) == "failed"


def test_what_was_in_force_already_is_told_at_once(tmp_path: Path) -> None:
    asked = Asked(tmp_path, reported())
    assert asked.question.was_in_force
    assert asked.status(reported(), now_s=10.0) == "applied"


def test_a_partial_policy_names_the_sources(tmp_path: Path) -> None:
    asked = Asked(tmp_path, old())
    mixture = reported(
        effective_sha256="1" * 64,
        status="partial",
        attempts=[asked.attempt("partial")],
        sources={"door": {"version": 2, "status": "rolled_back", "code": "E_PROBE"}},
    )
    answer = asked.question.answer(mixture, now_s=11)
    assert answer is not None
    assert (answer.status, dict(answer.sources)) == ("partial", {"door": "rolled_back E_PROBE"})


def test_why_there_is_no_answer_is_told(tmp_path: Path) -> None:
    asked = Asked(tmp_path, None)
    silent, online = Sighting(), Sighting()
    for path, content in payloads(state="offline").items():
        silent.take(path, json.dumps(content).encode(), {})
    for path, content in payloads(version=9).items():
        online.take(path, json.dumps(content).encode(), {})
    assert asked.question.none_yet(Sighting()).message == "nothing was ever heard of it"
    assert asked.question.none_yet(silent).message.startswith("it is offline")
    assert asked.question.none_yet(online).message == "version 9, which is newer, is in force"


def test_version_below_the_one_in_force_is_refused_as_long_as_the_floor_is_known(tmp_path: Path) -> None:
    wish = wish_of(tmp_path)
    refusal = foreseen_refusal(wish, reported(version=4))
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.path) == ("refused", "E_STALE", "/version")
    assert refusal.message == "version 3 is below 4, which is in force: raise it with each change"
    # `nanofleet policy reset` has forgotten the attempts, and the floor with them.
    assert foreseen_refusal(wish, reported(version=4, attempts=[])) is None
    later = {"version": 5, "sha256": "x", "status": "failed"}
    assert foreseen_refusal(wish, reported(version=4, attempts=[later])) is None
    assert foreseen_refusal(wish, None) is None


def test_version_in_force_with_other_content_is_refused(tmp_path: Path) -> None:
    wish = wish_of(tmp_path)
    refusal = foreseen_refusal(wish, reported(effective_sha256="0" * 64, attempts=[]))
    assert refusal is not None
    assert refusal.code == "E_CONFLICT"
    partial = {"version": 3, "sha256": wish.sha256, "status": "partial"}
    assert foreseen_refusal(wish, reported(effective_sha256="0" * 64, attempts=[partial])) is None


def test_what_is_in_force_and_what_is_newer_may_be_sent(tmp_path: Path) -> None:
    wish = wish_of(tmp_path)
    assert foreseen_refusal(wish, reported()) is None
    assert foreseen_refusal(wish, reported(version=2)) is None


def test_other_document_on_config_desired_is_drift(tmp_path: Path) -> None:
    wish = wish_of(tmp_path)
    for desired, is_other in (
        (None, False),
        (wish_of(tmp_path).payload, False),
        (signed(tmp_path).read_bytes().strip(), False),
        (wish_of(tmp_path, POLICY.replace("version: 3", "version: 2")).payload, True),
        (wish_of(tmp_path, POLICY.replace("rate_hz: 5", "rate_hz: 8")).payload, True),
        (b"{nonsense", True),
        (b"e.", True),
    ):
        drift = drift_of(wish, reported(), desired)
        assert (drift.is_drift, drift.other_desired) == (is_other, is_other), desired
        assert as_json(drift)["other_desired"] is is_other
    assert version_and_hash(b"e") is None


def test_drift_says_what_would_be_refused(tmp_path: Path) -> None:
    told = as_json(drift_of(wish_of(tmp_path), reported(version=4)))
    assert told["refusal"]["code"] == "E_STALE"
    assert as_json(drift_of(wish_of(tmp_path), reported(version=2)))["refusal"] is None
