"""What two policies do differently with the sources."""

from typing import Any

import pytest

from agent.contract.policy import Policy
from agent.pipeline.control.changes import SourceChanges, source_changes

DOOR: dict[str, Any] = {"kind": "file", "path": "a.avi", "model": "people"}
MOTOR: dict[str, Any] = {"kind": "vibration", "model": "motor"}


def policy(**found: dict[str, Any]) -> Policy:
    models = {name: {"file": f"{name}.onnx"} for name in ("people", "others", "motor", "machine")}
    return Policy.model_validate({"models": models, "sources": found})


def changes(old: dict[str, Any], new: dict[str, Any], *, reloaded: tuple[str, ...] = ()) -> SourceChanges:
    return source_changes(policy(one=old), policy(one=new), reloaded=reloaded)


NONE = SourceChanges((), (), (), ())
ALTERED = SourceChanges((), (), (), ("one",))  # type: ignore[arg-type]
REOPENED = SourceChanges((), (), ("one",), ())  # type: ignore[arg-type]


def test_same_policy_touches_nothing() -> None:
    assert changes(DOOR, DOOR) == NONE


def test_other_models_publishing_and_power_touch_no_source() -> None:
    one = Policy.model_validate({"sources": {"door": {"kind": "synthetic"}}})
    other = Policy.model_validate(
        {"sources": {"door": {"kind": "synthetic"}}, "publish": {"window": 5}, "power": {"mode": "eco"}}
    )
    assert source_changes(one, other) == NONE


@pytest.mark.parametrize(
    "change",
    [
        {"model": "others"},
        {"priority": 9},
        {"fps": 3},
        {"max_staleness_s": 2},
        {"thresholds": {"confidence": 0.9}},
        {"shadow": {"model": "others"}},
        {"zones": {"gate": {"polygon": [[0, 0], [1, 0], [1, 1]]}}},
    ],
)
def test_how_a_camera_is_served_changes_while_it_runs(change: dict[str, Any]) -> None:
    assert changes(DOOR, {**DOOR, **change}) == ALTERED


def test_camera_without_a_model_gets_one_while_it_runs() -> None:
    assert changes({"kind": "synthetic"}, {"kind": "synthetic", "model": "people"}) == ALTERED


@pytest.mark.parametrize(
    "stanza",
    [
        {**DOOR, "path": "b.avi"},
        {**DOOR, "loop": True},
        {**DOOR, "overflow": "wait"},
        {"kind": "synthetic", "model": "people"},
        MOTOR,
    ],
)
def test_where_a_source_comes_from_takes_another_opening(stanza: dict[str, Any]) -> None:
    assert changes(DOOR, stanza) == REOPENED


@pytest.mark.parametrize("change", [{"report_every_s": 5}, {"report": "mean"}, {"priority": 1}])
def test_what_a_sensor_tells_changes_while_it_runs(change: dict[str, Any]) -> None:
    assert changes(MOTOR, {**MOTOR, **change}) == ALTERED


def test_sensor_is_opened_anew_for_another_model_be_it_under_the_same_name() -> None:
    assert changes(MOTOR, {**MOTOR, "model": "machine"}) == REOPENED
    assert changes(MOTOR, MOTOR, reloaded=("motor",)) == REOPENED
    assert changes(DOOR, DOOR, reloaded=("people",)) == NONE


def test_sources_come_and_go_and_what_is_switched_off_does_not_run() -> None:
    old = policy(door=DOOR, yard={**DOOR, "enabled": False}, motor=MOTOR)
    new = policy(door={**DOOR, "enabled": False}, yard=DOOR, hall={"kind": "synthetic"}, motor=MOTOR)
    found = source_changes(old, new)
    assert (found.removed, found.added, found.reopened) == (("door",), ("yard", "hall"), ())
    assert found.altered == ()
