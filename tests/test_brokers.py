"""The broker that other tests stand on: who gets in, who may say what, and that it comes back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import HOST, OPERATOR, Authority, Identity, Mosquitto
from tests.programs import find_program

pytestmark = pytest.mark.broker

NODE = "edge/v1/plant/nano-42"
LAST = f"{NODE}/ack/last"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = find_program(program)
    assert path is not None
    return subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20, check=False)


def publish(
    broker: Mosquitto, identity: Identity, topic: str, payload: str
) -> subprocess.CompletedProcess[str]:
    arguments = broker.client_arguments(identity)
    # -d tells the reason code of the PUBACK.
    return run("mosquitto_pub", *arguments, "-d", "-q", "1", "-r", "-t", topic, "-m", payload)


def read_retained(broker: Mosquitto, identity: Identity, topic: str) -> str:
    """What is retained at `topic`, or "" if there is nothing or it may not be read."""
    # Retained messages come in the order of the subscriptions, so that the one which is always
    # there ends the wait for the one which may not be.
    publish(broker, broker.authority.issue(OPERATOR), LAST, "nothing more")
    arguments = broker.client_arguments(identity)
    topics = ("-t", topic, "-t", LAST)
    read = run("mosquitto_sub", *arguments, "-q", "1", *topics, "-C", "1", "-W", "10").stdout.strip()
    assert read, f"{identity.name} cannot read {LAST}"
    return "" if read == "nothing more" else read


def test_a_node_publishes_its_own_topics_and_the_operator_reads_them(broker: Mosquitto) -> None:
    node, operator = broker.authority.issue("nano-42"), broker.authority.issue(OPERATOR)
    published = publish(broker, node, f"{NODE}/state", "online")
    assert published.returncode == 0, published
    assert read_retained(broker, operator, f"{NODE}/state") == "online"


@pytest.mark.parametrize("topic", ["edge/v1/plant/nano-43/state", f"{NODE}/config/desired", "elsewhere"])
def test_a_node_is_refused_other_topics(broker: Mosquitto, topic: str) -> None:
    node, operator = broker.authority.issue("nano-42"), broker.authority.issue(OPERATOR)
    published = publish(broker, node, topic, "intruder")
    assert "Not authorized" in published.stdout + published.stderr, published
    assert read_retained(broker, operator, topic) == ""


def test_a_node_reads_what_is_addressed_to_it_and_nothing_else(broker: Mosquitto) -> None:
    node, operator = broker.authority.issue("nano-42"), broker.authority.issue(OPERATOR)
    for name in ("nano-42", "nano-43"):
        publish(broker, operator, f"edge/v1/plant/{name}/config/desired", name)
    assert read_retained(broker, node, f"{NODE}/config/desired") == "nano-42"
    assert read_retained(broker, node, "edge/v1/plant/nano-43/config/desired") == ""


def test_the_certificate_names_user_and_client(broker: Mosquitto) -> None:
    node = broker.authority.issue("nano-42")
    arguments = broker.client_arguments(node)
    run("mosquitto_pub", *arguments, "-i", "someone-else", "-t", f"{NODE}/state", "-m", "online")
    assert "as nano-42 (p5" in broker.log, broker.log
    assert "u'nano-42'" in broker.log, broker.log


def test_a_stranger_is_not_let_in(broker: Mosquitto, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "elsewhere").issue("nano-42")
    known = Identity(
        name="nano-42", ca=broker.authority.ca, certificate=stranger.certificate, key=stranger.key
    )
    assert publish(broker, known, f"{NODE}/state", "online").returncode != 0


def test_a_persistent_broker_keeps_its_port_and_what_it_holds(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, persistent=True) as broker:
        node = broker.authority.issue("nano-42")
        port = broker.port
        publish(broker, node, f"{NODE}/state", "online")
        broker.restart()
        assert broker.port == port
        assert read_retained(broker, node, f"{NODE}/state") == "online"


def test_a_killed_broker_comes_back_without_what_it_held(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        node = broker.authority.issue("nano-42")
        publish(broker, node, f"{NODE}/state", "online")
        broker.kill()
        assert not broker.running
        broker.start()
        assert read_retained(broker, node, f"{NODE}/state") == ""
        assert publish(broker, node, f"{NODE}/state", "again").returncode == 0


def test_the_plain_listener_takes_anyone(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, plain=True) as broker:
        published = run(
            "mosquitto_pub",
            *("-V", "mqttv5", "-h", HOST, "-p", str(broker.plain_port), "-q", "1", "-t", "any", "-m", "x"),
        )
        assert published.returncode == 0, published


def test_a_broker_that_cannot_start_tells_why(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, extra=["no_such_option true"])
    with pytest.raises(RuntimeError, match="no_such_option"):
        broker.start()
