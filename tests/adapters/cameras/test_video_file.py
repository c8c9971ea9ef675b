"""Video files: every frame, at its time, and an honest end."""

from pathlib import Path
from random import Random

import pytest
import structlog.testing

from agent.adapters.cameras.video_file import VideoFileCamera
from agent.domain.errors import Code, NanofleetError, RefusedError
from tests.fakes.schedule import SteppedTime
from tests.videos import convert, cut_off, number_in, numbered, write_video

MPEG4 = ("-c:v", "mpeg4", "-q:v", "3")


def numbers_until_the_end(camera: VideoFileCamera, numbers: list[int]) -> None:
    """Read all; what was read is in `numbers`, also when the end is an error."""
    camera.open()
    try:
        while (frame := camera.read()) is not None:
            numbers.append(number_in(frame))
    finally:
        camera.close()


def failure_of(path: Path) -> tuple[NanofleetError, list[int]]:
    numbers: list[int] = []
    with pytest.raises(NanofleetError) as caught:
        numbers_until_the_end(VideoFileCamera(path=path, pace="fast"), numbers)
    return caught.value, numbers


@pytest.mark.parametrize(("name", "codec"), [("clip.avi", "MJPG"), ("clip.mp4", "mp4v")])
def test_every_frame_comes_in_order(tmp_path: Path, name: str, codec: str) -> None:
    numbers: list[int] = []
    path = write_video(tmp_path / name, 40, codec=codec)
    numbers_until_the_end(VideoFileCamera(path=path, pace="fast"), numbers)
    assert numbers == list(range(40))


@pytest.mark.ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("h264.mp4", ("-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p")),
        ("h264.mkv", ("-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p")),
        ("h264.ts", ("-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p")),
        ("raw.h264", ("-c:v", "libx264", "-pix_fmt", "yuv420p")),
        ("vp8.webm", ("-c:v", "libvpx", "-b:v", "1M")),
    ],
)
def test_every_frame_of_reordering_codecs_comes_in_order(
    tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    numbers: list[int] = []
    path = convert(write_video(tmp_path / "source.avi", 40), tmp_path / name, *options)
    numbers_until_the_end(VideoFileCamera(path=path, pace="fast"), numbers)
    assert numbers == list(range(40))


@pytest.mark.testdata
def test_surveillance_clip_has_795_frames(testdata: Path) -> None:
    camera = VideoFileCamera(path=testdata / "clips" / "vtest.avi", pace="fast")
    camera.open()
    count = 0
    while (frame := camera.read()) is not None:
        assert frame.shape == (576, 768, 3)
        count += 1
    camera.close()
    assert count == 795


def test_clock_pace_follows_the_rate_of_the_file(tmp_path: Path) -> None:
    time = SteppedTime()
    path = write_video(tmp_path / "clip.avi", 5, rate_hz=8)
    numbers_until_the_end(VideoFileCamera(path=path, pacer=time.pacer()), [])
    assert time.waits == [0.125] * 4


@pytest.mark.ffmpeg
def test_clock_pace_follows_the_stamps_where_the_rate_varies(tmp_path: Path) -> None:
    time = SteppedTime()
    uneven = ("-vf", "select='not(eq(n,1)+eq(n,2)+eq(n,5))'", "-vsync", "vfr", *MPEG4)
    path = convert(write_video(tmp_path / "source.avi", 8), tmp_path / "uneven.mkv", *uneven)
    numbers: list[int] = []
    numbers_until_the_end(VideoFileCamera(path=path, pacer=time.pacer()), numbers)
    assert numbers == [0, 3, 4, 6, 7]
    assert time.waits == pytest.approx([0.3, 0.1, 0.2, 0.1], abs=1e-3)


def test_fast_pace_never_waits(tmp_path: Path) -> None:
    time = SteppedTime()
    path = write_video(tmp_path / "clip.avi", 5)
    numbers_until_the_end(VideoFileCamera(path=path, pace="fast", pacer=time.pacer()), [])
    assert time.waits == []


def test_looped_file_begins_again_and_keeps_the_pace(tmp_path: Path) -> None:
    time = SteppedTime()
    path = write_video(tmp_path / "clip.avi", 3, rate_hz=10)
    camera = VideoFileCamera(path=path, loop=True, pacer=time.pacer())
    camera.open()
    frames = [camera.read() for _ in range(8)]
    camera.close()
    assert [number_in(frame) for frame in frames if frame is not None] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert time.waits == pytest.approx([0.1] * 7, abs=1e-3)


@pytest.mark.ffmpeg
@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi", "clip.mp4"])
def test_file_that_was_cut_off_tells_how_many_frames_lack(tmp_path: Path, name: str) -> None:
    whole = convert(
        write_video(tmp_path / "source.avi", 60), tmp_path / name, *MPEG4, "-movflags", "+faststart"
    )
    error, numbers = failure_of(cut_off(whole, tmp_path / f"cut-{name}", 0.6))

    assert isinstance(error, RefusedError)
    assert error.code is Code.ENDED
    assert f"ended after {len(numbers)} of 60 frames: the file is cut off" in error.message
    assert 10 < len(numbers) < 55


@pytest.mark.ffmpeg
def test_cut_off_file_whose_index_lacks_does_not_open(tmp_path: Path) -> None:
    whole = convert(write_video(tmp_path / "source.avi", 60), tmp_path / "clip.mp4", *MPEG4)
    error, numbers = failure_of(cut_off(whole, tmp_path / "cut.mp4", 0.6))
    assert error.code is Code.FILE
    assert "the file is cut off" in error.message
    assert numbers == []


@pytest.mark.ffmpeg
def test_frames_after_a_damaged_stretch_still_come(tmp_path: Path) -> None:
    codec = ("-c:v", "libx264", "-g", "10", "-bf", "0", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
    whole = convert(write_video(tmp_path / "source.avi", 100), tmp_path / "clip.mp4", *codec)
    data = bytearray(whole.read_bytes())
    begin = int(len(data) * 0.6)
    data[begin : begin + len(data) // 8] = Random(1).randbytes(len(data) // 8)
    whole.write_bytes(data)
    numbers: list[int] = []
    with structlog.testing.capture_logs() as logged:
        numbers_until_the_end(VideoFileCamera(path=whole, pace="fast"), numbers)

    assert len(numbers) < 100
    assert numbers[-5:] == [95, 96, 97, 98, 99]
    warnings = [line for line in logged if line["event"] == "camera.frames_damaged"]
    assert [line["frames"] for line in warnings] == [len(numbers)]
    assert 0 < warnings[0]["count"] <= 100 - len(numbers)


@pytest.mark.ffmpeg
def test_hidden_frames_and_estimated_counts_are_no_damage(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.avi", 100)
    long = convert(source, tmp_path / "long.mp4", "-c:v", "libx264", "-g", "60", "-pix_fmt", "yuv420p")
    trimmed = tmp_path / "trimmed.mp4"  # begins with frames for the decoder that an edit list hides
    convert(long, trimmed, "-ss", "4", "-c", "copy")
    sparse = convert(
        source, tmp_path / "sparse.mkv", "-vf", "select='not(mod(n,9))+gt(n,90)'", "-vsync", "vfr", *MPEG4
    )
    for path in (trimmed, sparse):
        numbers: list[int] = []
        numbers_until_the_end(VideoFileCamera(path=path, pace="fast"), numbers)
        assert numbers[-1] == 99
        assert len(numbers) < 100


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"This is a text, and no video at all.\n" * 40, "is no video file"),
        (b"RIFF\x08\0\0\0AVI LIST", "holds no video that can be decoded"),
    ],
)
def test_file_that_is_no_video_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "clip.avi"
    path.write_bytes(content)
    error, _ = failure_of(path)
    assert isinstance(error, RefusedError)
    assert error.code is Code.FILE
    assert reason in error.message


def test_unknown_codec_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 5)
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"QQQQ"))
    error, numbers = failure_of(path)
    assert error.code is Code.FILE
    assert "of an unknown codec" in error.message
    assert numbers == []


@pytest.mark.ffmpeg
def test_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    write_sound(path)
    error, _ = failure_of(path)
    assert "holds no video" in error.message


def write_sound(path: Path) -> None:
    """A second of silence."""
    wav = path.with_suffix(".wav")
    samples = bytes(16_000)
    head = b"RIFF" + (36 + len(samples)).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\x01\0\x01\0"
    head += (8000).to_bytes(4, "little") + (16_000).to_bytes(4, "little") + b"\x02\0\x10\0"
    wav.write_bytes(head + b"data" + len(samples).to_bytes(4, "little") + samples)
    convert(wav, path, "-c:a", "aac")


def test_name_that_looks_like_an_address_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.avi", 2).rename(tmp_path / "http:clip.avi")
    numbers: list[int] = []
    numbers_until_the_end(VideoFileCamera(path=Path("http:clip.avi"), pace="fast"), numbers)
    assert numbers == [0, 1]


def test_pictures_of_these_tests_carry_their_number() -> None:
    assert [number_in(numbered(number)) for number in (0, 1, 512, 1023)] == [0, 1, 512, 1023]
