"""A real file system of a few megabytes: filled, made read-only, frozen, and unmounted whatever happens."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.programs import find_program

_LONGEST_S: Final = 30.0


class SmallDisk:
    """Mounted at `place`: ext4 in a file on a loop device, or tmpfs where there are none."""

    def __init__(self, place: Path, *, kind: str, megabytes: int, image: Path) -> None:
        self.place = place
        self._name = f"{kind} of {megabytes} MB"
        self._image = image
        self._ballast = place / "ballast"

    def __str__(self) -> str:
        return self._name

    def use_up(self, *, but_bytes: int = 0) -> None:
        """Fill it by a file of somebody else's, but for the last `but_bytes`."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1024))
        if but_bytes:
            with self._ballast.open("r+b") as file:
                file.truncate(max(0, self._ballast.stat().st_size - but_bytes))

    def free(self) -> None:
        """Take that file away again."""
        self._ballast.unlink()

    def remount(self, options: str) -> None:
        """`mount -o remount,…`; ro is refused by the kernel while a file is open for writing."""
        _run("mount", "-o", f"remount,{options}", str(self.place))

    def fail(self) -> None:
        """What ext4 does when it finds itself inconsistent: from now on nobody writes, open files or not."""
        device = _run("findmnt", "-no", "SOURCE", str(self.place)).strip()
        Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("1")

    @contextlib.contextmanager
    def kept_mounted(self) -> Iterator[None]:
        """Somebody else's mount namespace has it, too: it lives on there when it is unmounted here."""
        with subprocess.Popen(["unshare", "--mount", "sleep", "infinity"]) as keeper:
            try:
                yield
            finally:
                keeper.kill()

    def repair(self) -> None:
        """What an administrator then does, who does not wait until nobody has a file open.

        It goes on with a copy: as long as anybody's mount namespace still has the old one, the kernel would
        mount the same file system again, which takes no writes for good.
        """
        _run("umount", "-l", str(self.place))
        failed = self._image.with_suffix(".failed")
        self._image.rename(failed)
        shutil.copyfile(failed, self._image)
        failed.unlink()
        self.check()
        _run("mount", "-o", _OPTIONS, str(self._image), str(self.place))

    def check(self) -> None:
        """Mend the file system; it is not mounted, or no longer where it was."""
        # 1: it was mended.
        _run("e2fsck", "-fy", str(self._image), codes=(0, 1))

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Who writes now waits in the kernel, and cannot even be killed."""
        _run("fsfreeze", "-f", str(self.place))
        try:
            yield
        finally:
            _run("fsfreeze", "-u", str(self.place))


_OPTIONS: Final = "loop,errors=remount-ro"


@contextlib.contextmanager
def small_disk(folder: Path, *, megabytes: int, only_ext4: bool = False) -> Iterator[SmallDisk]:
    """Mounted below `folder` until the end; skips the test where nothing can be mounted."""
    place, image = folder / "disk", folder / "disk.image"
    place.mkdir()
    kind, refused = "ext4", _mount_ext4(image, place, megabytes)
    if refused and not only_ext4:
        kind, refused = "tmpfs", _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place))
    if refused:
        pytest.skip(f"no file system can be mounted here: {refused}")
    try:
        yield SmallDisk(place, kind=kind, megabytes=megabytes, image=image)
    finally:
        # Lazily: what a failed test has left open must not keep it here.
        _run("umount", "-l", str(place))
        image.unlink(missing_ok=True)


def _mount_ext4(image: Path, place: Path, megabytes: int) -> str:
    """Why not; empty if it is mounted."""
    mkfs = find_program("mkfs.ext4")
    if mkfs is None:
        return "there is no mkfs.ext4"
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    _run(mkfs, "-q", "-F", "-m", "0", "-J", "size=4", str(image))
    return _mount("-o", _OPTIONS, str(image), str(place))


def _mount(*words: str) -> str:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False, timeout=_LONGEST_S)
    return "" if done.returncode == 0 else done.stderr.strip() or "mount failed"


def _run(program: str, *words: str, codes: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [find_program(program) or program, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_S,
    )
    assert done.returncode in codes, f"{program} {' '.join(words)}: {done.stderr.strip()}"
    return done.stdout
