"""What takes turns with what, and what must be true of a run before it counts."""

import dataclasses
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from agent.contract.topics import Topics
from benchmarks.delivery.broker import CountingBroker
from benchmarks.delivery.paced import metronome
from benchmarks.delivery.processes import run_subject
from benchmarks.delivery.tasks import (
    BODY,
    ROWS_OF,
    SITE,
    Drained,
    DrainTask,
    Filled,
    FillTask,
    Kind,
    Paced,
    PaceTask,
    Place,
    SendTask,
    Sent,
)

Sender = Literal["paho", "bulk", "strict", "mosquitto_pub"]

APPENDS_HZ: Final = 300.0
"""Strict messages a second while append is timed: about as many as the disk can sync one by one."""

MESSAGES_HZ: Final = 30.0
"""One camera's worth, for the latency."""

_RUN_S: Final = 600.0
_BESIDE: Final = 32
"""Messages that a node sends beside its rows: its state, and a few again that it sent twice."""

_FILL_S: Final = 7_200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRound:
    """Messages a second of each sender, their processor time a message, and what steady rates showed."""

    rates_hz: Mapping[Sender, float]
    cpu_us: Mapping[Sender, float]
    append: Paced
    bulk: Paced
    strict: Paced


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogRun:
    """`first` delivered half of it and was killed, `second` found the file like that."""

    filled: Filled
    first: Drained
    second: Drained


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryBench:
    """What all rounds have in common. `begin` hears what is measured next."""

    broker: CountingBroker
    folder: Path
    messages: int
    seconds: float
    begin: Callable[[str], None]

    STEPS = 7

    def round(self, number: int) -> DeliveryRound:
        """Measure everything once. Every second round goes backwards, so that a steady drift cancels out.

        Raises:
            RuntimeError: something was not delivered, or did not work; then there are no figures.
        """
        rates_hz: dict[Sender, float] = {}
        cpu_us: dict[Sender, float] = {}
        paced: dict[str, Paced] = {}

        def send(sender: Sender) -> None:
            sent = self._send(sender, self._place(f"{number}-{sender}"))
            rates_hz[sender] = self.messages / sent.took_s
            if sent.cpu_s is not None:
                cpu_us[sender] = sent.cpu_s * 1e6 / self.messages

        def pace(name: str, kind: Kind, rate_hz: float) -> None:
            paced[name] = self._pace(kind, rate_hz, self._place(f"{number}-{name}"))

        steps: list[tuple[str, Callable[[], None]]] = [
            ("paho alone", lambda: send("paho")),
            ("bulk", lambda: send("bulk")),
            ("strict", lambda: send("strict")),
            ("mosquitto_pub -l", lambda: send("mosquitto_pub")),
            ("appending strictly at a steady rate", lambda: pace("append", "strict", APPENDS_HZ)),
            ("latency, bulk", lambda: pace("bulk-latency", "bulk", MESSAGES_HZ)),
            ("latency, strict", lambda: pace("strict-latency", "strict", MESSAGES_HZ)),
        ]
        for what, measure in steps if number % 2 == 0 else reversed(steps):
            self.begin(f"round {number + 1}: {what}")
            measure()
        return DeliveryRound(
            rates_hz=rates_hz,
            cpu_us=cpu_us,
            append=paced["append"],
            bulk=paced["bulk-latency"],
            strict=paced["strict-latency"],
        )

    def backlog(self, rows: int) -> BacklogRun:
        """Let `rows` wait, then start twice. Raises: RuntimeError (as `round`)."""
        place = self._place("backlog")
        self.begin(f"storing {rows} rows")
        filled = run_subject(
            "benchmarks.delivery.fill", FillTask(place=place, rows=rows), Filled, within_s=_FILL_S
        )
        self.begin("starting with a backlog")
        first = self._drain(place, most=rows // 2)
        self.begin("starting with a backlog after kill -9")
        second = self._drain(place, most=None)
        if filled.rows != rows or second.waiting or second.lacking:
            raise RuntimeError(
                f"{filled.rows} of {rows} rows were stored; at the end {second.waiting} are waiting and "
                f"{second.lacking} are lacking"
            )
        return BacklogRun(filled=filled, first=first, second=second)

    def _drain(self, place: Place, *, most: int | None) -> Drained:
        task = DrainTask(place=place, spawned_ns=time.monotonic_ns(), most=most)
        return run_subject("benchmarks.delivery.drain", task, Drained, within_s=_FILL_S)

    def _send(self, sender: Sender, place: Place) -> Sent:
        before = self.broker.received()
        sent = self._run(sender, place)
        arrived = self.broker.await_received(before + self.messages) - before
        if sent.acknowledged != self.messages or not 0 <= arrived - self.messages <= _BESIDE:
            raise RuntimeError(
                f"{sender}: of {self.messages} messages {sent.acknowledged} were acknowledged and {arrived} "
                "reached the broker"
            )
        return sent

    def _run(self, sender: Sender, place: Place) -> Sent:
        if sender == "mosquitto_pub":
            return self._run_mosquitto_pub(place)
        kind: Kind = "strict" if sender == "strict" else "bulk"
        task = SendTask(place=place, messages=self.messages, kind=kind)
        module = "paho_alone" if sender == "paho" else "durable"
        return run_subject(f"benchmarks.delivery.{module}", task, Sent, within_s=_RUN_S)

    def _run_mosquitto_pub(self, place: Place) -> Sent:
        """Its own start and handshake count: it does not tell when it begins."""
        _, stream = ROWS_OF["bulk"]
        topic = Topics(SITE, place.node).below(stream)
        words = [
            "mosquitto_pub",
            *self.broker.client_arguments,
            "-i",
            place.node,
            "-q",
            "1",
            "-t",
            topic,
            "-l",
        ]
        lines = (BODY + b"\n") * self.messages
        began = time.perf_counter()
        done = subprocess.run(words, input=lines, capture_output=True, timeout=_RUN_S, check=False)
        took_s = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"mosquitto_pub failed: {done.stderr.decode(errors='replace').strip()}")
        return Sent(self.messages, took_s)  # at QoS 1 it ends with the last PUBACK; the broker's count tells

    def _pace(self, kind: Kind, rate_hz: float, place: Place) -> Paced:
        paced = run_subject(
            "benchmarks.delivery.paced",
            PaceTask(place=place, kind=kind),
            Paced,
            within_s=_RUN_S,
            feed=metronome(rate_hz, self.seconds),
        )
        expected = round(rate_hz * self.seconds)
        if not paced.acknowledged == len(paced.append_ms) == expected:
            raise RuntimeError(f"{kind}: of {expected} messages {paced.acknowledged} were acknowledged")
        return paced

    def _place(self, name: str) -> Place:
        folder = self.folder / name
        folder.mkdir()
        return dataclasses.replace(self.broker.place, folder=folder)
