"""HTTP cameras: Motion-JPEG, HLS and files, credentials that stay where they belong, and failures."""

import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from agent.adapters.cameras.network import NetworkCamera
from agent.domain.errors import Code, NanofleetError, RefusedError, TransientError
from tests.brokers import free_port
from tests.fakes.schedule import SteppedTime
from tests.http_camera import HttpCamera
from tests.polling import until_blocking
from tests.programs import find_program
from tests.videos import convert, number_in, numbered, write_video

PICTURES = [numbered(number) for number in range(300)]
PASSWORD = "p@ss:w/rd%#?"


def failure_of(camera: NetworkCamera) -> NanofleetError:
    with pytest.raises(NanofleetError) as caught:
        camera.open()
    camera.close()
    return caught.value


def numbers_of(camera: NetworkCamera, count: int) -> list[int]:
    camera.open()
    frames = [camera.read() for _ in range(count)]
    camera.close()
    return [number_in(frame) for frame in frames if frame is not None]


def read_on(camera: NetworkCamera) -> None:
    while camera.read() is not None:
        pass


def test_motion_jpeg_is_read_live_and_never_waited_with() -> None:
    time = SteppedTime()
    with HttpCamera(PICTURES, rate_hz=200) as server:
        assert numbers_of(NetworkCamera(url=server.url, pacer=time.pacer()), 50) == list(range(50))
    assert time.waits == []


def test_damaged_picture_is_passed_over() -> None:
    with HttpCamera(PICTURES, rate_hz=100) as server:
        server.encoded[5] = server.encoded[5][:200] + bytes(50)
        server.encoded[6] = b"\xff\xd8\xff no picture"
        numbers = numbers_of(NetworkCamera(url=server.url), 20)
    assert numbers[:5] == [0, 1, 2, 3, 4]
    assert numbers[-10:] == list(range(numbers[-1] - 9, numbers[-1] + 1))


def test_credentials_are_sent_where_they_are_asked_for() -> None:
    with HttpCamera(PICTURES, credentials=("admin", PASSWORD)) as server:
        assert numbers_of(NetworkCamera(url=server.url, credentials=("admin", PASSWORD)), 2) == [0, 1]
        wrong = failure_of(NetworkCamera(url=server.url, credentials=("admin", "guessed")))
        missing = failure_of(NetworkCamera(url=server.url))
    assert (wrong.code, missing.code) == (Code.AUTH, Code.AUTH)
    assert "refused the credentials" in wrong.message
    assert "none are set" in missing.message


def test_redirect_is_not_followed_and_takes_no_credentials_along() -> None:
    with (
        HttpCamera(PICTURES, host="127.0.0.2", credentials=("admin", PASSWORD)) as other,
        HttpCamera(PICTURES, credentials=("admin", PASSWORD), redirects_to=other.url) as server,
    ):
        error = failure_of(NetworkCamera(url=server.url, credentials=("admin", PASSWORD)))
    assert isinstance(error, RefusedError)
    assert "points to another address, which is not followed" in error.message
    assert server.seen
    assert other.seen == []


def test_path_that_is_not_there_is_told() -> None:
    with HttpCamera(PICTURES) as server:
        error = failure_of(NetworkCamera(url=f"{server.base}/nothing"))
    assert isinstance(error, TransientError)
    assert f"has no stream of this name: {server.base}/nothing" in error.message


def test_page_instead_of_a_video_is_told(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>Camera</h1>" * 50)
    with HttpCamera(folder=tmp_path) as server:
        error = failure_of(NetworkCamera(url=f"{server.base}/folder/index.html"))
    assert "gives no video that can be decoded" in error.message


def test_stream_that_falls_silent_is_a_timeout_and_one_that_ends_is_told() -> None:
    with HttpCamera(PICTURES, rate_hz=200, stops_after=20) as server:
        camera = NetworkCamera(url=server.url, read_timeout_s=0.5)
        camera.open()
        with pytest.raises(TransientError) as silent:
            read_on(camera)
        camera.close()
    with HttpCamera(PICTURES, rate_hz=200, stops_after=20, hangs_up=True) as server:
        camera = NetworkCamera(url=server.url)
        camera.open()
        with pytest.raises(TransientError) as ended:
            read_on(camera)
        camera.close()
    assert (silent.value.code, ended.value.code) == (Code.TIMEOUT, Code.ENDED)


def test_file_over_http_comes_at_its_own_pace(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.avi", 20, rate_hz=8)
    time = SteppedTime()
    with HttpCamera(folder=tmp_path) as server:
        camera = NetworkCamera(url=f"{server.base}/folder/clip.avi", pacer=time.pacer())
        assert numbers_of(camera, 20) == list(range(20))
    assert time.waits == [0.125] * 19


@pytest.mark.ffmpeg
def test_hls_comes_at_its_own_pace(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.avi", 40, rate_hz=10)
    segments = ("-c:v", "libx264", "-g", "10", "-bf", "0", "-pix_fmt", "yuv420p", "-hls_time", "1")
    convert(source, tmp_path / "live.m3u8", *segments, "-hls_list_size", "0", "-f", "hls")
    time = SteppedTime()
    with HttpCamera(folder=tmp_path) as server:
        camera = NetworkCamera(url=f"{server.base}/folder/live.m3u8", pacer=time.pacer())
        assert numbers_of(camera, 40) == list(range(40))
    assert time.waits == pytest.approx([0.1] * 39, abs=1e-3)
    assert sum(path.endswith(".ts") for path, _ in server.seen) >= 4


@pytest.mark.ffmpeg
def test_ffmpeg_as_the_server_is_read(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.avi", 60, rate_hz=30)
    url = f"http://127.0.0.1:{free_port()}/live.ts"
    command = [
        *(find_program("ffmpeg") or "", "-nostdin", "-loglevel", "error", "-re", "-stream_loop", "-1"),
        *("-i", str(source), "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10"),
        *("-pix_fmt", "yuv420p", "-f", "mpegts", "-listen", "1", url),
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as ffmpeg:
        try:
            camera = NetworkCamera(url=url, open_timeout_s=20)

            def opens() -> bool:
                try:
                    camera.open()
                except TransientError:
                    camera.close()  # it does not listen yet
                    return False
                return True

            until_blocking(opens, within_s=30, every_s=0.2)
            frames = [camera.read() for _ in range(20)]
            camera.close()
        finally:
            ffmpeg.kill()
    numbers = [number_in(frame) for frame in frames if frame is not None]
    assert numbers == list(range(numbers[0], numbers[0] + 20))


def test_certificates_are_verified(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    named, other = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
    authority.issue_cert("localhost").configure_cert(named)
    authority.issue_cert("elsewhere.example").configure_cert(other)
    ca_file = tmp_path / "ca.pem"
    with HttpCamera(PICTURES, tls=named) as server, HttpCamera(PICTURES, tls=other) as impostor:
        url, other_url = (f"https://localhost:{each.port}/video" for each in (server, impostor))
        assert numbers_of(NetworkCamera(url=url, ca_file=ca_file), 2) == [0, 1]
        untrusted = failure_of(NetworkCamera(url=url))
        misnamed = failure_of(NetworkCamera(url=other_url, ca_file=ca_file, credentials=("admin", PASSWORD)))
    assert (untrusted.code, misnamed.code) == (Code.TLS, Code.TLS)
    assert impostor.seen == []
