"""A policy that asks for more than it may have: each wish is refused, wherever the policy came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.contract.json_text import read_json
from agent.contract.policy_text import parse_policy
from agent.domain.errors import Code, RefusedError
from agent.settings import Settings, load_settings
from agent.settings.permits import breaches

SETTINGS = """\
site = "plant"
node = "nano-42"
media_root = "media"
allowed_hosts = ["*.plant.example"]
[broker]
host = "broker.plant.example"
[pipes.csi]
command = ["true"]
width_px = 64
height_px = 64
[secrets.door]
username = "viewer"
password_file = "door-password"
hosts = ["door.plant.example"]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "agent.toml"
    path.write_text(SETTINGS)
    (tmp_path / "media").mkdir()
    return load_settings(path, environ={}, look_at_files=False)


def refusals(settings: Settings, policy: dict[str, Any]) -> list[tuple[Code, str]]:
    """Code and pointer of each problem, as for a document that came over MQTT."""
    body = json.dumps({"v": 1, "version": 9, "policy": policy}).encode()
    try:
        document = parse_policy(read_json(body))
    except RefusedError as error:
        return [(error.code, error.path)]
    return [
        (problem.code, problem.below("policy").pointer)
        for problem in breaches(document.policy, settings, look_at_files=False)
    ]


def source(**stanza: Any) -> dict[str, Any]:
    return {"sources": {"s": stanza}}


def model(file: str) -> dict[str, Any]:
    return {"models": {"m": {"file": file}}}


@pytest.mark.parametrize(
    "stanza",
    [
        {"kind": "pipe", "command": ["sh", "-c", "id"]},
        {"kind": "pipe", "pipe": "csi", "command": ["sh"]},
        {"kind": "pipe", "pipe": "sh"},
        {"kind": "pipe", "pipe": ["sh", "-c", "id"]},
        {"kind": "pipe", "pipe": "csi; id"},
        {"kind": "exec", "command": "id"},
    ],
)
def test_a_policy_runs_no_command_of_its_own(settings: Settings, stanza: dict[str, Any]) -> None:
    assert refusals(settings, source(**stanza))
    assert refusals(settings, source(kind="pipe", pipe="csi")) == []


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../agent.toml", "clips/../../agent.toml", "..", "", "clips/\0", "a/./../../b"]
)
def test_a_policy_reads_nothing_outside_media_root(settings: Settings, path: str) -> None:
    for policy in (source(kind="file", path=path), source(kind="images", path=path), model(path)):
        assert refusals(settings, policy)


def test_a_policy_follows_no_link_out_of_media_root(settings: Settings) -> None:
    (settings.media_root / "clips").symlink_to("/etc")
    wanted = (Code.AUTH, "/policy/sources/s/path")
    assert refusals(settings, source(kind="file", path="clips/passwd")) == [wanted]
    assert refusals(settings, model("clips/passwd")) == [(Code.AUTH, "/policy/models/m/file")]


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://elsewhere.example/",
        "rtsp://plant.example/",
        "rtsp://door.plant.example.evil.example/",
        "rtsp://door.plant.example@evil.example/",
        "rtsp://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://0x7f000001/",
        "rtsp://evil.example\\.plant.example/",
        "rtsp://evil.example\t.plant.example/",
        "rtsp://evil.example\n.plant.example/",
        "rtsp://evil.example .plant.example/",
        "rtsp://evil.example%2F.plant.example/",
        "rtsp://evil.example%00.plant.example/",
        "rtsp://evil.example;.plant.example/",
        "rtsp://evil.example#.plant.example/",
        "rtsp://evil.example?.plant.example/",
    ],
)
def test_a_policy_reaches_no_host_that_settings_do_not_allow(settings: Settings, url: str) -> None:
    assert refusals(settings, source(kind=url.partition(":")[0], url=url))
    assert refusals(settings, source(kind="rtsp", url="rtsp://door.plant.example/")) == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "concat:/etc/passwd",
        "pipe:0",
        "ftp://door.plant.example/",
        "rtmp://door.plant.example/",
        "/dev/video0",
        "//door.plant.example/",
        "subfile,,start,0,end,9,,:/etc/passwd",
    ],
)
def test_a_policy_uses_no_scheme_but_those_of_cameras(settings: Settings, url: str) -> None:
    for kind in ("rtsp", "http"):
        assert refusals(settings, source(kind=kind, url=url))


def test_a_policy_sends_no_secret_to_another_host(settings: Settings) -> None:
    gate = source(kind="rtsp", url="rtsp://gate.plant.example/", secret="door")
    assert refusals(settings, gate) == [(Code.AUTH, "/policy/sources/s/secret")]
    unknown = source(kind="rtsp", url="rtsp://door.plant.example/", secret="gate")
    assert refusals(settings, unknown) == [(Code.AUTH, "/policy/sources/s/secret")]
    assert refusals(settings, source(kind="rtsp", url="rtsp://door.plant.example/", secret="door")) == []


@pytest.mark.parametrize(
    "stanza",
    [
        {"kind": "rtsp", "url": "rtsp://viewer:hunter2@door.plant.example/"},
        {"kind": "rtsp", "url": "rtsp://door.plant.example/", "password": "hunter2"},
        {"kind": "rtsp", "url": "rtsp://door.plant.example/", "secret": {"password": "hunter2"}},
    ],
)
def test_a_policy_carries_no_secret_itself(settings: Settings, stanza: dict[str, Any]) -> None:
    assert refusals(settings, source(**stanza))


@pytest.mark.parametrize(
    "device", ["/dev/video0", "sda", "../sda", "video0/../sda", "v4l/by-id/../../sda", "mem"]
)
def test_a_policy_opens_no_device_but_cameras(settings: Settings, device: str) -> None:
    assert refusals(settings, source(kind="v4l2", device=device))


@pytest.mark.parametrize(
    "policy",
    [
        {"settings": {"allowed_hosts": ["*"]}},
        {"broker": {"host": "evil.example"}},
        {"control": {"require_signed": False}},
        {"secrets": {}},
        {"pipes": {}},
        {"media_root": "/"},
        {"publish": {"topic": "edge/v1/plant/other"}},
    ],
)
def test_a_policy_changes_no_settings(settings: Settings, policy: dict[str, Any]) -> None:
    assert [code for code, _ in refusals(settings, policy)] == [Code.SCHEMA]
