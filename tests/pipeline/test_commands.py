"""One command, one result: whatever comes, however often, and whenever the process ends."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.contract.policy import Policy, Publish
from agent.domain.errors import Code, RefusedError, TransientError
from agent.pipeline.commands import operations, record
from agent.pipeline.commands.operations import Operation
from tests.fakes.command_log import FakeCommandLog
from tests.fakes.commands_node import CommandsNode
from tests.polling import until

Args = Mapping[str, Any]


async def answer(args: Args) -> Args:
    return {"got": dict(args)}


async def test_a_command_is_done_and_its_result_told() -> None:
    async with CommandsNode(ping=answer).running() as node:
        node.send("ping", "7f3a")
        result = await node.result("ping/7f3a")
    assert {key: result[key] for key in ("op", "id", "status", "code", "path", "message", "output")} == {
        "op": "ping",
        "id": "7f3a",
        "status": "done",
        "code": None,
        "path": None,
        "message": "",
        "output": {"got": {}},
    }
    assert (result["site"], result["node"], result["v"]) == ("plant", "nano-42", 1)
    assert node.metrics.counts["commands_total op=ping status=done"] == 1


async def test_a_handler_gets_complete_arguments_of_the_contracts_names() -> None:
    async with CommandsNode(replay=answer, snapshot=answer).running() as node:
        asked = {"stream": "detections/door", "epoch": "01", "from": 1, "to": 5, "later-version": 1}
        node.send("replay", "a", asked)
        node.send("snapshot", "b", {"source": "door"})
        await node.result("snapshot/b")
    assert node.asked == [
        ("replay", {"stream": "detections/door", "epoch": "01", "from": 1, "to": 5}),
        ("snapshot", {"source": "door", "quality": 85, "longest_side_px": 1280}),
    ]


async def test_a_second_with_the_same_id_gets_the_first_ones_result_and_does_nothing() -> None:
    async with CommandsNode(ping=answer).running() as node:
        node.send(command_id="a")
        first = await node.result()
        node.clock.advance(60)
        node.send(command_id="a", args={"other": True})
        second = await node.result(number=2)
    assert len(node.asked) == 1
    assert second["time"] > first["time"]
    assert {**second, "time": first["time"], "monotonic_ms": first["monotonic_ms"]} == first


async def test_an_id_that_was_used_for_another_operation_is_refused() -> None:
    async with CommandsNode(diagnose=answer).running() as node:
        node.send("ping", "a")
        await node.result("ping/a")
        node.send("diagnose", "a")
        result = await node.result("diagnose/a")
    assert (result["status"], result["code"], result["path"]) == ("rejected", "E_CONFLICT", "/id")
    assert "used before, for ping" in result["message"]


async def test_a_command_that_the_process_before_had_begun_ends_as_interrupted() -> None:
    kept = FakeCommandLog()
    never = asyncio.Event()

    async def hang(args: Args) -> Args:
        await never.wait()
        return args

    async with CommandsNode(kept=kept, ping=hang).running() as node:
        node.send(command_id="a")
        await until(lambda: len(node.asked) == 1)
    async with CommandsNode(kept=kept).running() as after:
        result = await after.result()
        assert (result["status"], result["code"], result["retryable"]) == ("failed", "E_INTERRUPTED", True)
        after.send(command_id="a")
        again = await after.result(number=2)
    assert again["code"] == "E_INTERRUPTED"
    assert after.asked == []


async def test_the_id_is_kept_before_the_command_runs() -> None:
    kept = FakeCommandLog()
    seen: list[bool] = []

    async def look(args: Args) -> Args:
        seen.append("a" in kept.kept)
        return args

    async with CommandsNode(kept=kept, ping=look).running() as node:
        node.send(command_id="a")
        await node.result()
    assert seen == [True]


async def test_a_retained_command_is_refused_and_one_that_ran_is_not_run_again() -> None:
    async with CommandsNode().running() as node:
        node.send(command_id="a", retained=True)
        refused = await node.result("ping/a")
        node.send(command_id="b")
        await node.result("ping/b")
        node.send(command_id="b", retained=True)  # as the broker keeps it, at the next connect
        again = await node.result("ping/b", number=2)
    assert (refused["status"], refused["code"]) == ("rejected", "E_RETAINED")
    assert again["status"] == "done"
    assert len(node.asked) == 1


async def test_an_empty_message_takes_a_retained_one_away_and_is_no_command() -> None:
    async with CommandsNode().running() as node:
        node.send_bytes(b"")
        node.send(command_id="b")
        await node.result("ping/b")
        assert len(node.results()) == 1
    assert node.metrics.counts["commands_ignored_total reason=topic"] == 0


async def test_an_expired_command_is_refused_but_not_by_a_clock_that_is_unsynced() -> None:
    past = "2023-11-14T22:13:19Z"  # the fake clock says 22:13:20
    async with CommandsNode().running() as node:
        node.send(command_id="a", expires_at=past)
        result = await node.result("ping/a")
        node.clock.is_synced = False
        node.send(command_id="b", expires_at=past)
        assert (await node.result("ping/b"))["status"] == "done"
    assert (result["status"], result["code"], result["path"]) == ("rejected", "E_EXPIRED", "/expires_at")


async def test_a_message_that_expires_while_it_waits_for_others_is_refused() -> None:
    release = asyncio.Event()

    async def wait(args: Args) -> Args:
        await release.wait()
        return args

    async with CommandsNode(ping=wait).running() as node:
        node.send(command_id="a")
        await until(lambda: len(node.asked) == 1)
        node.send(command_id="b", expiry_s=5)
        node.clock.advance(6)
        release.set()
        assert (await node.result("ping/b"))["code"] == "E_EXPIRED"
    assert len(node.asked) == 1


@pytest.mark.parametrize(
    ("payload", "topic", "code", "path"),
    [
        (b"{", "ping/a", "E_JSON", None),
        (b"\xff\xfe", "ping/a", "E_JSON", None),
        (b'{"v":1,"v":1}', "ping/a", "E_JSON", "/v"),
        (b"[" * 17 + b"]" * 17, "ping/a", "E_DEPTH", None),
        (b" " * 65_537, "ping/a", "E_SIZE", None),
        (b'{"v":2,"op":"ping","id":"a"}', "ping/a", "E_VERSION", "/v"),
        (b'{"v":1,"op":"ping","id":"a"}', "ping/b", "E_SCHEMA", "/id"),
        (b'{"v":1,"op":"ping","id":"a"}', "diagnose/a", "E_SCHEMA", "/op"),
        (b'{"v":1,"op":"reboot","id":"a"}', "reboot/a", "E_UNKNOWN_OP", "/op"),
        (b'{"v":1,"op":"diagnose","id":"a"}', "diagnose/a", "E_UNKNOWN_OP", "/op"),
    ],
)
async def test_what_is_no_command_is_refused_with_a_code_and_a_sentence(
    payload: bytes, topic: str, code: str, path: str | None
) -> None:
    async with CommandsNode().running() as node:
        node.send_bytes(payload, topic)
        result = await node.result(topic)
    assert (result["status"], result["code"], result["path"]) == ("rejected", code, path)
    assert len(result["message"]) > 10
    assert result["retryable"] is False
    assert node.asked == []


async def test_a_refusal_is_kept_under_its_id() -> None:
    async with CommandsNode().running() as node:
        node.send_bytes(b"{", "ping/a")
        await node.result()
        node.send(command_id="a")
        assert (await node.result(number=2))["code"] == "E_JSON"
    assert node.asked == []


@pytest.mark.parametrize(
    "topic", ["ping", "ping/", "ping/a/b", "Ping/a", "ping/a b", "/a", f"ping/{'a' * 65}"]
)
async def test_a_topic_that_names_no_command_is_counted_only(topic: str) -> None:
    async with CommandsNode().running() as node:
        with capture_logs() as logs:
            for _ in range(100):
                node.send_bytes(b"{}", topic)
        node.send(command_id="later")
        await node.result("ping/later")
        assert len(node.results()) == 1
    assert node.metrics.counts["commands_ignored_total reason=topic"] == 100
    assert len(logs) == 1


async def test_what_a_handler_raises_is_told() -> None:
    async def refuse(_args: Args) -> Args:
        raise RefusedError("there is no such source", code=Code.SCHEMA, path="/args/source")

    async def later(_args: Args) -> Args:
        raise TransientError("the disk is busy", code=Code.SPACE, path="/var/lib/nanofleet")

    async with CommandsNode(ping=refuse, diagnose=later).running() as node:
        node.send("ping", "a")
        node.send("diagnose", "b")
        refused, transient = await node.result("ping/a"), await node.result("diagnose/b")
    assert (refused["status"], refused["code"], refused["path"]) == ("failed", "E_SCHEMA", "/args/source")
    assert refused["retryable"] is False
    assert (transient["code"], transient["path"], transient["retryable"]) == ("E_SPACE", None, True)


async def test_an_error_that_nobody_foresaw_ends_one_command_and_nothing_else() -> None:
    async def crash(_args: Args) -> Args:
        raise ZeroDivisionError("hunter2")

    async with CommandsNode(ping=crash, diagnose=answer).running() as node:
        with capture_logs() as logs:
            node.send("ping", "a")
            result = await node.result()
        node.send("diagnose", "b")
        assert (await node.result("diagnose/b"))["status"] == "done"
    assert (result["status"], result["code"]) == ("failed", "E_INTERNAL")
    assert "hunter2" not in result["message"]
    assert [type(line["exc_info"]) for line in logs if line["event"] == "attempt.crashed"] == [
        ZeroDivisionError
    ]


async def test_a_handler_that_takes_too_long_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = asyncio.Event()

    async def hang(args: Args) -> Args:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return args

    monkeypatch.setitem(operations.OPERATIONS, "ping", Operation(0.05))
    async with CommandsNode(ping=hang).running() as node:
        node.send()
        result = await node.result()
        await asyncio.wait_for(cancelled.wait(), 5)
    assert (result["status"], result["code"], result["retryable"]) == ("failed", "E_TIMEOUT", True)


async def test_a_long_one_tells_that_it_was_accepted_and_runs_beside_the_others() -> None:
    release = asyncio.Event()

    async def slow(_args: Args) -> Args:
        await release.wait()
        return {"at last": True}

    async with CommandsNode(snapshot=slow).running() as node:
        node.send("snapshot", "long", {"source": "door"})
        await until(lambda: len(node.results("snapshot/long")) == 2)
        node.send("ping", "quick")
        assert (await node.result("ping/quick"))["status"] == "done"
        node.send("snapshot", "long", {"source": "door"})  # once more: it will tell its result by itself
        node.send("ping", "quick-2")
        await node.result("ping/quick-2")
        release.set()
        result = await node.result("snapshot/long")
        assert [each["status"] for each in node.results("snapshot/long")] == ["accepted", "running", "done"]
    assert result["output"] == {"at last": True}
    assert [op for op, _ in node.asked].count("snapshot") == 1


async def test_so_many_long_ones_wait_and_no_more() -> None:
    release = asyncio.Event()

    async def slow(args: Args) -> Args:
        await release.wait()
        return args

    async with CommandsNode(snapshot=slow).running() as node:
        for number in range(2):
            node.send("snapshot", f"{number}", {"source": "door"})
        await until(lambda: len(node.asked) == 2)
        for number in range(2, 8):
            node.send("snapshot", f"{number}", {"source": "door"})
        for number in (6, 7):
            result = await node.result(f"snapshot/{number}")
            assert (result["status"], result["code"], result["retryable"]) == ("rejected", "E_BUSY", True)
        release.set()
        for number in range(6):
            assert (await node.result(f"snapshot/{number}"))["status"] == "done"
        node.send("snapshot", "7", {"source": "door"})  # its id was not kept, so it may be sent again
        assert (await node.result("snapshot/7", number=2))["status"] == "done"


async def test_quick_ones_are_done_in_their_order() -> None:
    async with CommandsNode().running() as node:
        for number in range(20):
            node.send("ping", f"{number}")
        await node.result("ping/19")
    assert [result["id"] for result in node.results()] == [f"{number}" for number in range(20)]


async def test_a_disk_that_refuses_stops_what_changes_something_and_nothing_else() -> None:
    kept = FakeCommandLog()
    kept.broken = True
    async with CommandsNode(kept=kept, replay=answer).running() as node:
        node.send("ping", "a")
        assert (await node.result())["status"] == "done"
        node.send("replay", "b", {"stream": "loss", "epoch": "01", "from": 0, "to": 1})
        result = await node.result("replay/b")
        node.send_bytes(b"{", "ping/c")
        assert (await node.result("ping/c"))["code"] == "E_JSON"
    assert (result["status"], result["code"], result["retryable"]) == ("rejected", "E_SPACE", True)
    assert [op for op, _ in node.asked] == ["ping"]


async def test_a_full_log_stops_what_changes_something_and_nothing_else() -> None:
    async with CommandsNode(kept=FakeCommandLog(most_entered=0), replay=answer).running() as node:
        node.send("ping", "a")
        assert (await node.result())["status"] == "done"
        node.send("replay", "b", {"stream": "loss", "epoch": "01", "from": 0, "to": 1})
        result = await node.result("replay/b")
    assert (result["code"], result["retryable"]) == ("E_BUSY", True)


async def test_a_disk_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    class HangingLog(FakeCommandLog):
        def enter(self, op: str, command_id: str) -> None:
            del op, command_id
            release.wait(10)

    monkeypatch.setattr(record, "PATIENCE_S", 0.05)
    async with CommandsNode(kept=HangingLog(), replay=answer).running() as node:
        node.send("replay", "b", {"stream": "loss", "epoch": "01", "from": 0, "to": 1})
        result = await node.result("replay/b")
        release.set()
    assert (result["status"], result["code"], result["retryable"]) == ("rejected", "E_TIMEOUT", True)
    assert node.asked == []


async def test_an_output_that_is_too_large_is_left_out_and_told() -> None:
    async def large(_args: Args) -> Args:
        return {"text": "x" * 5_000}

    policy = Policy(publish=Publish(max_message_bytes=2_048))
    async with CommandsNode(policy=policy, ping=large).running() as node:
        node.send()
        result = await node.result()
        node.commands.adopt(Policy())
        node.send()
        again = await node.result(number=2)
    assert (result["status"], result["code"], result["output"]) == ("done", "E_SIZE", {})
    assert len(again["output"]["text"]) == 5_000


async def test_results_keep_as_long_as_the_policy_says() -> None:
    async with CommandsNode().running() as node:
        node.send(command_id="a")
        await node.result()
        node.commands.adopt(Policy(publish=Publish(expiry_s={"result": 60})))
        node.send(command_id="b")
        await node.result("ping/b")
        assert [row.expiry_s for row in node.outbox.rows.values()] == [86_400, 60]


async def test_credentials_are_taken_out_of_whatever_is_told_and_kept() -> None:
    async def leak(_args: Args) -> Args:
        return {"deep": [{"url": "rtsp://bob:hunter2@cam"}]}

    async def fail(_args: Args) -> Args:
        raise TransientError("no answer of rtsp://bob:hunter2@cam", code=Code.OPEN)

    node = CommandsNode(scrub=lambda text: text.replace("hunter2", "***"), ping=leak, diagnose=fail)
    async with node.running():
        node.send("ping", "a")
        node.send("diagnose", "b")
        await node.result("ping/a")
        await node.result("diagnose/b")
        node.send_bytes(b'{"v":1,"op":"hunter2","id":"c"}', "ping/c")
        await node.result("ping/c")
        told = "".join(str(result) for result in node.results())
    assert "***" in told
    assert "hunter2" not in told
    assert "hunter2" not in str(node.kept.kept)


async def test_what_is_signed_is_opened_first_and_what_may_not_be_is_refused() -> None:
    opened: list[str] = []

    def open_signed(payload: bytes, op: str) -> bytes:
        opened.append(op)
        if not payload.startswith(b"signed:"):
            raise RefusedError("it is not signed", code=Code.SIGNATURE)
        return payload.removeprefix(b"signed:")

    async with CommandsNode(open_signed=open_signed).running() as node:
        node.send(command_id="a")
        result = await node.result("ping/a")
        node.send_bytes(b'signed:{"v":1,"op":"ping","id":"b"}', "ping/b")
        assert (await node.result("ping/b"))["status"] == "done"
        patch = b'signed:{"v":1,"op":"patch-config","id":"c","args":{"version":2,"patch":{}}}'
        node.send_bytes(patch, "ping/c")  # what was signed for one operation does not come in as another
        assert (await node.result("ping/c"))["path"] == "/op"
    assert (result["status"], result["code"]) == ("rejected", "E_SIGNATURE")
    assert opened == ["ping"] * 3


async def test_only_what_changes_the_policy_is_told_who_asks() -> None:
    args = {"version": 2, "patch": {}}
    work: dict[str, Any] = {"ping": answer, "patch-config": answer}
    async with CommandsNode(**work).running() as node:
        node.send("ping", "a")
        await node.result("ping/a")
        node.send("patch-config", "b", args)
        await node.result("patch-config/b")
    assert node.asked == [("ping", {}), ("patch-config", {**args, "if_version": None, "issuer": "unnamed"})]


async def test_a_log_that_cannot_be_read_at_the_start_ends_nothing() -> None:
    kept = FakeCommandLog()
    kept.broken = True
    async with CommandsNode(kept=kept).running() as node:
        node.send()
        assert (await node.result())["status"] == "done"
