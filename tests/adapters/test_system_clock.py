from __future__ import annotations

import time
from pathlib import Path

import pytest

from agent.adapters.system.clock import SystemClock, kernel_maxerror_us
from agent.domain.errors import ConfigError
from agent.ports import Clock


def test_boot_is_the_kernels_boot_id() -> None:
    clock: Clock = SystemClock()
    assert clock.boot == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    assert len(clock.boot) == 36


def test_now_tells_both_times_of_one_moment() -> None:
    clock = SystemClock()
    wall_before, monotonic_before = time.time_ns(), time.monotonic_ns()
    stamp = clock.now()
    wall_after, monotonic_after = time.time_ns(), time.monotonic_ns()
    assert wall_before <= stamp.wall_ns <= wall_after
    assert monotonic_before <= stamp.monotonic_ns <= monotonic_after


def test_a_machine_without_proc_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the agent needs Linux with /proc mounted"):
        SystemClock(boot_id=tmp_path / "absent")


def test_the_kernel_tells_its_greatest_error() -> None:
    maxerror_us = kernel_maxerror_us()
    assert maxerror_us is not None
    assert 0 <= maxerror_us <= 16_000_000


@pytest.mark.parametrize(
    ("maxerror_us", "marker", "synced"),
    [
        (0, False, True),
        (15_999_999, False, True),
        (16_000_000, True, False),
        (None, True, True),
        (None, False, False),
    ],
)
def test_synced_follows_the_kernel_and_only_without_it_the_marker(
    tmp_path: Path, maxerror_us: int | None, marker: bool, synced: bool
) -> None:
    if marker:
        (tmp_path / "synchronized").touch()
    clock = SystemClock(maxerror_us=lambda: maxerror_us, marker=tmp_path / "synchronized")
    assert clock.synced() is synced


def test_synced_asks_the_kernel_once_in_a_while_only(tmp_path: Path) -> None:
    asked: list[None] = []
    clock = SystemClock(maxerror_us=lambda: asked.append(None), marker=tmp_path / "absent")
    answers = {clock.synced() for _ in range(1000)}
    assert answers == {False}
    assert len(asked) == 1
