"""A node that takes only what is signed, on a real broker: what `mosquitto_pub` brings it, and what not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from tests.brokers import PUBLISHER, Mosquitto
from tests.e2e.agent_process import SITE, AgentProcess, command
from tests.e2e.subscriber import Subscriber
from tests.faults.clocks import kernel_says
from tests.polling import until_blocking
from tests.programs import find_program

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(120)]

NODE: Final = "nano-1"
POLICY: Final = """\
v: 1
version: {version}
policy:
  sources:
    board: {{kind: system, every_s: 1}}
  publish: {{heartbeat_s: {heartbeat_s}}}
"""


@dataclass
class Site:
    """A broker, a key that the node trusts and one that it does not, and what the node says."""

    folder: Path
    broker: Mosquitto
    subscriber: Subscriber

    def sign(
        self, version: int, *, key: str = "ops", audience: str = f"{SITE}/{NODE}", heartbeat_s: int = 2
    ) -> Path:
        document, signed = (self.folder / f"{version}.yaml", self.folder / f"{version}.jws")
        document.write_text(POLICY.format(version=version, heartbeat_s=heartbeat_s))
        words = ("--key", str(self.folder / f"{key}.key"), "--kid", "ops", "--kind", "policy")
        done = command("fleet", "sign", *words, "--for", audience, "--out", signed, document)
        assert done.returncode == 0, done.stderr
        return signed

    def publish(self, file: Path, topic: str = "config/desired") -> None:
        program = find_program("mosquitto_pub")
        assert program is not None
        arguments = self.broker.client_arguments(self.broker.authority.issue(PUBLISHER))
        retained = ["-r"] if topic == "config/desired" else []
        words = [program, *arguments, "-q", "1", *retained]
        words += ["-t", f"edge/v1/{SITE}/{NODE}/{topic}", "-f", str(file)]
        subprocess.run(words, check=True, timeout=20)

    def command(self, op: str, command_id: str, *, key: str | None, **args: Any) -> dict[str, Any]:
        """Send it, signed by that key or by none; its last word."""
        file = self.folder / f"{command_id}.json"
        file.write_text(json.dumps({"v": 1, "op": op, "id": command_id, "args": args, "issuer": key or "x"}))
        if key is not None:
            words = ("--key", self.folder / f"{key}.key", "--kind", "command", "--for", f"{SITE}/{NODE}")
            signed = file.with_suffix(".jws")
            done = command("fleet", "sign", *words, "--expires-in", "60", "--out", signed, file)
            assert done.returncode == 0, done.stderr
            file = signed
        self.publish(file, f"command/{op}/{command_id}")

        def ended() -> list[dict[str, Any]]:
            told = self.subscriber.of(f"result/{op}/{command_id}")
            return [each for each in told if each["status"] not in {"accepted", "running"}]

        until_blocking(lambda: bool(ended()), within_s=30)
        return ended()[-1]

    def reported(self) -> dict[str, Any]:
        """The last word on the policy."""
        return (self.subscriber.of("config/reported") or [{}])[-1]

    def has_refused(self, code: str, says: str) -> bool:
        """Whether an attempt failed with this code, and a sentence that says so."""
        return any(
            attempt["status"] == "failed" and attempt["code"] == code and says in attempt["message"]
            for attempt in self.reported().get("attempts", ())
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    for name in ("ops", "thief", "desk", "chief"):
        assert command("fleet", "keygen", name, "--out", tmp_path).returncode == 0
    broker = Mosquitto(tmp_path)
    with broker, Subscriber(tmp_path, broker) as subscriber:
        yield Site(tmp_path, broker, subscriber)


def agent(site: Site, *, synced: bool) -> AgentProcess:
    control = "[control]\nrequire_signed = true\n" + "".join(
        f'[control.keys.{name}]\npublic_key_file = "{site.folder}/{name}.pub"\nroles = {roles}\n'
        for name, roles in (
            ("ops", '["policy"]'),
            ("desk", '["command"]'),
            ("chief", '["policy", "command"]'),
        )
    )
    return AgentProcess(
        site.folder / "node",
        identity=site.broker.authority.issue(NODE),
        port=site.broker.port,
        policy=POLICY.format(version=1, heartbeat_s=1),
        extra_settings=control,
        environment=kernel_says(synced=synced),
    )


def test_a_node_follows_its_operators_signature_and_nobody_elses(site: Site) -> None:
    with agent(site, synced=True).start() as node:
        until_blocking(lambda: site.reported().get("version") == 1, within_s=30)

        unsigned = site.folder / "unsigned.json"
        unsigned.write_text('{"v": 1, "version": 5, "policy": {}}')
        for file, says in (
            (unsigned, "only if it is signed"),
            (site.sign(6, key="thief"), "the signature is not key ops's"),
            (site.sign(7, audience=f"{SITE}/nano-2"), "it was signed for plant/nano-2"),
        ):
            site.publish(file)
            until_blocking(partial(site.has_refused, "E_SIGNATURE", says), within_s=20)
            assert site.reported()["version"] == 1

        site.publish(site.sign(8))
        until_blocking(lambda: site.reported()["version"] == 8, within_s=30)
        assert node.stop() == 0


def test_a_node_does_what_a_key_for_commands_asks_but_for_changing_its_policy(site: Site) -> None:
    with agent(site, synced=True).start() as node:
        until_blocking(lambda: site.reported().get("version") == 1, within_s=30)
        change = {"version": 5, "patch": {"publish": {"heartbeat_s": 3}}}

        def word(op: str, command_id: str, key: str | None, **args: Any) -> tuple[str, str | None]:
            told = site.command(op, command_id, key=key, **args)
            return told["status"], told["code"]

        assert word("ping", "unsigned", None) == ("rejected", "E_SIGNATURE")
        assert word("ping", "desk", "desk") == ("done", None)
        assert word("ping", "ops", "ops") == ("rejected", "E_AUTH")
        assert word("patch-config", "desk-patch", "desk", **change) == ("rejected", "E_AUTH")
        assert site.reported()["version"] == 1

        assert word("patch-config", "chief-patch", "chief", **change) == ("done", None)
        until_blocking(lambda: site.reported()["version"] == 5, within_s=30)
        assert node.stop() == 0
        kept = json.loads((node.state / "policy-state.json").read_text())
        assert kept["document"]["issuer"] == "patch-config by chief"


def test_a_node_that_does_not_know_the_time_says_so(site: Site) -> None:
    with agent(site, synced=False).start() as node:
        until_blocking(lambda: site.reported().get("version") == 1, within_s=30)
        site.publish(site.sign(8))
        until_blocking(partial(site.has_refused, "E_CLOCK", "does not know the time"), within_s=20)
        assert site.reported()["version"] == 1
        assert node.stop() == 0
