"""The parts of a release: targets, locks, fetched wheels, archives."""

from __future__ import annotations

import platform
import sys
import tarfile
from pathlib import Path
from typing import Final

import pytest
from packaging.tags import Tag

from tests.tiny_wheels import make_wheel
from tools.check_wheels import PYTHONS
from tools.release.fetching import fetch
from tools.release.locks import Pin, read_lock, read_sets
from tools.release.programs import ReleaseError
from tools.release.targets import DEFAULT_TARGETS, Target, target_named
from tools.release.wheelhouse import Wheelhouse
from tools.release.wheels import read_wheel

JETSON: Final = Target(12, "aarch64")


@pytest.mark.parametrize(("name", "tag", "runs"), [
    ("cp312-aarch64", "py3-none-any", True),
    ("cp312-aarch64", "cp312-cp312-manylinux_2_28_aarch64", True),
    ("cp312-aarch64", "cp311-abi3-manylinux2014_aarch64", True),
    ("cp312-aarch64", "cp312-cp312-manylinux_2_34_aarch64", False),
    ("cp312-aarch64", "cp312-cp312-manylinux_2_28_x86_64", False),
    ("cp312-aarch64", "cp313-abi3-manylinux_2_28_aarch64", False),
    ("cp311-x86_64", "cp311-cp311-manylinux1_x86_64", True),
    ("cp311-x86_64", "cp312-cp312-manylinux_2_28_x86_64", False),
    ("cp311-x86_64", "cp311-cp311-musllinux_1_2_x86_64", False),
])  # fmt: skip
def test_target_runs_wheels_of_its_tags(name: str, tag: str, runs: bool) -> None:
    assert (Tag(*tag.split("-")) in target_named(name).tags) is runs


@pytest.mark.parametrize("name", ["cp310-x86_64", "cp315-aarch64", "cp311-armv7l", "cp311", "x86_64"])
def test_target_refuses_what_nodes_do_not_run(name: str) -> None:
    with pytest.raises(ValueError, match="is no target"):
        target_named(name)


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="this processor is no node's")
def test_native_is_this_machine() -> None:
    assert target_named("native").name == f"cp3{sys.version_info.minor}-{platform.machine()}"


def test_targets_are_the_pythons_that_wheels_are_checked_for() -> None:
    assert {target.python for target in DEFAULT_TARGETS} <= set(PYTHONS)
    assert [Target(int(python.partition(".")[2]), "aarch64").python for python in PYTHONS] == list(PYTHONS)


def write_lock(folder: Path, text: str) -> Path:
    path = folder / "lock.txt"
    path.write_text(text)
    return path


def test_lock_is_read_for_its_target(tmp_path: Path) -> None:
    ones, twos = "1" * 64, "2" * 64
    lock = write_lock(
        tmp_path,
        f"one==1.0 ; python_full_version < '3.12' \\\n    --hash=sha256:{ones}\n"
        f"one==2.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:{ones} \\\n"
        f"    --hash=sha256:{twos}\n"
        f"    # via two\nthree==3 ; sys_platform == 'win32' \\\n    --hash=sha256:{twos}\n",
    )
    assert read_lock(lock, target=JETSON) == {"one": Pin("one", "2.0", frozenset([ones, twos]))}
    assert read_lock(lock, target=Target(11, "aarch64")) == {"one": Pin("one", "1.0", frozenset([ones]))}


@pytest.mark.parametrize("text", ["one==1.0\n", "one>=1.0 --hash=sha256:" + "1" * 64, "-r other.txt\n"])
def test_lock_that_leaves_something_open_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ReleaseError):
        read_lock(write_lock(tmp_path, text), target=JETSON)


@pytest.mark.parametrize("target", DEFAULT_TARGETS, ids=lambda target: target.name)
def test_sets_of_this_project_part_onnxruntime_from_the_rest(target: Target) -> None:
    sets = read_sets(Path(__file__).parents[3] / "requirements", target=target, gpu=True)
    assert [pin.name for pin in sets.cpu] == ["onnxruntime"]
    assert [pin.name for pin in sets.gpu] == ["onnxruntime-gpu"]
    assert {"joserfc", "cryptography", "numpy", "protobuf"} <= {pin.name for pin in sets.base}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of an index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def pins(folder: Path, *lines: str) -> list[Pin]:
    return list(read_lock(write_lock(folder, "".join(lines)), target=JETSON).values())


@pytest.mark.release
def test_fetch_takes_the_wheel_of_the_target_and_keeps_it(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "one", tag="cp312-cp312-manylinux_2_28_x86_64")
    one = make_wheel(index, "one", tag="cp312-cp312-manylinux_2_28_aarch64")
    two = make_wheel(index, "two", tag="cp311-abi3-manylinux2014_aarch64")
    told: list[str] = []
    wanted = pins(tmp_path, one, two)
    wheels = fetch(wanted, target=JETSON, kept=tmp_path / "kept", tell=told.append)
    assert [wheel.path.name for wheel in wheels] == [
        "one-1.0-cp312-cp312-manylinux_2_28_aarch64.whl",
        "two-1.0-cp311-abi3-manylinux2014_aarch64.whl",
    ]
    assert told == ["cp312-aarch64: fetching 2 of 2 wheels"]
    for path in index.iterdir():
        path.unlink()
    assert fetch(wanted, target=JETSON, kept=tmp_path / "kept", tell=told.append) == wheels
    assert len(told) == 1


@pytest.mark.release
def test_fetch_does_not_take_a_kept_wheel_that_was_tampered_with(index: Path, tmp_path: Path) -> None:
    wanted = pins(tmp_path, make_wheel(index, "one"))
    [wheel] = fetch(wanted, target=JETSON, kept=tmp_path / "kept", tell=print)
    wheel.path.write_bytes(wheel.path.read_bytes() + b"x")
    [again] = fetch(wanted, target=JETSON, kept=tmp_path / "kept", tell=print)
    assert again.path.read_bytes() == (index / wheel.path.name).read_bytes()


@pytest.mark.release
def test_fetch_names_a_package_without_a_wheel(index: Path, tmp_path: Path) -> None:
    wanted = pins(tmp_path, make_wheel(index, "one", tag="cp312-cp312-manylinux_2_34_aarch64"))
    with pytest.raises(ReleaseError, match=r"cp312-aarch64: .*one"):
        fetch(wanted, target=JETSON, kept=tmp_path / "kept", tell=print)


def test_wheelhouse_is_the_same_bytes_whenever_it_is_written(tmp_path: Path) -> None:
    for name in ("pip", "one", "onnxruntime"):
        make_wheel(tmp_path, name)
    pip, one, runtime = (
        read_wheel(tmp_path / f"{name}-1.0-py3-none-any.whl") for name in ("pip", "one", "onnxruntime")
    )
    house = Wheelhouse(target=JETSON, pip=pip, base=[one], cpu=[runtime])
    (tmp_path / "again").mkdir()
    written = house.write(tmp_path)
    one.path.touch()
    assert house.write(tmp_path / "again").read_bytes() == written.read_bytes()
    with tarfile.open(written) as archive:
        members = archive.getmembers()
        base = archive.extractfile("requirements/base.txt")
        assert base is not None
        assert base.read().decode() == f"one==1.0 \\\n    --hash=sha256:{one.sha256}\n"
    assert {(member.uid, member.gid, member.uname, member.gname, member.mtime) for member in members} == {
        (0, 0, "", "", 1_580_601_600)
    }
    assert [member.name for member in members] == [
        *("one-1.0-py3-none-any.whl", "onnxruntime-1.0-py3-none-any.whl", "pip-1.0-py3-none-any.whl"),
        *("requirements", "requirements/base.txt", "requirements/cpu.txt"),
    ]


def test_wheelhouse_names_the_build_for_gpus_only_where_it_holds_one(tmp_path: Path) -> None:
    for name in ("pip", "onnxruntime", "onnxruntime_gpu"):
        make_wheel(tmp_path, name)
    pip, cpu, gpu = (
        read_wheel(tmp_path / f"{name}-1.0-py3-none-any.whl")
        for name in ("pip", "onnxruntime", "onnxruntime_gpu")
    )
    without = Wheelhouse(target=JETSON, pip=pip, base=[pip], cpu=[cpu])
    with_gpu = Wheelhouse(target=JETSON, pip=pip, base=[pip], cpu=[cpu], gpu=[gpu])
    assert (without.onnxruntime, list(without.requirements())) == (
        ["cpu"],
        ["requirements/base.txt", "requirements/cpu.txt"],
    )
    assert with_gpu.onnxruntime == ["cpu", "gpu"]
    assert with_gpu.requirements()["requirements/gpu.txt"].startswith("onnxruntime-gpu==1.0 ")
