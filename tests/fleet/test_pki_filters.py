"""The filters of the roles `pki` and `broker`, by which certificates are renewed and names are held apart."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.fleet import roles


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    return roles.filters("nanofleet_pki")


@pytest.mark.parametrize(
    ("now", "left"),
    [
        ("20251231000000Z", 1.0),
        ("20260101000000Z", 1.0),
        ("20260501000000Z", 1 / 3),
        ("20260630000000Z", 0.0),
        ("20270630000000Z", -2.0),
    ],
)
def test_life_left_is_a_share_of_the_whole(filters: ModuleType, now: str, left: float) -> None:
    certificate = {"not_before": "20260101000000Z", "not_after": "20260630000000Z"}
    assert filters.life_left(certificate, now) == pytest.approx(left, abs=0.03)


def test_what_has_no_dates_is_refused(filters: ModuleType) -> None:
    with pytest.raises(ValueError, match="no dates"):
        filters.life_left({"subject": {}})


def test_ansible_finds_each_filter(filters: ModuleType) -> None:
    assert set(filters.FilterModule().filters()) == {
        "life_left",
        "life_days",
        "alt_names",
        "in_force",
        "repeated",
        "ill_named",
        "ending",
        "nodes_of",
        "gone_of",
        "with_access",
        "revoked",
        "readmitted",
        "revocations",
        "systemd_word",
        "systemd_path",
    }


def test_a_name_that_means_two_nodes_is_refused(filters: ModuleType) -> None:
    nodes = [
        {"host": "box-1", "name": "box-2", "site": "plant"},
        {"host": "box-2", "name": "box-3", "site": "plant"},
    ]
    assert filters.gone_of("box-1,box-3", nodes) == nodes
    with pytest.raises(ValueError, match="take its other name"):
        filters.gone_of("box-2", nodes)


def test_a_readmitted_name_can_be_revoked_again_with_what_it_got_since(filters: ModuleType) -> None:
    gone = [{"name": "nano-1", "site": "plant"}]
    issued = [{"subject": {"commonName": "nano-1"}, "serial_number": 1}]
    entries = filters.readmitted(filters.revoked([], gone, issued), ["nano-1"])
    assert filters.in_force(entries) == []
    issued.append({"subject": {"commonName": "nano-1"}, "serial_number": 256})
    entries = filters.revoked(entries, gone, issued)
    assert [entry["serials"] for entry in filters.in_force(entries)] == [["01:00"]]
    assert [entry["serial_number"] for entry in filters.revocations(entries)] == ["01", "01:00"]
