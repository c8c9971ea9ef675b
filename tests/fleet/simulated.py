"""Nodes that only talk: what an agent would publish, from one connection, for as many nodes as wanted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from agent.contract.policy_text import parse_policy
from agent.contract.reported import as_written, policy_sha256
from agent.contract.yaml_text import read_yaml
from agent.domain.stamp import rfc3339
from tests.brokers import HOST, OPERATOR, PUBLISHER, Identity, Mosquitto

POLICY: Final = """\
v: 1
version: 3
policy:
  models: {parts: {file: parts.onnx}}
  sources:
    door: {kind: synthetic, model: parts, rate_hz: 5}
    motor: {kind: vibration}
"""


def now() -> str:
    return rfc3339(time.time_ns())


def payloads(
    *,
    session: int = 1,
    state: str = "online",
    agent: str = "0.2.0",
    version: int = 3,
    at: str | None = None,
    **more: Any,
) -> dict[str, dict[str, Any]]:
    """What a node has left at the broker, by its path; `more` is put into `config/reported`."""
    policy = parse_policy(read_yaml(POLICY.encode())).policy
    at = at or now()
    return {
        "info": {"v": 1, "agent": agent, "contract": 1, "from_the_future": {"x": 1}},
        "health": {
            "v": 1,
            "time": at,
            "status": "ok",
            "sources": {name: {"status": "ok", "code": None, "since": at} for name in policy.sources},
            "stages": {},
        },
        "config/reported": {
            "v": 1,
            "version": version,
            "desired_sha256": None,
            "effective_sha256": policy_sha256(policy),
            "diverged": False,
            "status": "applied",
            "policy": as_written(policy),
            "sources": {name: {"version": version, "status": "applied"} for name in policy.sources},
            "attempts": [
                {"version": version, "sha256": policy_sha256(policy), "status": "applied", "at": at}
            ],
            **more,
        },
        "state": {"v": 1, "state": state, "session": session, "time": at, "reason": None},
    }


def heartbeat(*, session: int = 1, **celsius: float) -> dict[str, Any]:
    fps = {"door": 5.0, "motor": 0.0}
    return {"v": 1, "time": now(), "session": session, "fps": fps, "temperature_c": celsius}


def detections(source: str = "door", *, at: str | None = None) -> dict[str, Any]:
    return {"v": 1, "source": source, "time": at or now(), "objects": []}


class Talk:
    """Publishes as `PUBLISHER`; every call returns when the broker has it."""

    def __init__(self, broker: Mosquitto) -> None:
        identity = broker.authority.issue(PUBLISHER)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=PUBLISHER, protocol=paho.MQTTv5)
        self._client.tls_set(str(identity.ca), str(identity.certificate), str(identity.key))
        self._client.max_inflight_messages_set(200)
        self._client.connect(HOST, broker.port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, node: str, path: str, content: dict[str, Any] | bytes, *, retain: bool = False) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content)
        self._client.publish(f"edge/v1/{node}/{path}", body, qos=1, retain=retain).wait_for_publish(10)

    def leave(self, nodes: Iterable[str], **about: Any) -> None:
        """What nodes that were born have left, in the order of a birth."""
        sent = [
            self._client.publish(f"edge/v1/{node}/{path}", json.dumps(content), qos=1, retain=True)
            for node in nodes
            for path, content in payloads(**about).items()
        ]
        for each in sent:
            each.wait_for_publish(20)

    @contextmanager
    def chatter(self, nodes: list[str], *, per_s: float, session: int = 1) -> Iterator[None]:
        """Detections, telemetry and now and then a heartbeat of each node, until the block ends."""
        stop = threading.Event()

        def talk() -> None:
            began_s, said = time.monotonic(), 0
            while not stop.is_set():
                node = nodes[said % len(nodes)]
                turn = said // len(nodes)
                source, kind = ("motor", "telemetry") if turn % 2 else ("door", "detections")
                base = f"edge/v1/{node}"
                self._client.publish(f"{base}/{kind}/{source}", json.dumps(detections(source)), qos=1)
                if turn % 5 == 0:
                    beat = json.dumps(heartbeat(session=session, cpu=50.0))
                    self._client.publish(f"{base}/heartbeat", beat)
                said += 1
                stop.wait(max(0.0, began_s + said / (per_s * len(nodes)) - time.monotonic()))

        thread = threading.Thread(target=talk, name="chatter")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def settings_of(folder: Path, broker: Mosquitto, identity: Identity | None = None) -> Path:
    """Settings of an operator, in `folder`."""
    who = identity or broker.authority.issue(OPERATOR)
    file = folder / f"{who.name}.toml"
    file.write_text(
        f'[broker]\nhost = "{HOST}"\nport = {broker.port}\nca_file = "{who.ca}"\n'
        f'cert_file = "{who.certificate}"\nkey_file = "{who.key}"\n'
    )
    return file
