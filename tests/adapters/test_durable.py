"""The file at a path is the old one or the new one, whatever the disk does."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.adapters.durable import install_file, replace_file


def test_the_new_content_takes_the_old_ones_place(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    replace_file(file, b"old")
    replace_file(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    replace_file(file, b"old")
    (tmp_path / "state.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        replace_file(file, b"new")
    assert file.read_bytes() == b"old"


def test_no_folder_is_made_for_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "mistyped" / "state.json", b"new")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_ready_is_moved(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ready.write_bytes(b"new")
    install_file(ready, tmp_path / "state")
    assert (tmp_path / "state").read_bytes() == b"new"
    assert not ready.exists()
