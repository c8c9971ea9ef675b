"""What single operations do, apart from how they are asked for."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract import payloads
from agent.contract.command_args import ARGS
from agent.contract.policy import Policy, Publish
from agent.domain.errors import Code, TransientError
from agent.domain.ids import Stream
from agent.pipeline.commands.diagnose import MOST_BYTES, MOST_WARNINGS, Diagnose, Warnings, bounded
from agent.pipeline.commands.operations import OPERATIONS
from agent.pipeline.commands.simple import LogLevel, Ping, ReplayStream
from agent.ports import Replay
from tests.fakes.commands_node import CommandsNode

DOOR = Stream("detections/door")


def test_every_operation_of_the_contract_is_known() -> None:
    assert OPERATIONS.keys() == ARGS.keys()


async def test_ping_tells_about_the_node() -> None:
    assert await Ping(lambda: {"agent": "0.1.0"})({}) == {"agent": "0.1.0"}


class TestReplay:
    ARGS: Mapping[str, Any] = {"stream": DOOR, "epoch": "01", "from": 3, "to": 9}

    async def test_answers_with_the_range_still_held(self) -> None:
        async def replay(stream: Stream, epoch: str, first: int, last: int) -> Replay | None:
            assert (stream, epoch, first, last) == (DOOR, "01", 3, 9)
            return Replay(first=5, last=9, rows=4, complete=False)

        assert await ReplayStream(replay)(self.ARGS) == {
            "stream": DOOR,
            "from": 5,
            "to": 9,
            "rows": 4,
            "complete": False,
        }

    async def test_says_so_where_nothing_is_held(self) -> None:
        async def replay(stream: Stream, epoch: str, first: int, last: int) -> Replay | None:
            del stream, epoch, first, last
            return None

        answer = await ReplayStream(replay)(self.ARGS)
        assert (answer["from"], answer["to"], answer["rows"]) == (None, None, 0)


class TestLogLevel:
    async def test_goes_back_by_itself(self) -> None:
        levels: list[str] = []
        back = asyncio.Event()

        def set_level(level: str) -> None:
            levels.append(level)
            if level == "warning":
                back.set()

        handler = LogLevel(set_level=set_level, usual="warning")
        assert await handler({"level": "debug", "for_s": 0.01}) == {
            "level": "debug",
            "for_s": 0.01,
            "then": "warning",
        }
        await asyncio.wait_for(back.wait(), 5)
        assert levels == ["debug", "warning"]

    async def test_a_second_one_counts_from_its_own_time(self) -> None:
        levels: list[str] = []
        handler = LogLevel(set_level=levels.append, usual="info")
        await handler({"level": "debug", "for_s": 0.01})
        await handler({"level": "error", "for_s": 3_600})
        later = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, later.set)
        await later.wait()
        assert levels == ["debug", "error"]


def log_entry(event: str) -> payloads.Log:
    return payloads.Log(time="2026-11-23T16:57:01.123Z", level="warning", event=event, fields={"a": 1})


class TestDiagnose:
    async def test_gathers_its_sections(self) -> None:
        async def outbox() -> Mapping[str, Any]:
            return {"rows": 3}

        warnings = Warnings()
        for number in range(MOST_WARNINGS + 7):
            warnings.note(log_entry(f"warning.number_{number}"))
        handler = Diagnose(
            sections={"warnings": warnings},
            read={"versions": lambda: {"agent": "0.1.0"}},
            outbox=outbox,
            policy=Policy(),
        )
        bundle = await handler({})
        assert bundle["versions"] == {"agent": "0.1.0"}
        assert bundle["outbox"] == {"rows": 3}
        assert [each["event"] for each in bundle["warnings"]] == [
            f"warning.number_{number}" for number in range(7, MOST_WARNINGS + 7)
        ]

    async def test_an_outbox_that_does_not_answer_is_one_more_finding(self) -> None:
        async def outbox() -> Mapping[str, Any]:
            raise TransientError("the disk stands still", code=Code.DISK)

        bundle = await Diagnose(sections={}, read={}, outbox=outbox, policy=Policy())({})
        assert bundle == {"outbox": {"code": "E_DISK", "message": "the disk stands still"}}

    @pytest.mark.parametrize(
        ("policy", "most"),
        [(Policy(), MOST_BYTES), (Policy(publish=Publish(max_message_bytes=4_096)), 4_096 - 1_024)],
    )
    async def test_is_never_larger_than_it_may_be(self, policy: Policy, most: int) -> None:
        async def outbox() -> Mapping[str, Any]:
            return {}

        sections = {
            "threads": lambda: {f"thread-{n}": ["file.py:1 work"] * 40 for n in range(200)},
            "warnings": lambda: [log_entry("x" * 200).model_dump() for _ in range(50)],
            "health": lambda: {"status": "ok"},
        }
        bundle = await Diagnose(sections=sections, read={}, outbox=outbox, policy=policy)({})
        assert len(json.dumps(bundle, separators=(",", ":")).encode()) <= most
        assert bundle["health"] == {"status": "ok"}
        assert "threads" in bundle["cut"]

    async def test_the_smallest_message_still_says_which_node_it_is_and_how_it_fares(self) -> None:
        async def outbox() -> Mapping[str, Any]:
            return {"rows": 3}

        policy = Policy(publish=Publish(max_message_bytes=1_024))
        node_says = {
            "agent": "10.10.10",
            "contract": 1,
            "uptime_s": 86_400_000.5,
            "session": 100_000,
            "health": "degraded",
            "config_version": 2**53 - 1,
            "config_sha256": "f" * 64,
        }
        long = {name: lambda: ["x" * 80] * 40 for name in ("health", "warnings", "tasks")}
        read = {name: lambda: ["x" * 80] * 40 for name in ("versions", "machine", "settings", "threads")}
        diagnose = Diagnose(
            sections={"node": lambda: node_says, **long}, read=read, outbox=outbox, policy=policy
        )
        async with CommandsNode(policy=policy, diagnose=diagnose).running() as node:
            node.send("diagnose", "i" * 64)
            result = await node.result(f"diagnose/{'i' * 64}")
        assert (result["status"], result["output"]["node"]) == ("done", node_says)
        assert {"health", "threads"} <= set(result["output"]["cut"])
        assert len(json.dumps(result, separators=(",", ":"))) <= 1_024


@given(
    bundle=st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=40),
            lambda inner: (
                st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=8)
            ),
            max_leaves=40,
        ),
        max_size=8,
    ),
    most_bytes=st.integers(200, 2_000),
)
def test_whatever_is_gathered_fits(bundle: dict[str, Any], most_bytes: int) -> None:
    kept = bounded(bundle, most_bytes=most_bytes)
    assert len(json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()) <= most_bytes
    if "cut" not in kept:
        assert kept == bundle
