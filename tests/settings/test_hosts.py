"""Which hosts a rule of Settings covers."""

from __future__ import annotations

import pytest

from agent.settings.hosts import check_host_rule, is_covered


@pytest.mark.parametrize(
    ("host", "rule", "covered"),
    [
        ("camera.plant.example", "camera.plant.example", True),
        ("CAMERA.plant.example", "camera.plant.example", True),
        ("camera.plant.example.", "camera.plant.example", True),
        ("camera.plant.example", "*.plant.example", True),
        ("a.b.plant.example", "*.plant.example", True),
        ("plant.example", "*.plant.example", False),
        ("evilplant.example", "*.plant.example", False),
        ("plant.example.evil", "*.plant.example", False),
        ("10.1.2.3", "10.1.0.0/16", True),
        ("10.2.0.1", "10.1.0.0/16", False),
        ("10.1.2.3.evil.example", "10.1.0.0/16", False),
        ("camera.plant.example", "0.0.0.0/0", False),
        ("167838211", "10.1.0.0/16", False),
        ("0x0a010203", "10.1.0.0/16", False),
        ("10.1.2.3", "*.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("2001:db8:0::7", "2001:db8::7", True),
        ("2001:db8::7", "2001:db8::/32", True),
        ("::ffff:10.1.2.3", "10.1.0.0/16", False),
        ("", "*.plant.example", False),
    ],
)
def test_a_rule_covers_what_is_written_and_nothing_else(host: str, rule: str, covered: bool) -> None:
    assert is_covered(host, [check_host_rule(rule)]) is covered


def test_no_rule_covers_nothing() -> None:
    assert not is_covered("camera", [])


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "*",
        "*.",
        "http://camera",
        "camera:554",
        "user@camera",
        "10.1.0.1/16",
        "10.1.0.0/33",
        "a..b",
        "-a",
        "cam*.x",
        "a b",
    ],
)
def test_what_says_no_host_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match=r"names no host|is no network"):
        check_host_rule(rule)
