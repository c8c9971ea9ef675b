"""Nodes that are killed again and again, and what their outbox held each time."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, Final

from agent.contract.payloads import with_sequence
from tests.brokers import Mosquitto, free_port
from tests.e2e.agent_process import AgentProcess
from tests.e2e.outbox_rows import count_undeclared, given_numbers, waiting_rows
from tests.faults.consumer import Received
from tests.polling import until_blocking

POLICY: Final = """\
v: 1
version: 1
policy:
  sources:
    board: {kind: system, every_s: 0.05, report_every_s: 0.05}
    motor: {kind: vibration, rate_hz: 2000, report_every_s: 0.01, report: all}
    pump: {kind: vibration, report_every_s: 0.01, report: all, seed: 2}
  publish: {heartbeat_s: 1}
"""
"""Sensors alone: no model is loaded, so the process starts as fast, and writes as often, as it can."""

SMALL_OUTBOX: Final = "NANOFLEET_OUTBOX__MAX_BYTES"
_PORT: Final = "NANOFLEET_BROKER__PORT"
_STARTS_WITHIN_S: Final = 60.0
_AWAY: Final = 0.3
"""The share of lives in which the broker cannot be reached, so that the next one has a backlog to drain."""
_AWAY_SMALL: Final = 0.8

Number = tuple[str, int]
"""A stream and a sequence number in it."""


class Victim:
    """One node on a broker that others use as well. Blocking; one thread a victim.

    `small`: its outbox holds the least that Settings allow, so that rows are evicted and losses declared
    while it is being killed.
    """

    def __init__(
        self, folder: Path, *, name: str, broker: Mosquitto, random: Random, small: bool = False
    ) -> None:
        self.name = name
        self.kills: Counter[str] = Counter()
        """By what the process had done when it died."""
        self.connected_after_s: list[float] = []
        """From its start, in the lives that came so far."""
        self._random = random
        self._broker_port = broker.port
        self._nobody = free_port()
        self._log = folder / "agent.log"
        self.agent = AgentProcess(
            folder, identity=broker.authority.issue(name), port=broker.port, policy=POLICY
        )
        if small:
            self.agent.environment[SMALL_OUTBOX] = str(1 << 20)
        self._away = _AWAY_SMALL if small else _AWAY
        self._seen: dict[Number, str] = {}
        self._given: dict[str, int] = {}
        self._starts_in_s = 1.0

    def live_and_die(self) -> None:
        """One life, killed at a random instant, and a look at what it left."""
        self._reach(self._nobody if self._random.random() < self._away else self._broker_port)
        self._log.unlink(missing_ok=True)
        with self.agent:  # killed whatever happens
            self.agent.start()
            self._await_the_moment(time.monotonic())
            assert self.agent.running, f"it ended by itself:\n{self.agent.log}"
            self.agent.kill()
        self.kills[_furthest(self.agent.log)] += 1
        assert "Traceback" not in self.agent.log, self.agent.log
        self._look()

    def drain(self) -> None:
        """A last life that ends in order, once the consumer has everything."""
        self._reach(self._broker_port)
        # It goes on producing: what was given before is what has to be gone.
        given = dict(self._given)
        self._log.unlink(missing_ok=True)
        with self.agent:
            self.agent.start()
            self._until_said("link.connected")
            until_blocking(lambda: self._is_through(given), within_s=120, every_s=0.2)
            assert self.agent.stop() == 0
        self._look()

    def check(self, messages: Iterable[Received]) -> None:
        """What the consumer has, against every look that was taken.

        Raises:
            AssertionError: a number has two contents, or was given and is neither received nor declared lost.
        """
        known: dict[str, set[int]] = {}
        for message in messages:
            content = message.content
            if message.node != self.name or "seq" not in content:
                continue
            known.setdefault(message.stream, set()).add(content["seq"])
            self._compare((message.stream, content["seq"]), content)
            if message.stream == "loss" and content["from"] is not None:
                lost = range(content["from"], content["to"] + 1)
                known.setdefault(content["stream"], set()).update(lost)
        waiting = waiting_rows(self.agent.outbox_file)
        for stream, next_seq in given_numbers(self.agent.outbox_file).items():
            accounted = known.get(stream, set()) | waiting[stream]
            assert accounted == set(range(next_seq)), (
                f"{self.name}, {stream}: of {next_seq} numbers, neither received nor declared lost are "
                f"{sorted(set(range(next_seq)) - accounted)}, never given were {sorted(accounted)[next_seq:]}"
            )

    def _is_through(self, given: dict[str, int]) -> bool:
        """Whether nothing waits of what `given` counts, and what was dropped since is declared.

        A declaration is made of what was dropped up to a second before, and only then waits to be sent.
        """
        if count_undeclared(self.agent.outbox_file):
            return False
        waiting = waiting_rows(self.agent.outbox_file)
        return not waiting.get("loss") and all(
            min(waiting.get(stream, ()), default=next_seq) >= next_seq for stream, next_seq in given.items()
        )

    def _reach(self, port: int) -> None:
        self.agent.environment[_PORT] = str(port)

    def _await_the_moment(self, began: float) -> None:
        """Let the process come to a random point: of its start, of opening the outbox, or of its work."""
        match self._random.choice(["starting", "opening", "working", "working"]):
            case "starting":
                self._pass(self._random.uniform(0, self._starts_in_s))
            case "opening":
                self._until_said("memory.planned")
                self._pass(self._random.uniform(0, 0.02))
            case _:
                self._until_said("agent.started")
                self._starts_in_s = time.monotonic() - began
                if self.agent.environment[_PORT] == str(self._broker_port):
                    self._until_said("link.connected")
                    self.connected_after_s.append(time.monotonic() - began)
                self._pass(self._random.uniform(0, 0.5))

    def _until_said(self, event: str) -> None:
        until_blocking(
            lambda: event in self.agent.log or not self.agent.running,
            within_s=_STARTS_WITHIN_S,
            every_s=0.005,
        )

    def _pass(self, seconds: float) -> None:
        """The point in time is what is random here: nothing is waited for."""
        until = time.monotonic() + seconds
        every_s = min(0.002, max(seconds, 1e-4))
        until_blocking(
            lambda: time.monotonic() >= until, within_s=seconds + _STARTS_WITHIN_S, every_s=every_s
        )

    def _look(self) -> None:
        """At the file of a process that is dead: numbers only grow, and never change their content."""
        if not self.agent.outbox_file.exists():
            return
        with closing(sqlite3.connect(_copy(self.agent.outbox_file))) as outbox:
            accounts = outbox.execute("SELECT id, name, next_seq, acknowledged, lost FROM stream").fetchall()
            epoch = outbox.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()[0]
            rows = outbox.execute("SELECT stream, seq, body FROM message ORDER BY key").fetchall()
        names = {number: name for number, name, *_ in accounts}
        given = {name: next_seq for _, name, next_seq, *_ in accounts}
        assert all(given.get(name, 0) >= old for name, old in self._given.items())
        self._given = given
        waiting: Counter[str] = Counter()
        for stream, seq, body in rows:
            waiting[names[stream]] += 1
            assert seq < given[names[stream]]
            self._compare((names[stream], seq), json.loads(with_sequence(body, epoch=epoch, seq=seq)))
        for _, name, next_seq, acknowledged, lost in accounts:
            assert next_seq == acknowledged + waiting[name] + lost, f"{name}: its account is wrong"

    def _compare(self, number: Number, content: dict[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        assert self._seen.setdefault(number, digest) == digest, f"{number} was given to two messages"


def _copy(outbox_file: Path) -> Path:
    """As it lies there. Some instants leave a file that only a writer can open, and that is not for us."""
    copied = outbox_file.with_name("copy.sqlite3")
    for suffix in ("", "-wal", "-journal"):
        source, target = (Path(f"{file}{suffix}") for file in (outbox_file, copied))
        target.unlink(missing_ok=True)
        if source.exists():
            shutil.copy(source, target)
    return copied


def _furthest(log: str) -> str:
    """What a life had come to."""
    for event, meaning in (
        ("link.connected", "connected"),
        ("agent.started", "started"),
        ("outbox.store_opened", "outbox open"),
        ("memory.planned", "opening the outbox"),
    ):
        if event in log:
            return meaning
    return "starting"
