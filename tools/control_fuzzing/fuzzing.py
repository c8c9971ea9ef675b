"""One case after the other: sent, awaited, and held to what a node may do with it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema

from agent.contract.policy import PolicyDocument
from agent.contract.schemas import schema_of
from agent.domain.errors import Code
from tools.control_fuzzing.mutations import mutated
from tools.control_fuzzing.seeds import Seed, dated, seeds, signed

if TYPE_CHECKING:
    from random import Random

    from joserfc.jwk import OKPKey

    from tools.control_fuzzing.node import ControlledNode

ANSWER_S: Final = 45.0
"""Longer than a command may take that waits for a picture which never comes."""

_PAUSE_S: Final = 30.0
"""Of the node's own time, from case to case: no case finds the rates used up."""

_MOST_ANSWER_BYTES: Final = 262_144
_HIGHEST: Final = 2**40
_HUGE: Final = 10 << 20
_HUGE_AT: Final = range(100, 110)
"""Early, so that what the process needs at most for such ones it has had."""


class BrokenPromiseError(AssertionError):
    """The node did what it must not; `payload` made it do so."""

    def __init__(self, what: str, topic: str, payload: bytes) -> None:
        super().__init__(f"{what} ({topic}, {len(payload)} bytes)")
        self.topic = topic
        self.payload = payload


@dataclass(slots=True)
class Tally:
    """What became of the cases so far; `slowest_s` is the wall time of one, `slowest` what it was."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: str = ""


class Fuzzer:
    """Sends mutated documents to one node. `key` signs some of them."""

    def __init__(self, *, node: ControlledNode, random: Random, key: OKPKey) -> None:
        self.tally = Tally()
        self._node = node
        self._random = random
        self._key = key
        self._seeds = seeds()
        self._by_kind = {
            kind: [s for s in self._seeds if s.kind == kind] for kind in ("policy", "command", "ack")
        }
        self._lately: deque[str] = deque(maxlen=16)

    async def one(self) -> None:
        """A case.

        Raises:
            BrokenPromiseError: the node did not keep to what it promises.
        """
        number = self.tally.cases
        self.tally.cases += 1
        kind = self._random.choices(("policy", "command", "ack"), (6, 5, 1))[0]
        if self._node.settled()[2] > _HIGHEST:  # as a person at the node would, or no policy could follow
            await self._node.control.policies.reset()
        topic, payload = self._made(self._random.choice(self._by_kind[kind]), f"n{number}")
        self._node.clock.advance(_PAUSE_S)
        began_s = time.perf_counter()
        match kind:
            case "policy":
                outcome = await self._policy(topic, payload)
            case "command":
                outcome = await self._command(topic, payload)
            case _:
                outcome = self._ack(topic, payload)
        took_s = time.perf_counter() - began_s
        if took_s > self.tally.slowest_s:
            self.tally.slowest_s, self.tally.slowest = took_s, f"case {number}, {topic}: {outcome}"
        self.tally.outcomes[f"{kind} {outcome}"] += 1

    def _made(self, seed: Seed, name: str) -> tuple[str, bytes]:
        random = self._random
        document = json.loads(json.dumps(seed.document).replace("{id}", name))
        if seed.kind == "policy":
            document["version"] = self._node.settled()[2] + random.choice((-1, 0, 1, 1, 1, 1))
        elif seed.topic.startswith("command/patch-config"):
            document["args"]["version"] = self._node.settled()[2] + 1
        is_signed = seed.kind != "ack" and random.random() < 0.15
        payload = mutated(dated(document) if is_signed else document, random)
        if is_signed:
            payload = signed(payload, "policy" if seed.kind == "policy" else "command", self._key)
            if random.random() < 0.5:
                at = random.randrange(len(payload))
                payload = payload[:at] + random.randbytes(1) + payload[at + 1 :]
        if self.tally.cases in _HUGE_AT or random.random() < 0.0005:
            payload = payload.ljust(_HUGE, random.choice((b" ", b"[", b"\0", b'"')))
        return seed.topic.replace("{id}", name), payload

    async def _policy(self, topic: str, payload: bytes) -> str:
        node = self._node
        name = hashlib.sha256(payload).hexdigest()
        if not payload or name in self._lately:
            return "skipped"
        self._lately.append(name)
        before, settled = node.document, node.settled()
        attempts = node.reported.get("attempts", [])
        node.reported = {}
        node.receive(topic, payload)
        await self._until(lambda: bool(node.reported), topic, payload)
        after = node.document
        if after is not before:
            self._is_newer(settled[2], after, topic, payload)
            return str(node.reported["status"])
        self._hold(node.settled() == settled, "what the disk has in force changed", topic, payload)
        last = (
            node.reported["attempts"][-1]
            if node.reported["attempts"]
            else {"status": "applied", "code": None}
        )
        if node.reported["status"] == "failed" and node.reported["attempts"] != attempts:
            self._hold(last["code"] in set(Code), f"it was refused without a code: {last}", topic, payload)
            self._hold(last["code"] != Code.INTERNAL, f"nobody foresaw it: {last}", topic, payload)
            return str(last["code"])
        return "nothing new"

    async def _command(self, topic: str, payload: bytes) -> str:
        node = self._node
        if not payload:
            return "skipped"
        below = topic.removeprefix("command/")
        before, settled = node.document, node.settled()
        node.answers.clear()
        node.receive(topic, payload, retained=self._random.random() < 0.02)
        await self._until(lambda: below in node.answers, topic, payload)
        told = node.answers[below]
        self._hold(told["code"] != Code.INTERNAL, f"nobody foresaw it: {told}", topic, payload)
        after = node.document
        if after is not before:
            self._hold(topic.startswith("command/patch-config"), "it changed the policy", topic, payload)
            self._is_newer(settled[2], after, topic, payload)
        else:
            self._hold(node.settled() == settled, "what the disk has in force changed", topic, payload)
        if told["status"] == "done":
            return "done"
        self._hold(told["code"] in set(Code), f"it was refused without a code: {told}", topic, payload)
        return str(told["code"])

    def _ack(self, topic: str, payload: bytes) -> str:
        node = self._node
        refused = sum(node.metrics.counts.values())
        node.outbox.acked.clear()
        node.receive(topic, payload)
        if node.outbox.acked:
            return "taken"
        if not payload or node.document.policy.publish.keep_until != "stored":
            return "ignored"
        self._hold(sum(node.metrics.counts.values()) == refused + 1, "it was not counted", topic, payload)
        return "refused"

    def _is_newer(self, floor: int, after: PolicyDocument, topic: str, payload: bytes) -> None:
        self._hold(after.version > floor, "an older policy is in force", topic, payload)
        kept = self._node.store.peek()
        self._hold((kept.document or {}).get("version") == after.version, "it is not kept", topic, payload)
        wrong = next(_policy_schema().iter_errors(kept.document), None)
        self._hold(wrong is None, f"what is in force is no policy: {wrong and wrong.message}", topic, payload)

    async def _until(self, is_so: Any, topic: str, payload: bytes) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                while not is_so():
                    await self._node.heard()
        except TimeoutError as error:
            raise BrokenPromiseError("it was not answered", topic, payload) from error
        largest = max(self._node.outbox.largest_bytes, self._node.largest_report_bytes)
        self._hold(largest <= _MOST_ANSWER_BYTES, f"an answer had {largest} bytes", topic, payload)

    def _hold(self, is_so: bool, what: str, topic: str, payload: bytes) -> None:
        if not is_so:
            raise BrokenPromiseError(what, topic, payload)


@cache
def _policy_schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema_of(PolicyDocument))


def keep_payload(folder: Path, error: BrokenPromiseError) -> Path:
    """Where the document is that broke a promise."""
    file = folder / f"hostile-{hashlib.sha256(error.payload).hexdigest()[:12]}.bin"
    file.write_bytes(error.payload)
    return file
