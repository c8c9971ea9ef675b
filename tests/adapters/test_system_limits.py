"""What bounds a process's memory, read from trees as the kernel lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.adapters.system.limits import MemoryLimits, read_limits

MIB = 1 << 20
BOARD = "MemTotal:        3956736 kB\nMemFree:          100000 kB\nMemAvailable:    2048000 kB\n"


def lay_down(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    lay_down(tmp_path, {"proc/meminfo": BOARD, "proc/self/status": "VmRSS:\t  102400 kB\n"})
    return tmp_path


def read(machine: Path) -> MemoryLimits:
    found = read_limits(proc=machine / "proc", cgroups=machine / "cgroup")
    assert found is not None
    return found


def test_a_machine_without_cgroups_is_bounded_by_what_is_available(machine: Path) -> None:
    found = read(machine)
    assert found.bound.by == "the memory of this board"
    assert (found.bound.total_mb, found.bound.left_mb) == (3864.0, 2000.0)
    assert found.most_mb == 2100.0


def test_a_service_is_bounded_by_its_memory_max_and_files_pages_can_be_dropped(machine: Path) -> None:
    lay_down(
        machine,
        {
            "proc/self/cgroup": "0::/system.slice/nanofleet.service\n",
            "cgroup/system.slice/nanofleet.service/memory.max": f"{256 * MIB}\n",
            "cgroup/system.slice/nanofleet.service/memory.high": "max\n",
            "cgroup/system.slice/nanofleet.service/memory.current": f"{120 * MIB}\n",
            "cgroup/system.slice/nanofleet.service/memory.stat": f"anon 1\ninactive_file {20 * MIB}\n",
            "cgroup/system.slice/memory.max": "max\n",
            "cgroup/system.slice/memory.current": f"{500 * MIB}\n",
        },
    )
    found = read(machine)
    assert found.bound.by.endswith("system.slice/nanofleet.service")
    assert (found.bound.total_mb, found.bound.left_mb) == (256.0, 156.0)


def test_the_limit_of_a_slice_above_bounds_too(machine: Path) -> None:
    lay_down(
        machine,
        {
            "proc/self/cgroup": "0::/edge.slice/nanofleet.service\n",
            "cgroup/edge.slice/nanofleet.service/memory.max": "max\n",
            "cgroup/edge.slice/nanofleet.service/memory.current": f"{50 * MIB}\n",
            "cgroup/edge.slice/memory.max": f"{400 * MIB}\n",
            "cgroup/edge.slice/memory.high": f"{300 * MIB}\n",
            "cgroup/edge.slice/memory.current": f"{250 * MIB}\n",
        },
    )
    found = read(machine)
    assert found.bound.by.endswith("edge.slice")
    assert found.bound.left_mb == 50.0


def test_in_a_container_the_hosts_path_is_not_there_and_the_root_counts(machine: Path) -> None:
    lay_down(
        machine,
        {
            "proc/self/cgroup": "0::/docker/0123456789ab\n",
            "cgroup/memory.max": f"{512 * MIB}\n",
            "cgroup/memory.current": f"{512 * MIB + 4096}\n",
        },
    )
    assert read(machine).bound.left_mb == 0.0


def test_version_1_is_read_from_its_own_hierarchy(machine: Path) -> None:
    lay_down(
        machine,
        {
            "proc/self/cgroup": "12:cpu,cpuacct:/agent\n7:memory:/agent\n0::/agent\n",
            "cgroup/memory/agent/memory.limit_in_bytes": f"{200 * MIB}\n",
            "cgroup/memory/agent/memory.usage_in_bytes": f"{150 * MIB}\n",
            "cgroup/memory/agent/memory.stat": f"cache 1\ntotal_inactive_file {30 * MIB}\n",
            "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "cgroup/memory/memory.usage_in_bytes": f"{900 * MIB}\n",
        },
    )
    found = read(machine)
    assert found.bound.by.endswith("memory/agent")
    assert (found.bound.total_mb, found.bound.left_mb) == (200.0, 80.0)


def test_nothing_is_known_where_the_kernel_tells_nothing(tmp_path: Path) -> None:
    assert read_limits(proc=tmp_path / "proc", cgroups=tmp_path / "cgroup") is None


def test_this_machine_can_be_read() -> None:
    found = read_limits()
    assert found is not None
    assert found.bound.total_mb > 0
    assert found.taken_mb > 5
