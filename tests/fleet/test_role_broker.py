"""The role `broker`: who may do what by its access list, asked of a real mosquitto."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

import pytest

from tests.brokers import UPWARD
from tests.fleet.role_broker import RoleBroker, connected, names, variables
from tests.fleet.roles import render

pytestmark = [pytest.mark.ansible, pytest.mark.broker]

NOT_AUTHORIZED = 0x87
NODE, OTHER, GONE = "edge/v1/plant/nano-1", "edge/v1/plant/nano-2", "edge/v1/plant/nano-9"
CLIENTS = [
    {"name": "controller", "access": "operate"},
    {"name": "dashboard", "access": "read"},
    {"name": "historian", "access": "store"},
]
UP = [
    *("detections/door", "telemetry/motor", "events/crowd", "snapshots/door", "result/ping/1", "loss"),
    *("alarms/crowd", "state", "health", "info", "config/reported", "heartbeat", "log"),
]
OPERATED = ["config/desired", "command/ping/1"]
ACKS = ["ack/detections/door", "ack/result"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleBroker]:
    with RoleBroker(
        tmp_path_factory.mktemp("broker"),
        nanofleet_broker_clients=CLIENTS,
        __nanofleet_broker_admitted=names("nano-1", "nano-2"),
        __nanofleet_broker_gone=names("nano-9"),
    ) as broker:
        yield broker


def below(base: str, *paths: list[str]) -> list[str]:
    return [f"{base}/{path}" for path in chain(*paths)]


def refused(broker: RoleBroker, name: str, topics: list[str], *, websocket: bool = False) -> set[str]:
    """Those of `topics` that this one may not write."""
    port = broker.websocket_port if websocket else broker.port
    with connected(broker.authority.issue(name), port, websocket=websocket) as client:
        return {topic for topic in topics if client.publish(topic) == NOT_AUTHORIZED}


def heard(broker: RoleBroker, name: str, written: dict[str, list[str]], *, last: str) -> set[str]:
    """What this one hears, who asks for everything, of the topics that others write; `last` it may hear."""
    with connected(broker.authority.issue(name), broker.port) as client:
        client.subscribe("#")
        for writer, topics in {**written, "controller": [*written.get("controller", []), last]}.items():
            assert refused(broker, writer, topics) == set()
        # What one is sent comes in the order in which the broker took it.
        client.wait_for(last)
        return set(client.received) - {last}


def test_the_role_lets_through_what_the_contract_has() -> None:
    assert {re.sub(r"/\+.*", "/#", topic) for topic in variables()["__nanofleet_broker_upward"]} == set(
        UPWARD
    )


def test_a_node_writes_its_own_upward_topics_and_nothing_else(broker: RoleBroker) -> None:
    assert refused(broker, "nano-1", below(NODE, UP)) == set()
    others = [
        *below(OTHER, UP, OPERATED, ACKS),
        *below(NODE, OPERATED, ACKS, ["detections", "detections/door/more", "anything"]),
        *("edge/v1/elsewhere/nano-1/state", NODE, "elsewhere", "$SYS/broker/version"),
    ]
    assert refused(broker, "nano-1", others) == set(others)


def test_a_node_reads_what_is_addressed_to_it_and_its_own_state(broker: RoleBroker) -> None:
    written = {
        "nano-2": below(OTHER, UP),
        "historian": below(OTHER, ACKS) + below(NODE, ACKS),
        "controller": below(OTHER, OPERATED) + below(NODE, OPERATED),
    }
    found = heard(broker, "nano-1", written, last=f"{NODE}/command/last/1")
    assert found == set(below(NODE, OPERATED, ACKS))
    with connected(broker.authority.issue("nano-1"), broker.port) as client:
        client.subscribe("#")
        client.publish(f"{NODE}/health")
        client.publish(f"{NODE}/state")
        client.wait_for(f"{NODE}/state")
        assert f"{NODE}/health" not in client.received


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("dashboard", set()),
        ("historian", {*below(NODE, ACKS), *below(OTHER, ACKS), *below(GONE, ACKS)}),
        ("controller", {*below(NODE, OPERATED), *below(OTHER, OPERATED), *below(GONE, UP, OPERATED, ACKS)}),
    ],
)
def test_a_client_reads_all_and_writes_by_its_access(broker: RoleBroker, name: str, may: set[str]) -> None:
    every = [topic for base in (NODE, OTHER, GONE) for topic in below(base, UP, OPERATED, ACKS)]
    assert set(every) - refused(broker, name, every) == may
    if name != "controller":
        found = heard(broker, name, {"nano-1": below(NODE, UP)}, last=f"{NODE}/command/last/1")
        assert found >= set(below(NODE, UP))


def test_who_is_not_named_may_do_nothing(broker: RoleBroker) -> None:
    every = below(NODE, UP, OPERATED, ACKS)
    assert refused(broker, "nano-7", every) == set(every)


def test_a_websocket_gives_the_same_rights(broker: RoleBroker) -> None:
    assert refused(broker, "controller", below(NODE, OPERATED), websocket=True) == set()
    assert refused(broker, "dashboard", below(NODE, UP, OPERATED), websocket=True) == set(
        below(NODE, UP, OPERATED)
    )


def test_without_a_port_there_is_no_websocket() -> None:
    text = render("broker", "nanofleet.conf.j2", variables(nanofleet_broker_websocket_port=0))
    assert "websockets" not in text
    assert text.count("\nlistener ") == 1


def test_a_revocation_list_never_stands_in_a_websocket_listener() -> None:
    """See test_mosquitto_canaries.py: mosquitto would free that listener's TLS context and go on using it."""
    _before, after = render("broker", "nanofleet.conf.j2", variables()).split("protocol websockets")
    assert "crlfile" not in after


def test_who_tries_the_broker_may_write_its_one_topic_alone(broker: RoleBroker) -> None:
    own = variables()["__nanofleet_broker_verify_topic"]
    forbidden = [*below(NODE, UP, OPERATED, ACKS), "edge/v1/verify/verify/command/ping/other"]
    assert refused(broker, "verify", [own, *forbidden]) == set(forbidden)
