"""Which lanes a policy comes to have: asked for, measured here, or by the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from agent.adapters.onnx.session import sha256_of
from agent.contract.policy import Policy, PolicyDocument
from agent.serving.lane_plan import TUNING_FOLDER, LanePlan, plan_lanes
from agent.serving.provisions import plan_for
from agent.serving.tuning import Lanes, Machine, Tuning, beside, write_tuning
from agent.settings import Settings

ALONE = Lanes(lanes=1, threads=3, spinning=False, arena=False)
MANY = Lanes(lanes=3, threads=1, spinning=True, arena=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("parts.onnx", "people.onnx"):
        (tmp_path / name).write_bytes(name.encode())
    said = {
        "site": "plant",
        "node": "nano-42",
        "state_dir": tmp_path / "state",
        "media_root": tmp_path,
        "broker": {"host": "broker"},
    }
    return Settings.model_validate(said)


def policy(*models: str, lanes: Any = "auto", provider: str = "cpu") -> Policy:
    """A camera for each of `models`."""
    return Policy.model_validate(
        {
            "models": {name: {"file": f"{name}.onnx", "provider": provider} for name in set(models)},
            "sources": {
                f"camera-{number}": {"kind": "synthetic", "model": name} for number, name in enumerate(models)
            },
            "power": {"lanes": lanes},
        }
    )


def keep(settings: Settings, name: str = "parts", *, folder: Path | None = None, **changes: Any) -> Path:
    model = settings.media_root / f"{name}.onnx"
    tuning = Tuning(
        model_sha256=sha256_of(model), provider="cpu", machine=Machine.here(), alone=ALONE, many=MANY
    ).model_copy(update=changes)
    place = folder / beside(model).name if folder else beside(model)
    write_tuning(tuning, place)
    return place


@pytest.mark.parametrize(
    ("asked", "plan"),
    [
        ("latency", (1, 4, "asked")),
        ("throughput", (4, 1, "asked")),
        (3, (3, 1, "asked")),
        ("auto", (1, 4, "default")),
    ],
)
def test_policy_or_the_rule_decides(settings: Settings, asked: Any, plan: tuple[int, int, str]) -> None:
    found = plan_lanes(policy("parts", lanes=asked), settings, cores=4)
    assert (found.lanes, found.threads, found.reason) == plan


def test_several_cameras_want_throughput(settings: Settings) -> None:
    assert plan_lanes(policy("parts", "parts"), settings, cores=4) == LanePlan(lanes=4, threads=1)


def test_auto_takes_what_was_measured(settings: Settings) -> None:
    keep(settings)
    assert plan_lanes(policy("parts"), settings, cores=4) == LanePlan(
        lanes=1, threads=3, spinning=False, arena=False, reason="measured"
    )
    many = plan_lanes(policy("parts", "parts"), settings, cores=4)
    assert (many.lanes, many.threads, many.arena, many.reason) == (3, 1, False, "measured")


def test_what_is_asked_for_stands_above_what_was_measured(settings: Settings) -> None:
    keep(settings)
    assert plan_lanes(policy("parts", lanes="throughput"), settings, cores=4).reason == "asked"


def test_state_dir_keeps_it_for_models_whose_folder_cannot_be_written(settings: Settings) -> None:
    folder = settings.state_dir / TUNING_FOLDER
    folder.mkdir(parents=True)
    keep(settings, folder=folder)
    assert plan_lanes(policy("parts"), settings, cores=4).reason == "measured"


def test_stale_measurement_is_left_aside_with_its_reason(settings: Settings) -> None:
    place = keep(settings, model_sha256="0" * 64)
    found = plan_lanes(policy("parts"), settings, cores=4)
    assert (found.lanes, found.threads, found.reason) == (1, 4, "default")
    (why,) = found.unused
    assert str(place) in why
    assert "another model file" in why
    assert "would measure again" in why


def test_measurement_of_another_machine_or_provider_is_left_aside(settings: Settings) -> None:
    keep(settings, machine=Machine.here().model_copy(update={"cores": 99}))
    assert "99 cores" in plan_lanes(policy("parts"), settings, cores=4).unused[0]
    keep(settings)
    found = plan_lanes(policy("parts", provider="openvino"), settings, cores=4)
    assert (found.reason, "policy says openvino" in found.unused[0]) == ("default", True)


def test_damaged_file_is_left_aside(settings: Settings) -> None:
    beside(settings.media_root / "parts.onnx").write_text("{")
    found = plan_lanes(policy("parts"), settings, cores=4)
    assert (found.reason, "no tuning that this version knows" in found.unused[0]) == ("default", True)


def test_every_model_of_a_camera_must_have_been_measured(settings: Settings) -> None:
    keep(settings)
    two = policy("parts", "people")
    assert plan_lanes(two, settings, cores=4) == LanePlan(lanes=4, threads=1)
    keep(settings, "people", many=MANY.model_copy(update={"lanes": 2}))
    assert plan_lanes(two, settings, cores=4).lanes == 3


def test_start_tells_the_plan_its_reason_and_what_is_stale(settings: Settings) -> None:
    keep(settings, provider="cuda")
    document = PolicyDocument.model_validate(
        {"version": 1, "issued_at": "2026-11-24T00:00:00Z", "issuer": "test", "policy": policy("parts")}
    )
    with structlog.testing.capture_logs() as entries:
        plan = plan_for(document.policy, settings)
    by_event = {entry["event"]: entry for entry in entries}
    assert by_event["lanes.tuning_unused"]["log_level"] == "warning"
    assert "measured on cuda" in by_event["lanes.tuning_unused"]["why"]
    assert by_event["lanes.planned"]["reason"] == "default"
    assert by_event["lanes.planned"]["threads"] == plan.threads == Machine.here().cores

    keep(settings)
    with structlog.testing.capture_logs() as entries:
        assert plan_for(document.policy, settings).threads == 3
    assert [entry["reason"] for entry in entries if entry["event"] == "lanes.planned"] == ["measured"]
