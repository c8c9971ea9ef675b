"""What a video file says of itself in its first bytes."""

from pathlib import Path

import pytest

from agent.adapters.cameras.container import Container, inspect_container
from agent.domain.errors import Code, RefusedError, TransientError
from tests.videos import convert, cut_off, write_video


@pytest.fixture
def avi(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.avi", 8)


@pytest.mark.parametrize(("name", "codec", "kind"), [("a.avi", "MJPG", "AVI"), ("a.mp4", "mp4v", "MP4")])
def test_whole_file_is_as_long_as_it_says(tmp_path: Path, name: str, codec: str, kind: str) -> None:
    container = inspect_container(write_video(tmp_path / name, 8, codec=codec))
    assert container.kind == kind
    assert not container.is_cut_off


@pytest.mark.ffmpeg
@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.mkv", "Matroska"), ("a.webm", "Matroska"), ("a.mov", "MP4"), ("a.ts", "MPEG-TS"), ("a.flv", "FLV")],
)
def test_kinds_that_ffmpeg_writes_are_told(tmp_path: Path, avi: Path, name: str, kind: str) -> None:
    codec = {"webm": "libvpx", "flv": "flv1"}.get(name[2:], "mpeg4")
    container = inspect_container(convert(avi, tmp_path / name, "-c:v", codec))
    assert container.kind == kind
    assert not container.is_cut_off


@pytest.mark.ffmpeg
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.avi"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_missing_bytes_are_seen(tmp_path: Path, avi: Path, name: str, share: float) -> None:
    whole = convert(avi, tmp_path / name, "-c:v", "mpeg4")
    container = inspect_container(cut_off(whole, tmp_path / f"cut-{name}", share))
    assert container.is_cut_off
    assert container.bytes < (container.declared_bytes or 0) <= whole.stat().st_size


@pytest.mark.ffmpeg
def test_matroska_that_was_streamed_does_not_say_how_long_it_is(tmp_path: Path, avi: Path) -> None:
    live = convert(avi, tmp_path / "live.mkv", "-c:v", "mpeg4", "-live", "1")
    assert inspect_container(live) == Container("Matroska", live.stat().st_size, None)


@pytest.mark.parametrize(
    "head", [b"", b"RIFF", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x00", b"\0\0\0\1ftyp", b"G"]
)
def test_stump_of_a_file_is_no_crash(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "stump"
    path.write_bytes(head)
    assert inspect_container(path).bytes == len(head)


def test_second_riff_list_of_a_long_avi_belongs_to_it(tmp_path: Path) -> None:
    def riff(size: int) -> bytes:
        return b"RIFF" + size.to_bytes(4, "little")

    path = tmp_path / "long.avi"
    path.write_bytes(riff(12) + b"AVI " + bytes(8) + riff(100) + b"AVIX")
    assert inspect_container(path) == Container("AVI", 32, 20 + 108)


def test_box_with_a_64_bit_size_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(b"\0\0\0\x08ftyp" + b"\0\0\0\x01mdat" + (1 << 33).to_bytes(8, "big"))
    assert inspect_container(path).declared_bytes == 8 + (1 << 33)


def test_missing_file_may_come_later_but_a_folder_never_will_do(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="is not there") as caught:
        inspect_container(tmp_path / "nothing.avi")
    assert caught.value.code is Code.FILE
    with pytest.raises(RefusedError, match="is a folder"):
        inspect_container(tmp_path)
    with pytest.raises(RefusedError, match="cannot be read: Not a directory"):
        inspect_container(Path("/dev/null/clip.avi"))
