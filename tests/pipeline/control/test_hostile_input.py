"""Hostile documents at a node's control: refused with code and place, nothing changed, rarely looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from joserfc.jwk import OKPKey
from structlog.testing import capture_logs

from agent.contract.policy import PolicyDocument
from agent.policies import read_policy
from agent.settings import Settings, load_settings
from tests.control_signatures import KEY, private_pem, raw
from tests.polling import until
from tools.control_fuzzing.node import ControlledNode
from tools.control_fuzzing.seeds import KEY_NAME, NODE, SITE, signed

SETTINGS: Final = """\
site = "{site}"
node = "{node}"
state_dir = "{folder}/state"
media_root = "{folder}/media"
allowed_hosts = ["10.1.20.7", "*.plant.example"]
[broker]
host = "broker.example"
[secrets.door]
username = "u"
password_file = "{folder}/password"
hosts = ["10.1.20.7"]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "media").mkdir()
    (tmp_path / "media/parts.onnx").write_bytes(b"a model")
    (tmp_path / "media/out").symlink_to("/etc")
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o600)
    file = tmp_path / "agent.toml"
    file.write_text(SETTINGS.format(site=SITE, node=NODE, folder=tmp_path))
    return load_settings(file, environ={})


@asynccontextmanager
async def running(settings: Settings, **how: Any) -> AsyncIterator[ControlledNode]:
    node = ControlledNode(settings=settings, public_key=raw(KEY), **how)
    async with node.running() as tasks:
        yield node
        assert [task for task in tasks if task.done()] == []


async def desired(node: ControlledNode, payload: bytes) -> dict[str, Any]:
    """What is told of it at last."""
    node.reported = {}
    node.receive("config/desired", payload, retained=True)
    await until(lambda: bool(node.reported))
    attempt: dict[str, Any] = node.reported["attempts"][-1]
    return attempt


async def command(node: ControlledNode, op: str, command_id: str, payload: bytes) -> dict[str, Any]:
    node.receive(f"command/{op}/{command_id}", payload)
    await until(lambda: f"{op}/{command_id}" in node.answers)
    return node.answers[f"{op}/{command_id}"]


def policy(version: int = 2, **sections: Any) -> bytes:
    return json.dumps({"v": 1, "version": version, "policy": sections}).encode()


def dated(**keys: Any) -> bytes:
    return json.dumps({"v": 1, "version": 2, "policy": {}, **keys}).encode()


def camera(**keys: Any) -> bytes:
    return policy(sources={"door": {"kind": "rtsp", "url": "rtsp://10.1.20.7/", **keys}})


def rule(when: str) -> bytes:
    return policy(sources={"line": {"kind": "synthetic"}}, rules={"r": {"when": when}})


def envelope(op: str, args: Any, **more: Any) -> bytes:
    document = {"v": 1, "op": op, "id": "a", "args": args, **more}
    return json.dumps(document, separators=(",", ":")).encode()


WHEN: Final = "/policy/rules/r/when"
URL: Final = "/policy/sources/door/url"
FILE: Final = "/policy/models/m/file"

DESIRED: Final[dict[str, tuple[bytes, str, str | None]]] = {
    "ten megabytes": (b"{" + b" " * (10 << 20) + b"}", "E_SIZE", None),
    "a depth bomb": (b"[" * 60_000, "E_DEPTH", None),
    "a key twice": (b'{"v": 1, "version": 2, "version": 3, "policy": {}}', "E_JSON", "/version"),
    "NaN": (b'{"v": 1, "version": NaN, "policy": {}}', "E_JSON", None),
    "a huge number": (b'{"v": 1, "version": 1' + b"0" * 5_000 + b', "policy": {}}', "E_JSON", None),
    "not UTF-8": (b'{"v": 1, "issuer": "\xc3\x28"}', "E_JSON", None),
    "a later version of the contract": (dated(v=2), "E_VERSION", "/v"),
    "a version that is text": (dated(version="2"), "E_SCHEMA", "/version"),
    "an older version": (policy(0), "E_STALE", "/version"),
    "the same version with another content": (policy(1), "E_CONFLICT", "/version"),
    "one that is over": (dated(expires_at="2020-01-01T00:00:00Z"), "E_EXPIRED", "/expires_at"),
    "something that looks signed": (b"eyJhbGciOiJub25lIn0.e30.", "E_SIGNATURE", None),
    "a path that climbs": (policy(models={"m": {"file": "../state/policy-state.json"}}), "E_SCHEMA", FILE),
    "a path that climbs by a link": (policy(models={"m": {"file": "out/passwd"}}), "E_AUTH", FILE),
    "a path longer than any file's": (policy(models={"m": {"file": "a" * 5_000}}), "E_FILE", FILE),
    "a host that is not allowed": (camera(url="rtsp://169.254.169.254/"), "E_AUTH", URL),
    "a host that ends like one that is": (camera(url="rtsp://plant.example.evil.example/"), "E_AUTH", URL),
    "a scheme that is none of a camera": (camera(url="file:///etc/passwd"), "E_SCHEMA", URL),
    "a secret for another host": (
        *(camera(url="rtsp://cam.plant.example/", secret="door"), "E_AUTH"),
        "/policy/sources/door/secret",
    ),
    "a rate that no clock counts": (
        *(policy(sources={"door": {"kind": "synthetic", "fps": 5e-324}}), "E_SCHEMA"),
        "/policy/sources/door/fps",
    ),
    "a rate of a rule that no clock counts": (
        policy(
            sources={"door": {"kind": "synthetic"}}, rules={"r": {"when": "true", "rates": {"door": 1e-300}}}
        ),
        *("E_SCHEMA", "/policy/rules/r/rates/door"),
    ),
    "a command of its own": (
        *(policy(sources={"door": {"kind": "pipe", "pipe": "rm -rf /"}}), "E_SCHEMA"),
        "/policy/sources/door/pipe",
    ),
    "a condition that goes through lists": (rule("[1, 2].all(x, [1, 2].all(y, x > y))"), "E_SCHEMA", WHEN),
    "a condition in brackets and brackets": (rule("(" * 900 + "true" + ")" * 900), "E_SCHEMA", WHEN),
    "a condition of signs": (rule("!" * 1_990 + "true"), "E_SCHEMA", WHEN),
    "a condition of a thousand terms": (rule(" in ".join(["1"] * 390)), "E_SCHEMA", WHEN),
    "a condition of choices": (rule("true ? " * 300 + "true" + " : false" * 20), "E_SCHEMA", WHEN),
    "a condition that searches": (rule("'a'.matches('(a+)+$')"), "E_SCHEMA", WHEN),
    "a condition that makes a map": (rule("{'a': 1}['a'] > 0"), "E_SCHEMA", WHEN),
}


JOURNALS: Final = ("policy-state.json", "commands.sqlite3")


def on_disk(settings: Settings) -> dict[str, str]:
    """Everything but the journals of attempts and commands, by its hash."""
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(settings.state_dir.parent.rglob("*"))
        if file.is_file() and not file.name.startswith(JOURNALS)
    }


@pytest.mark.parametrize("what", DESIRED)
async def test_a_hostile_document_changes_nothing_and_is_told_with_its_code(
    settings: Settings, what: str
) -> None:
    payload, code, path = DESIRED[what]
    async with running(settings) as node:
        before, settled, files = node.document, node.settled(), on_disk(settings)
        attempt = await desired(node, payload)
        assert (attempt["status"], attempt["code"], attempt["path"]) == ("failed", code, path)
        assert attempt["message"]
        assert (node.document, node.settled(), on_disk(settings)) == (before, settled, files)
        assert node.reported["version"] == 1
        # Whoever comes after it is served.
        assert (await desired(node, policy(7)))["status"] == "applied"
        assert node.document.version == 7


COMMANDS: Final[dict[str, tuple[str, bytes, str, str | None]]] = {
    "ten megabytes": ("ping", b" " * (10 << 20), "E_SIZE", None),
    "a depth bomb": ("ping", b'{"v": 1, "args": ' + b"[" * 5_000, "E_DEPTH", None),
    "a key twice": ("ping", b'{"v": 1, "op": "ping", "id": "a", "id": "a"}', "E_JSON", "/id"),
    "NaN": ("ping", b'{"v": NaN, "op": "ping", "id": "a"}', "E_JSON", None),
    "not UTF-8": ("ping", b"\xff\xfe", "E_JSON", None),
    "a later version of the contract": ("ping", envelope("ping", {}, v=3), "E_VERSION", "/v"),
    "an operation that is none": ("reboot", envelope("reboot", {}), "E_UNKNOWN_OP", "/op"),
    "the wrong type": ("log-level", envelope("log-level", {"level": 3}), "E_SCHEMA", "/args/level"),
    "a number beyond all": (
        *("log-level", envelope("log-level", {"level": "info", "for_s": 10**15})),
        *("E_SCHEMA", "/args/for_s"),
    ),
    "a stream that climbs": (
        "replay",
        envelope("replay", {"stream": "../../other", "epoch": "a", "from": 0, "to": 1}),
        *("E_SCHEMA", "/args/stream"),
    ),
    "a patch of a path that climbs": (
        "patch-config",
        envelope("patch-config", {"version": 2, "patch": {"models": {"m": {"file": "../../x"}}}}),
        *("E_SCHEMA", FILE),
    ),
    "a patch of a host that is not allowed": (
        "patch-config",
        envelope(
            "patch-config",
            {"version": 2, "patch": {"sources": {"door": {"kind": "http", "url": "http://127.0.0.1/"}}}},
        ),
        *("E_AUTH", URL),
    ),
    "a patch that is too large with what is there": (
        "patch-config",
        envelope(
            "patch-config",
            {"version": 2, "patch": {"rules": {f"r{n}": {"when": "1 > 0"} for n in range(2_500)}}},
        ),
        *("E_SIZE", None),
    ),
    "a patch of a condition that goes through lists": (
        "patch-config",
        envelope("patch-config", {"version": 2, "patch": {"rules": {"r": {"when": "[1].exists(x, x > 0)"}}}}),
        *("E_SCHEMA", WHEN),
    ),
    "one that is over": (
        *("ping", envelope("ping", {}, expires_at="2020-01-01T00:00:00Z")),
        *("E_EXPIRED", "/expires_at"),
    ),
    "something that looks signed": ("ping", b"eyJhbGciOiJIUzI1NiJ9.e30." + b"A" * 86, "E_SIGNATURE", None),
}


@pytest.mark.parametrize("what", COMMANDS)
async def test_a_hostile_command_changes_nothing_and_is_answered_with_its_code(
    settings: Settings, what: str
) -> None:
    op, payload, code, path = COMMANDS[what]
    async with running(settings) as node:
        before, settled, files = node.document, node.settled(), on_disk(settings)
        told = await command(node, op, "a", payload)
        assert told["status"] in {"rejected", "failed"}
        assert (told["code"], told["path"]) == (code, path)
        assert told["message"]
        assert (node.document, node.settled(), on_disk(settings)) == (before, settled, files)
        pong = await command(node, "ping", "b", envelope("ping", {}, id="b"))
        assert pong["status"] == "done"


@pytest.mark.parametrize("expires_at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_signed_command_of_a_time_beyond_the_calendar_is_answered(
    settings: Settings, expires_at: str
) -> None:
    """The sentence that told when it had been good could not be written, and the node ended."""
    times = {"issued_at": "0001-01-01T00:00:00+23:59", "expires_at": expires_at}
    body = envelope("ping", {}, issuer=KEY_NAME, **times)
    async with running(settings) as node:
        told = await command(node, "ping", "a", signed(body, "command", OKPKey.import_key(private_pem())))
    assert (told["status"], told["code"]) == ("rejected", "E_EXPIRED")


@pytest.fixture
def hostile() -> Iterator[bytes]:
    return (b"[" * 20 + b"%d" % number for number in range(10_000))


async def test_a_flood_of_documents_is_looked_at_rarely(settings: Settings, hostile: Iterator[bytes]) -> None:
    """Each one that is refused costs a synced write."""
    async with running(settings) as node:
        with capture_logs() as logs:
            for _ in range(20):
                assert (await desired(node, next(hostile)))["code"] == "E_DEPTH"
            node.reported = {}
            for _ in range(1_000):
                node.receive("config/desired", next(hostile), retained=True)
            patch = {"version": 9, "patch": {}}
            told = await command(node, "patch-config", "a", envelope("patch-config", patch))
            assert (told["code"], told["retryable"]) == ("E_BUSY", True)
            assert node.reported == {}
            newest = policy(8)
            node.receive("config/desired", newest, retained=True)
            node.clock.advance(6)
            await until(lambda: node.document.version == 8)
        assert len([line for line in logs if line["event"] == "policy.refused"]) == 20


async def test_who_moves_a_slider_is_not_slowed(settings: Settings) -> None:
    async with running(settings) as node:
        for version in range(2, 62):
            assert (await desired(node, policy(version, publish={"window": version})))["status"] == "applied"


async def test_the_same_hostile_document_at_each_connect_is_written_down_once(settings: Settings) -> None:
    async with running(settings) as node:
        await desired(node, b"[")
        kept = node.store.peek()
        for _ in range(3):
            node.receive("config/desired", b"[", retained=True)
            await desired(
                node, policy(1)
            )  # refused as well, and remembered: it shows that the other was read
        assert [attempt["code"] for attempt in node.store.peek().attempts].count("E_JSON") == 1
        assert node.store.peek().document == kept.document


async def test_what_is_kept_and_told_of_hostile_documents_is_bounded(settings: Settings) -> None:
    """Ten messages of megabytes made a file that was too large to be read, and the policy was lost."""
    async with running(settings) as node:
        for number in range(10):
            attempt = await desired(
                node, policy(2 + number, **{f"k{number}-{key}": 0 for key in range(4_500)})
            )
            assert attempt["code"] == "E_SCHEMA"
        assert node.largest_report_bytes < 100_000
        assert node.store.file.stat().st_size < 100_000
        assert node.store.load().document == node.store.peek().document


async def test_an_error_that_nobody_foresaw_ends_the_attempt_and_not_the_node(settings: Settings) -> None:
    """It would end it at each connect, for the document is retained."""

    def faulty(payload: bytes) -> PolicyDocument:
        if b"poison" in payload:
            raise RecursionError
        return read_policy(payload)

    async with running(settings, read=faulty) as node:
        assert (await desired(node, b"poison"))["code"] == "E_INTERNAL"
        assert (await desired(node, policy(2)))["status"] == "applied"
