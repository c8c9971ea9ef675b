"""The policy as a value: it survives its way through text, and answers what the pipeline asks it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.contract.canonical import canonical_json, sha256_of
from agent.contract.conditions import check_condition
from agent.contract.policy import FileCamera, ImagesCamera, Policy, PolicyDocument, RtspCamera
from agent.contract.policy_text import parse_policy, read_policy_text
from agent.contract.schemas import schema_of

SCHEMA = schema_of(PolicyDocument)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)
FRACTIONS = st.floats(0, 1)
SECONDS = st.floats(0.01, 60)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
MEDIA = st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8}\.[a-z]{1,4})?", fullmatch=True)


def stanza(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


THRESHOLDS = stanza(
    {},
    {
        "confidence": FRACTIONS,
        "iou": FRACTIONS,
        "max_objects": st.integers(1, 3000),
        "min_side_px": st.floats(0, 100),
        "classes": st.dictionaries(TEXT, FRACTIONS | st.just("off"), max_size=3),
    },
)
MODELS = stanza(
    {"file": MEDIA},
    {
        "sha256": st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        "provider": st.sampled_from(["cpu", "cuda", "tensorrt", "openvino", "migraphx"]),
        "shape": st.sampled_from(["file", "auto", [384, 640]]),
        "max_batch": st.integers(1, 32),
        "thresholds": THRESHOLDS,
    },
)
ZONES = st.dictionaries(
    NAMES,
    stanza(
        {"polygon": st.sampled_from([[[0, 0], [1, 0], [0.5, 0.25]], [[0, 0], [1, 0], [1, 1], [0, 1]]])},
        {"mode": st.sampled_from(["include", "exclude"]), "classes": st.lists(TEXT, min_size=1, max_size=2)},
    ),
    max_size=2,
)


def cameras(kind: str, required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    common = {
        "enabled": st.booleans(),
        "priority": st.integers(0, 9),
        "fps": SECONDS,
        "overflow": st.sampled_from(["newest", "wait"]),
        "thresholds": THRESHOLDS,
        "zones": ZONES,
    }
    return stanza({"kind": st.just(kind), **required}, {**common, **optional})


SOURCES = st.one_of(
    cameras("file", {"path": MEDIA}, pace=st.sampled_from(["clock", "fast"]), loop=st.booleans()),
    cameras("images", {"path": MEDIA}, every_s=SECONDS),
    cameras(
        "rtsp", {"url": st.just("rtsp://camera.example:554/a?b=c")}, secret=NAMES, open_timeout_s=SECONDS
    ),
    cameras("http", {"url": st.just("https://[2001:db8::7]/video")}),
    cameras("v4l2", {}, device=st.just("v4l/by-id/usb-1"), format=st.just("MJPG")),
    cameras("pipe", {"pipe": NAMES}),
    cameras("synthetic", {}, seed=st.integers(0, 9), frames=st.integers(1, 9)),
    stanza({"kind": st.just("system")}, {"every_s": SECONDS, "report": st.sampled_from(["last", "all"])}),
    stanza({"kind": st.just("vibration")}, {"rate_hz": SECONDS, "fault_for_s": st.floats(0, 19)}),
)
RULES = stanza(
    {"when": st.just("size(objects) > 3")},
    {"for_s": SECONDS, "severity": st.sampled_from(["info", "critical"]), "message": TEXT},
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    models = draw(st.dictionaries(NAMES, MODELS, max_size=2))
    sources = draw(st.dictionaries(NAMES, SOURCES, max_size=3))
    rules = draw(st.dictionaries(NAMES, RULES, max_size=2))
    seeing = [name for name, source in sources.items() if source["kind"] not in {"system", "vibration"}]
    for source in sources.values():
        uses_one: bool = draw(st.booleans())
        if models and uses_one:
            source["model"] = draw(st.sampled_from(sorted(models)))
            if source["kind"] not in {"system", "vibration"} and draw(st.booleans()):
                source["shadow"] = {"model": draw(st.sampled_from(sorted(models))), "fps": draw(SECONDS)}
    for rule in rules.values():
        if seeing:
            rule["snapshot"] = draw(st.lists(st.sampled_from(seeing), max_size=2))
    lanes = draw(st.sampled_from(["auto", "latency", "throughput", 3]))
    policy = {"models": models, "sources": sources, "rules": rules, "power": {"lanes": lanes}}
    return {"version": draw(st.integers(0, 2**53 - 1)), "policy": policy}


def through(text: str, file: str) -> PolicyDocument:
    return parse_policy(read_policy_text(text.encode(), file=file))


@given(documents())
def test_a_document_survives_json_yaml_and_its_own_text(plain: dict[str, Any]) -> None:
    text = json.dumps(plain, ensure_ascii=False)
    document = through(text, "policy.json")
    assert through(text, "policy.yaml") == document
    assert through(document.model_dump_json(), "policy.json") == document
    assert through(canonical_json(document.model_dump(mode="json")).decode(), "policy.json") == document


@given(documents())
def test_every_document_that_is_accepted_fits_the_published_schema(plain: dict[str, Any]) -> None:
    document = through(json.dumps(plain), "policy.json")
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert list(validator.iter_errors(plain)) == []
    assert list(validator.iter_errors(document.model_dump(mode="json"))) == []


def test_what_is_written_out_hashes_as_what_was_meant() -> None:
    short = through(
        '{"version": 1, "policy": {"sources": {"c": {"kind": "synthetic", "rate_hz": 10}}}}', "a.json"
    )
    long = through("v: 1\nversion: 1\npolicy: {sources: {c: {kind: synthetic, rate_hz: 1.0e+1}}}", "a.yaml")
    assert sha256_of(short.model_dump(mode="json")) == sha256_of(long.model_dump(mode="json"))


def test_a_policy_cannot_be_changed() -> None:
    policy = Policy()
    with pytest.raises(ValidationError, match="frozen"):
        policy.power = policy.power  # type: ignore[misc]


def policy_with(model: dict[str, Any], source: dict[str, Any]) -> Policy:
    return Policy.model_validate(
        {
            "models": {"m": {"file": "m.onnx", "thresholds": model}},
            "sources": {"c": {"kind": "synthetic", "model": "m", "thresholds": source}},
        }
    )


@pytest.mark.parametrize(
    ("model", "source", "confidence", "by_class"),
    [
        ({}, {}, 0.25, {}),
        ({"confidence": 0.4}, {}, 0.4, {}),
        ({"confidence": 0.4}, {"confidence": 0.1}, 0.1, {}),
        ({"classes": {"cat": 0.7}}, {"classes": {"dog": 0.6}}, 0.25, {"cat": 0.7, "dog": 0.6}),
        ({"classes": {"cat": 0.7}}, {"confidence": 0.5}, 0.5, {}),
        ({"classes": {"cat": 0.7}}, {"confidence": 0.5, "classes": {"cat": 0.9}}, 0.5, {"cat": 0.9}),
        ({}, {"classes": {"cat": "off"}}, 0.25, {"cat": 1.01}),
    ],
)
def test_thresholds_of_a_source_win_over_those_of_its_model(
    model: dict[str, Any], source: dict[str, Any], confidence: float, by_class: dict[str, float]
) -> None:
    thresholds = policy_with(model, source).thresholds_of("c")
    assert (thresholds.confidence, dict(thresholds.by_class)) == (confidence, by_class)
    assert (thresholds.iou, thresholds.max_objects, thresholds.min_side_px) == (0.45, 300, 0.0)


@pytest.mark.parametrize(
    ("camera", "overflow"),
    [
        (FileCamera(kind="file", path="a.mp4"), "newest"),
        (FileCamera(kind="file", path="a.mp4", pace="fast"), "wait"),
        (FileCamera(kind="file", path="a.mp4", pace="fast", overflow="newest"), "newest"),
        (ImagesCamera(kind="images", path="a", every_s=0), "wait"),
        (ImagesCamera(kind="images", path="a"), "newest"),
        (RtspCamera(kind="rtsp", url="rtsp://camera/"), "newest"),
        (RtspCamera(kind="rtsp", url="rtsp://camera/", overflow="wait"), "wait"),
    ],
)
def test_what_is_read_as_fast_as_possible_waits(
    camera: FileCamera | ImagesCamera | RtspCamera, overflow: str
) -> None:
    assert camera.overflow_or_default == overflow


@pytest.mark.parametrize(
    "condition",
    [
        "size(objects) > 3",
        "objects.exists(o, o.class == 'person' && o.zones == [\"hall\"])",
        "text == 'a ) in quotes' // and ( in a remark",
        r"text.matches(r'\(') && other == 'it\'s'",
        "'''three ' quotes ('''.size() > 1",
    ],
)
def test_a_condition_whose_brackets_close_passes(condition: str) -> None:
    assert check_condition(condition) == condition


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("   ", "a condition is wanted"),
        ("size(objects", "never closed"),
        ("size objects)", "character 13 closes nothing"),
        ("a[1)", "closes nothing"),
        ("a == 'b", "no closing '"),
    ],
)
def test_a_condition_that_does_not_close_is_refused(condition: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_condition(condition)


def test_a_shadow_names_a_model_and_needs_a_first_one() -> None:
    models = {"people": {"file": "people.onnx"}}
    door = {"kind": "synthetic", "shadow": {"model": "peple"}}
    with pytest.raises(ValidationError, match="compares a second model with the first"):
        Policy.model_validate({"models": models, "sources": {"door": door}})
    with pytest.raises(ValidationError, match="this policy has no model 'peple'") as refused:
        Policy.model_validate({"models": models, "sources": {"door": {**door, "model": "people"}}})
    assert refused.value.errors()[0]["loc"] == ("sources", "door", "shadow", "model")


def test_shadows_are_those_of_cameras_that_are_switched_on() -> None:
    camera = {"kind": "synthetic", "model": "people", "shadow": {"model": "people"}}
    sources = {"door": camera, "yard": {**camera, "enabled": False}, "motor": {"kind": "vibration"}}
    policy = Policy.model_validate({"models": {"people": {"file": "people.onnx"}}, "sources": sources})
    assert {name: shadow.fps for name, shadow in policy.shadows.items()} == {"door": 1.0}
