"""How many lanes fit, by figures that were measured, and what is said where none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.adapters.system.limits import MemoryBound, MemoryLimits
from agent.contract.policy import Policy
from agent.domain.errors import Code, ConfigError
from agent.serving.memory_plan import ModelNeed, estimate_mb, needs_of, plan_memory
from agent.settings import Settings

NANO = ModelNeed("people", file_mb=12.3, input_px=640 * 640)
SMALL = ModelNeed("parts", file_mb=42.6, input_px=640 * 640)
MEDIUM = ModelNeed("heavy", file_mb=98.8, input_px=640 * 640)
LOW = ModelNeed("people", file_mb=12.3, input_px=384 * 640)


OPENVINO = ModelNeed("people", file_mb=12.3, input_px=640 * 640, provider="openvino")


def limits(total_mb: float, *, left_mb: float, taken_mb: float = 100.0) -> MemoryLimits:
    return MemoryLimits(MemoryBound("the limit of /sys/fs/cgroup/nanofleet", total_mb, left_mb), taken_mb)


@pytest.mark.parametrize(
    ("model", "lanes", "arena", "measured_mb"),
    [
        # VmHWM of one process a row, without outbox, link and camera: docs/providers.md.
        (NANO, 1, True, 162.6),
        (NANO, 2, True, 192.4),
        (NANO, 4, True, 231.4),
        (NANO, 2, False, 267.8),
        (NANO, 4, False, 367.2),
        (LOW, 1, True, 150.2),
        (LOW, 2, True, 165.9),
        (LOW, 4, True, 192.2),
        (SMALL, 2, True, 235.3),
        (MEDIUM, 1, True, 339.0),
        (OPENVINO, 1, True, 249.4),
        (MEDIUM, 2, True, 356.2),
    ],
)
def test_the_estimate_is_what_was_measured_or_somewhat_more(
    model: ModelNeed, lanes: int, arena: bool, measured_mb: float
) -> None:
    beside_the_model_mb = estimate_mb([], beside_mb=0, lanes=1) - 103.0
    estimate = estimate_mb([model], beside_mb=0, lanes=lanes, arena=arena) - beside_the_model_mb
    assert measured_mb * 0.97 <= estimate <= measured_mb * 1.2


def test_as_many_lanes_as_asked_where_there_is_room() -> None:
    plan = plan_memory([NANO], beside_mb=16, lanes=4, limits=limits(3800, left_mb=3000))
    assert (plan.lanes, plan.shrunk) == (4, False)
    assert str(plan).startswith(f"about {plan.need_mb:.0f} MB with 4 lanes, of 3100 MB by")


def test_fewer_lanes_where_there_is_less_room() -> None:
    plan = plan_memory([NANO], beside_mb=16, lanes=4, limits=limits(300, left_mb=200))
    assert 1 <= plan.lanes < 4
    assert plan.shrunk
    assert plan.need_mb <= 300 - 30
    assert f"with {plan.lanes} lanes instead of 4" in str(plan)
    one_more = estimate_mb([NANO], beside_mb=16, lanes=plan.lanes + 1)
    assert one_more > 300 - 30


def test_no_room_for_one_lane_is_a_mistake_that_says_what_would_be_right() -> None:
    with pytest.raises(ConfigError, match="model heavy at a smaller shape") as caught:
        plan_memory([NANO, MEDIUM], beside_mb=32, lanes=2, limits=limits(256, left_mb=156))
    assert caught.value.code == Code.SPACE
    assert "the limit of /sys/fs/cgroup/nanofleet leaves 256 MB" in caught.value.message
    enough_mb = float(caught.value.message.rsplit("a limit of ", 1)[1].split(" MB", 1)[0])
    assert plan_memory(
        [NANO, MEDIUM], beside_mb=32, lanes=2, limits=limits(enough_mb, left_mb=enough_mb - 100)
    ).lanes


def test_without_a_bound_nothing_is_refused() -> None:
    assert plan_memory([MEDIUM], beside_mb=128, lanes=8, limits=None).lanes == 8


def test_a_model_that_serves_and_is_a_shadow_is_counted_twice_and_the_shadow_for_one_run(
    tmp_path: Path,
) -> None:
    (tmp_path / "people.onnx").write_bytes(bytes(3 << 20))
    settings = Settings.model_validate(
        {"site": "plant", "node": "nano-1", "media_root": tmp_path, "broker": {"host": "broker"}}
    )
    cameras = {
        "door": {"kind": "synthetic", "model": "people"},
        "yard": {"kind": "synthetic", "model": "people", "shadow": {"model": "people"}},
    }
    models = {"people": {"file": "people.onnx"}, "spare": {"file": "people.onnx"}}
    needs = needs_of(Policy.model_validate({"models": models, "sources": cameras}), settings)

    assert [(need.name, need.file_mb, need.shadow) for need in needs] == [
        ("people", 3.0, False),
        ("people", 3.0, True),
    ]
    lane_mb = needs[0].lane_mb(arena=True)
    one, four = (estimate_mb(needs, beside_mb=0.0, lanes=lanes) for lanes in (1, 4))
    assert four - one == pytest.approx(3 * lane_mb)
    alone = estimate_mb(needs[:1], beside_mb=0.0, lanes=4)
    assert four - alone == pytest.approx(needs[1].kept_mb + lane_mb)
