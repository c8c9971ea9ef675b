"""What happens to a node's session in the field: certificates renewed, a name used twice, no time at boot."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.adapters.system.time_floor import FLOOR_FILE
from tests.brokers import HOST, OPERATOR, Authority, Identity, Mosquitto
from tests.e2e.agent_process import AgentProcess
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(120)]

POLICY = """\
v: 1
version: 1
policy:
  sources:
    board: {kind: system, every_s: 0.1, report_every_s: 0.1}
"""
BASE = "edge/v1/plant/nano-42"
AT_1970 = ("faketime", "-f", "@1970-01-01 00:01:00")
ENVIRONMENT = {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def broker(tmp_path: Path, authority: Authority) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, authority=authority) as broker:
        yield broker


def agent_of(folder: Path, identity: Identity, port: int, **settings: object) -> AgentProcess:
    return AgentProcess(folder, identity=identity, port=port, policy=POLICY, **settings)  # type: ignore[arg-type]


def said(agent: AgentProcess, event: str) -> list[dict[str, object]]:
    return [line for line in agent.events if line["event"] == event]


def connects(broker: Mosquitto) -> list[int]:
    """When, in seconds since 1970, somebody came in as the node."""
    return [
        int(at) for at in re.findall(r"^(\d+): New client connected .* as nano-42 ", broker.log, re.MULTILINE)
    ]


def retained(broker: Mosquitto, topic: str) -> dict[str, object]:
    operator = broker.client_arguments(broker.authority.issue(OPERATOR))
    words = ["mosquitto_sub", *operator, "-t", f"{BASE}/{topic}", "-C", "1", "-W", "5"]
    found: dict[str, object] = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    return found


def test_the_session_moves_to_a_renewed_certificate_without_a_gap(tmp_path: Path, broker: Mosquitto) -> None:
    identity = broker.authority.issue("nano-42").copied_to(tmp_path / "own")
    operator = broker.client_arguments(broker.authority.issue(OPERATOR))
    words = ["mosquitto_sub", *operator, "-t", f"{BASE}/state", "-t", f"{BASE}/telemetry/#", "-F", "%t %p"]
    with (
        agent_of(tmp_path / "node", identity, broker.port).start() as agent,
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as listener,
    ):
        until_blocking(lambda: len(said(agent, "link.connected")) == 1, within_s=30)
        broker.authority.issue("nano-42").write_over(identity)
        until_blocking(lambda: len(said(agent, "link.connected")) == 2, within_s=30)
        assert [line["cause"] for line in said(agent, "link.moving")] == ["renewal"]
        assert said(agent, "link.lost") == []
        # Broken afterwards: the pair in memory goes on, and health says what is wrong.
        identity.key.write_text("broken")

        def told() -> bool:
            stages = retained(broker, "health")["stages"]
            assert isinstance(stages, dict)
            return "node.key does not hold a private key" in str(stages.get("certificate", {}).get("message"))

        until_blocking(told, within_s=30, every_s=0.5)
        broker.restart()
        until_blocking(lambda: len(said(agent, "link.connected")) == 3, within_s=30)
        assert agent.stop() == 0
        listener.terminate()
        heard = [line.split(" ", 1) for line in (listener.stdout or [])]
    before_restart = [json.loads(payload) for topic, payload in heard if topic == f"{BASE}/state"]
    states = [(state["state"], state["session"]) for state in before_restart]
    assert ("offline", 1) not in states
    assert ("online", 2) in states
    seqs = [json.loads(payload)["seq"] for topic, payload in heard if topic != f"{BASE}/state"]
    assert len(seqs) == len(set(seqs))
    assert agent.report().messages.lost == 0


def test_two_with_one_name_do_not_take_turns_and_both_tell(tmp_path: Path, broker: Mosquitto) -> None:
    identity = broker.authority.issue("nano-42")
    with (
        agent_of(tmp_path / "one", identity, broker.port).start() as one,
        agent_of(tmp_path / "two", identity, broker.port) as two,
    ):
        until_blocking(lambda: bool(said(one, "link.connected")), within_s=30)
        two.start()

        def has_backed_off() -> bool:
            ends = [*said(one, "link.lost"), *said(two, "link.lost")]
            return any(end["cause"] == "taken-over" and float(str(end["retry_in_s"])) >= 60 for end in ends)

        until_blocking(has_backed_off, within_s=40)
        count = len(connects(broker))
        assert count <= 6
        quiet_until = time.monotonic() + 15
        until_blocking(lambda: time.monotonic() > quiet_until, within_s=20, every_s=0.5)
        assert len(connects(broker)) == count
        stages = retained(broker, "health")["stages"]
        assert isinstance(stages, dict)
        assert stages["name"]["status"] == "degraded"
        assert "look for a second agent with this node's certificate" in stages["name"]["message"]
        for agent in (one, two):
            assert agent.stop() == 0


def test_a_node_that_comes_back_takes_over_its_own_session_and_is_no_rival(
    tmp_path: Path, broker: Mosquitto
) -> None:
    identity = broker.authority.issue("nano-42")
    with agent_of(tmp_path / "node", identity, broker.port).start() as agent:
        for round_ in (1, 2, 3):
            until_blocking(lambda n=round_: len(said(agent, "link.connected")) == n, within_s=30)  # type: ignore[misc]
            if round_ < 3:
                agent.kill()
                agent.start()
        until_blocking(lambda: retained(broker, "state")["state"] == "online", within_s=10, every_s=0.2)
        stages = retained(broker, "health")["stages"]
        assert isinstance(stages, dict)
        assert "name" not in stages
        assert agent.stop() == 0
    assert "taken-over" not in agent.log


# --- time -------------------------------------------------------------------------------------------


@pytest.mark.faketime
@pytest.mark.parametrize("when", ["1970", "a day ahead", "a day behind"])
def test_a_node_whose_clock_is_wrong_has_its_session(tmp_path: Path, broker: Mosquitto, when: str) -> None:
    identity = broker.authority.issue("nano-42")
    wrapper = {
        "1970": AT_1970,
        "a day ahead": ("faketime", "-f", "+1d"),
        "a day behind": ("faketime", "-f", "-1d"),
    }
    agent = agent_of(tmp_path / "node", identity, broker.port, wrapper=wrapper[when], environment=ENVIRONMENT)
    with agent.start():
        until_blocking(lambda: bool(said(agent, "link.connected")), within_s=30)
        if when == "1970":
            stages = retained(broker, "health")["stages"]
            assert isinstance(stages, dict)
            assert "clock is not set: it says 1970-01-01" in stages["clock"]["message"]
        agent.stop()
    assert not (tmp_path / "node" / "state" / FLOOR_FILE).exists() or when != "1970"


@pytest.mark.faketime
@pytest.mark.parametrize("wrong", ["ended before the floor", "host"])
def test_a_node_without_time_still_refuses_what_is_wrong(
    tmp_path: Path, authority: Authority, wrong: str
) -> None:
    now = datetime.now(tz=UTC)
    with Mosquitto(tmp_path, authority=authority) as broker:
        if wrong == "host":
            authority.issue("broker", "elsewhere.example")
        else:
            authority.issue("broker", HOST, not_after=now + timedelta(days=1))
        broker.restart()
        agent = agent_of(
            tmp_path / "node",
            authority.issue("nano-42"),
            broker.port,
            wrapper=AT_1970,
            environment=ENVIRONMENT,
        )
        (agent.state / FLOOR_FILE).write_text((now + timedelta(days=2)).isoformat(timespec="seconds"))
        with agent.start():
            until_blocking(lambda: len(said(agent, "link.attempt_failed")) >= 2, within_s=30)
            agent.stop()
        sentences = {str(line["message"]) for line in said(agent, "link.attempt_failed")}
        expected = "host name mismatch" if wrong == "host" else "is expired since"
        assert all(expected in sentence for sentence in sentences), sentences
        assert connects(broker) == []
