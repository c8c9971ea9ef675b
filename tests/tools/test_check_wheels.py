"""The check for ARM wheels, against a folder of wheels made for the test instead of an index."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from tools.check_wheels import main


def make_wheel(folder: Path, tag: str) -> str:
    """An empty package `widget 1.0` for one platform. Returns the SHA-256 of its file."""
    path = folder / f"widget-1.0-{tag}.whl"
    information = "widget-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: widget\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        wheel.writestr(f"{information}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def lock(folder: Path, digest: str) -> str:
    path = folder / "lock.txt"
    path.write_text(f"widget==1.0 --hash=sha256:{digest}\n")
    return str(path)


@pytest.mark.parametrize("tag", ["py3-none-any", "cp311-abi3-manylinux_2_28_aarch64"])
def test_check_wheels_accepts_a_wheel_that_runs_there(index: Path, tmp_path: Path, tag: str) -> None:
    assert main([lock(tmp_path, make_wheel(index, tag))]) == 0


@pytest.mark.parametrize("tag", ["cp311-abi3-manylinux_2_28_x86_64", "cp311-abi3-manylinux_2_34_aarch64"])
def test_check_wheels_refuses_a_wheel_for_elsewhere(
    index: Path, tmp_path: Path, tag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([lock(tmp_path, make_wheel(index, tag))]) == 1
    assert "widget" in capsys.readouterr().err


def test_check_wheels_refuses_a_package_with_sources_only(index: Path, tmp_path: Path) -> None:
    sources = index / "widget-1.0.tar.gz"
    sources.write_bytes(b"sources")
    assert main([lock(tmp_path, hashlib.sha256(b"sources").hexdigest())]) == 1
