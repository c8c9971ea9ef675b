"""Whatever is sent as a command: one coded answer each, nothing done that was not asked for, no memory kept.

NANOFLEET_FUZZ_CASES says how many are tried; without, 1,000.
"""

import json
import os
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import pytest

from agent.domain.errors import Code
from tests.fakes.command_log import FakeCommandLog
from tests.fakes.commands_node import CommandsNode
from tests.polling import until

CASES: Final = int(os.environ.get("NANOFLEET_FUZZ_CASES", "1000"))
_LEAST_GAP_S: Final = 0.05

WHOLE: Final[dict[str, dict[str, Any]]] = {
    "ping": {},
    "replay": {"stream": "detections/door", "epoch": "01JC", "from": 1, "to": 5},
    "snapshot": {"source": "door"},
    "log-level": {"level": "debug", "for_s": 5},
    "patch-config": {"version": 7, "patch": {"sources": {"door": None}}},
}
ODD: Final[list[Any]] = [
    *(None, True, -1, 0, 2**53, 1e308, "", "x" * 300, "../../etc/passwd", "rtsp://a:b@c/", "\u0000", []),
    *({}, [[[[]]]], {"$ref": "#"}, "\U0001f600", "2026-11-23T16:57:01Z", "NaN", "door\n"),
]
BYTES: Final = [
    b"{",
    b"}",
    b"[",
    b'"',
    b"\\",
    b"\xf0\x28",
    b"1e999",
    b"NaN",
    b"null",
    b",",
    b"\x00",
    b"\\ud800",
]


def cases(random: Random) -> Iterator[tuple[str, bytes]]:
    """Operation and payload, with ``{id}`` where the id belongs."""
    while True:
        op = random.choice(list(WHOLE))
        envelope: dict[str, Any] = {"v": 1, "op": op, "id": "{id}", "args": dict(WHOLE[op]), "issuer": "ops"}
        for _ in range(random.randrange(3)):
            target = (
                random.choice([envelope, envelope["args"]])
                if isinstance(envelope["args"], dict)
                else envelope
            )
            target[random.choice([*target, "more"])] = random.choice(ODD)
        payload = bytearray(json.dumps(envelope).encode())
        for _ in range(random.choice([0, 0, 1, 2])):
            place = random.randrange(len(payload))
            match random.randrange(3):
                case 0:
                    payload[place] = random.randrange(256)
                case 1:
                    del payload[place : place + random.randrange(8)]
                case _:
                    payload[place:place] = random.choice(BYTES)
        yield op, bytes(payload)


async def echo(args: Any) -> Any:
    return {"got": args}


@pytest.mark.timeout(60 + CASES // 50)
async def test_each_is_answered_once_with_a_code_or_done_as_it_was_asked() -> None:
    random = Random(20261123)
    source = cases(random)
    log = FakeCommandLog(most_entered=200, most_refused=200)
    work: dict[str, Any] = {name.replace("-", "_"): echo for name in WHOLE}
    seen: Counter[str] = Counter()
    before = 0
    async with CommandsNode(kept=log, **work).running() as node:
        for number in range(CASES):
            op, payload = next(source)
            log.kept.clear()
            log._entered.clear()
            log._refused.clear()
            node.clock.advance(_LEAST_GAP_S + len(payload) / 10_000)
            name = f"c-{number}"
            node.send_bytes(payload.replace(b"{id}", name.encode()), f"{op}/{name}")
            result = await node.result(f"{op}/{name}")
            seen[result["code"] or "done"] += 1
            if result["status"] == "done":
                assert node.asked.pop() == (op, result["output"]["got"])
            else:
                assert result["code"] in set(Code)
                assert result["message"]
            assert not node.asked
            node.outbox.rows.clear()
            if number == CASES // 10:
                tracemalloc.start()
                before = tracemalloc.get_traced_memory()[0]
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        await until(lambda: not node.outbox.rows)
    print(dict(seen))
    assert {"done", "E_JSON", "E_SCHEMA", "E_VERSION"} <= seen.keys()
    assert seen["E_INTERNAL"] == 0
    assert grown < 2_000_000
