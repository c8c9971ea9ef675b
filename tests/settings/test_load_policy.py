"""A policy against what Settings permit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.contract.policy import Policy
from agent.contract.problems import Problem
from agent.domain.errors import Code, RefusedError
from agent.settings import InvalidConfigError, Settings, load_policy, resolve_media
from agent.settings.advice import advice_on_policy, advice_on_settings
from agent.settings.permits import breaches


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "people.onnx").write_bytes(b"a model")
    return folder


@pytest.fixture
def settings(media: Path) -> Settings:
    return Settings.model_validate(
        {
            "site": "plant",
            "node": "nano-42",
            "media_root": media,
            "broker": {"host": "broker"},
            "allowed_hosts": ["*.plant.example", "10.1.0.0/16"],
            "pipes": {"csi": {"command": ["true"], "width_px": 64, "height_px": 64}},
            "secrets": {"cam": {"username": "u", "password_file": "p", "hosts": ["door.plant.example"]}},
        }
    )


def breaches_of(settings: Settings, **policy: Any) -> list[Problem]:
    return list(breaches(Policy.model_validate(policy), settings))


def test_a_policy_within_the_permits_is_loaded(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "version: 7\npolicy:\n  models: {people: {file: models/people.onnx}}\n  sources:\n"
        "    door: {kind: rtsp, url: 'rtsp://door.plant.example/1', secret: cam, model: people}\n"
        "    yard: {kind: http, url: 'http://10.1.2.3:8080/'}\n    csi: {kind: pipe, pipe: csi}\n"
        "    clip: {kind: file, path: clips/not-there-yet.mp4}\n"
    )
    document = load_policy(path, settings)
    assert (document.version, document.issuer, sorted(document.policy.sources)) == (
        7,
        "file",
        ["clip", "csi", "door", "yard"],
    )


@pytest.mark.parametrize(
    ("source", "pointer", "message", "hint"),
    [
        (
            {"kind": "rtsp", "url": "rtsp://plant.example/"},
            "/sources/s/url",
            "host 'plant.example' is not among",
            "*.plant.example, 10.1.0.0/16",
        ),
        ({"kind": "http", "url": "http://10.2.0.1/"}, "/sources/s/url", "'10.2.0.1'", ""),
        ({"kind": "http", "url": "http://[::ffff:10.1.0.1]/"}, "/sources/s/url", "is not among", ""),
        ({"kind": "pipe", "pipe": "cs"}, "/sources/s/pipe", "no [pipes.cs]", "did you mean 'csi'?"),
        (
            {"kind": "rtsp", "url": "rtsp://door.plant.example/", "secret": "came"},
            "/sources/s/secret",
            "no [secrets.came]",
            "did you mean 'cam'?",
        ),
        (
            {"kind": "rtsp", "url": "rtsp://gate.plant.example/", "secret": "cam"},
            "/sources/s/secret",
            "may not be sent to host 'gate.plant.example'",
            "door.plant.example",
        ),
        (
            {"kind": "pipe", "pipe": "cs", "enabled": False},
            "/sources/s/pipe",
            "no [pipes.cs]",
            "",
        ),
    ],
)
def test_what_settings_do_not_name_is_refused_with_its_pointer(
    settings: Settings, source: dict[str, Any], pointer: str, message: str, hint: str
) -> None:
    (problem,) = breaches_of(settings, sources={"s": source})
    assert (problem.code, problem.pointer) == (Code.AUTH, pointer)
    assert message in problem.message
    assert hint in problem.hint


def test_a_link_that_climbs_out_of_media_root_is_refused(
    settings: Settings, media: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.mp4").write_bytes(b"")
    (media / "door").symlink_to(tmp_path / "outside")
    (media / "stays").symlink_to(media / "models")
    (problem,) = breaches_of(
        settings,
        models={"m": {"file": "stays/people.onnx"}},
        sources={"s": {"kind": "file", "path": "door/secret.mp4"}},
    )
    assert (problem.code, problem.pointer) == (Code.AUTH, "/sources/s/path")
    with pytest.raises(RefusedError, match="leads out of media_root"):
        resolve_media(settings, "door/secret.mp4")


def test_links_in_a_circle_are_refused(settings: Settings, media: Path) -> None:
    (media / "a").symlink_to(media / "b")
    (media / "b").symlink_to(media / "a")
    with pytest.raises(RefusedError) as caught:
        resolve_media(settings, "a")
    assert caught.value.code is Code.FILE


def test_media_root_may_be_a_link_itself(settings: Settings, media: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(media)
    linked = settings.model_copy(update={"media_root": tmp_path / "link"})
    assert resolve_media(linked, "models/people.onnx") == (media / "models" / "people.onnx").resolve()


def test_a_model_has_to_be_there(settings: Settings) -> None:
    (problem,) = breaches_of(settings, models={"m": {"file": "models/peple.onnx"}})
    assert (problem.code, problem.pointer) == (Code.FILE, "/models/m/file")
    policy = Policy.model_validate({"models": {"m": {"file": "models/peple.onnx"}}})
    assert list(breaches(policy, settings, look_at_files=False)) == []


def test_form_and_permits_are_told_together(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "version: 1\npolicy:\n  sources:\n    a: {kind: rtsp, url: 'rtsp://elsewhere/', model: m}\n"
        "    b: {kind: pipe}\n  power: {lanes: 0}\n"
    )
    with pytest.raises(InvalidConfigError) as caught:
        load_policy(path, settings)
    assert [(each.line, each.dotted, each.code) for each in caught.value.problems] == [
        (4, "policy.sources.a.model", Code.SCHEMA),
        (4, "policy.sources.a.url", Code.AUTH),
        (5, "policy.sources.b.pipe", Code.SCHEMA),
        (6, "policy.power.lanes", Code.SCHEMA),
    ]


def test_a_policy_that_is_not_there_is_one_problem(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        load_policy(tmp_path / "policy.yaml", settings)
    assert [each.code for each in caught.value.problems] == [Code.FILE]


def test_advice_tells_what_is_probably_not_meant(settings: Settings) -> None:
    policy = Policy.model_validate(
        {
            "models": {"m": {"file": "models/people.onnx"}, "n": {"file": "models/people.onnx"}},
            "sources": {
                "door": {"kind": "http", "url": "http://door.plant.example/", "secret": "cam", "model": "m"},
                "clip": {
                    "kind": "file",
                    "path": "a.mp4",
                    "zones": {"z": {"polygon": [[0, 0], [1, 0], [1, 1]]}},
                },
            },
            "rules": {"r": {"when": "true"}},
        }
    )
    said = "\n".join(advice_on_policy(policy, settings))
    for words in (
        "models.n: no",
        "door.secret: over http",
        "clip.path",
        "clip: it has",
    ):
        assert words in said
    assert "a.mp4" not in "\n".join(advice_on_policy(policy, settings, look_at_files=False))


@pytest.mark.parametrize(
    ("stated", "is_told"),
    [
        ({"kind": "synthetic", "fps": 0.4}, True),
        ({"kind": "synthetic", "fps": 2}, False),
        ({"kind": "synthetic"}, False),
        ({"kind": "images", "path": "a", "every_s": 5}, True),
        ({"kind": "images", "path": "a", "every_s": 1, "fps": 0.1}, True),
        ({"kind": "images", "path": "a", "every_s": 1}, False),
    ],
)
def test_advice_tells_of_tracks_that_no_missed_frame_may_outlast(
    settings: Settings, stated: dict[str, object], is_told: bool
) -> None:
    policy = Policy.model_validate({"sources": {"yard": {**stated, "tracking": {}}}})
    said = "\n".join(advice_on_policy(policy, settings, look_at_files=False))
    assert ("sources.yard.tracking.keep_s: a frame comes every" in said) is is_told


def test_advice_on_settings_tells_of_plain_text_and_of_no_hosts(settings: Settings) -> None:
    assert list(advice_on_settings(settings)) == []
    broker = settings.broker.model_copy(update={"allow_insecure": True})
    careless = settings.model_copy(update={"broker": broker, "allowed_hosts": ()})
    assert [line.split(":")[0] for line in advice_on_settings(careless)] == [
        "broker.allow_insecure",
        "allowed_hosts is empty",
    ]


def test_nothing_to_watch_is_told(settings: Settings) -> None:
    assert list(advice_on_policy(Policy(), settings)) == [
        "policy.sources: none is enabled, the node watches nothing"
    ]
