"""RTSP over a small real server: transports, credentials, timeouts, and every way in which it fails."""

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import trustme

from agent.adapters.cameras.network import NetworkCamera
from agent.domain.errors import Code, NanofleetError, RefusedError, TransientError
from tests.brokers import free_port
from tests.rtsp_server import RtspServer
from tests.videos import number_in, numbered

PICTURES = [numbered(number) for number in range(300)]
PASSWORD = "p@ss:w/rd%#?ü"
OPENCV_DEFAULT_S = 30.0
"""How long OpenCV waits where no timeout applies."""


def failure_of(camera: NetworkCamera) -> NanofleetError:
    with pytest.raises(NanofleetError) as caught:
        camera.open()
    camera.close()
    return caught.value


def transports(server: RtspServer) -> list[str]:
    asked = [line for request in server.requests for line in request.splitlines() if "Transport:" in line]
    return ["tcp" if "interleaved" in line else "udp" for line in asked]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_video_travels_as_it_was_asked_to(transport: str) -> None:
    with RtspServer(PICTURES) as server:
        camera = NetworkCamera(url=server.url, transport="udp" if transport == "udp" else "tcp")
        camera.open()
        frames = [camera.read() for _ in range(5)]
        camera.close()
    assert [number_in(frame) for frame in frames if frame is not None] == [0, 1, 2, 3, 4]
    assert transports(server) == [transport]


def test_cameras_with_different_transports_do_not_mix_them_up() -> None:
    with RtspServer(PICTURES) as first, RtspServer(PICTURES) as second, RtspServer(PICTURES) as third:
        cameras = [
            NetworkCamera(url=first.url, transport="tcp"),
            NetworkCamera(url=second.url, transport="udp"),
            NetworkCamera(url=third.url, transport="tcp"),
        ]
        for camera in cameras:
            camera.open()
        frames = [camera.read() for camera in cameras]
        for camera in cameras:
            camera.close()
    assert all(frame is not None for frame in frames)
    assert [transports(server) for server in (first, second, third)] == [["tcp"], ["udp"], ["tcp"]]


def test_right_credentials_open_the_camera_whatever_characters_they_have() -> None:
    with RtspServer(PICTURES, credentials=("admin", PASSWORD)) as server:
        camera = NetworkCamera(url=server.url, credentials=("admin", PASSWORD))
        camera.open()
        frame = camera.read()
        camera.close()
    assert frame is not None


def test_wrong_and_missing_credentials_are_told_apart() -> None:
    with RtspServer(PICTURES, credentials=("admin", PASSWORD)) as server:
        wrong = failure_of(NetworkCamera(url=server.url, credentials=("admin", "guessed")))
        missing = failure_of(NetworkCamera(url=server.url))
    assert isinstance(wrong, RefusedError)
    assert isinstance(missing, RefusedError)
    assert (wrong.code, missing.code) == (Code.AUTH, Code.AUTH)
    assert wrong.message == f"127.0.0.1:{server.port} refused the credentials"
    assert missing.message == f"127.0.0.1:{server.port} asks for credentials, and none are set"


def test_right_credentials_for_a_stream_that_is_not_there_are_no_matter_of_credentials() -> None:
    with RtspServer(PICTURES, credentials=("admin", PASSWORD)) as server:
        url = f"rtsp://127.0.0.1:{server.port}/other?token=s3cr3t"
        error = failure_of(NetworkCamera(url=url, credentials=("admin", PASSWORD)))
    assert isinstance(error, TransientError)
    assert error.code is Code.OPEN
    assert error.message.endswith(f"has no stream of this name: rtsp://127.0.0.1:{server.port}/other")


def test_port_where_nobody_listens_is_told() -> None:
    port = free_port()
    error = failure_of(NetworkCamera(url=f"rtsp://127.0.0.1:{port}/live"))
    assert isinstance(error, TransientError)
    assert (error.code, error.message) == (Code.OPEN, f"nobody listens at 127.0.0.1:{port}")


def test_host_that_takes_the_connection_and_says_nothing_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:
        began_s = time.monotonic()
        error = failure_of(
            NetworkCamera(url=f"rtsp://127.0.0.1:{hole.getsockname()[1]}/live", open_timeout_s=0.5)
        )
        took_s = time.monotonic() - began_s
    assert error.code is Code.TIMEOUT
    assert "gave no video within 0.5 s" in error.message
    assert took_s < OPENCV_DEFAULT_S / 2


def test_host_whose_backlog_is_full_is_a_timeout() -> None:
    # Packets to it vanish, as those to a host behind a firewall do.
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        began_s = time.monotonic()
        error = failure_of(
            NetworkCamera(url=f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live", open_timeout_s=0.5)
        )
        took_s = time.monotonic() - began_s
    assert error.code is Code.TIMEOUT
    assert took_s < OPENCV_DEFAULT_S / 2


def test_name_that_cannot_be_resolved_is_told() -> None:
    error = failure_of(NetworkCamera(url="rtsp://camera.invalid/live"))
    assert isinstance(error, TransientError)
    assert error.message.startswith("the name camera.invalid cannot be resolved")


def test_server_of_another_protocol_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"220 mail.example ESMTP\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        error = failure_of(NetworkCamera(url=f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live"))
    assert "does not speak RTSP" in error.message


def test_stream_that_falls_silent_is_a_timeout() -> None:
    with RtspServer(PICTURES, rate_hz=100, stops_after=30) as server:
        camera = NetworkCamera(url=server.url, read_timeout_s=0.5)
        camera.open()
        numbers = [number_in(frame) for _ in range(30) if (frame := camera.read()) is not None]
        began_s = time.monotonic()
        with pytest.raises(TransientError, match=r"gave no frame within 0\.5 s") as caught:
            camera.read()
        took_s = time.monotonic() - began_s
        camera.close()
    assert caught.value.code is Code.TIMEOUT
    assert numbers == list(range(30))
    assert took_s < OPENCV_DEFAULT_S / 2


def test_server_that_hangs_up_ends_the_stream() -> None:
    with RtspServer(PICTURES, rate_hz=100, stops_after=30, hangs_up=True) as server:
        camera = NetworkCamera(url=server.url)
        camera.open()
        numbers = [number_in(frame) for _ in range(30) if (frame := camera.read()) is not None]
        with pytest.raises(TransientError, match="ended") as caught:
            camera.read()
        camera.close()
    assert caught.value.code is Code.ENDED
    assert numbers == list(range(30))


def test_camera_that_was_away_comes_back() -> None:
    with RtspServer(PICTURES, rate_hz=100, stops_after=30, hangs_up=True) as server:
        camera = NetworkCamera(url=server.url)
        camera.open()
        for _ in range(30):
            assert camera.read() is not None
        with pytest.raises(TransientError):
            camera.read()
        camera.close()
    assert failure_of(camera).code is Code.OPEN
    with RtspServer(PICTURES, port=server.port):
        camera.open()
        frame = camera.read()
        camera.close()
    assert frame is not None


def test_certificates_are_verified(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with RtspServer(PICTURES, tls=context) as server:
        url = f"rtsps://localhost:{server.port}/live"
        untrusted = failure_of(NetworkCamera(url=url))
        camera = NetworkCamera(url=url, ca_file=tmp_path / "ca.pem")
        camera.open()
        frame = camera.read()
        camera.close()
    assert frame is not None
    assert isinstance(untrusted, RefusedError)
    assert untrusted.code is Code.TLS
    assert "is not to be trusted" in untrusted.message


def test_address_and_credentials_are_not_shown() -> None:
    camera = NetworkCamera(url="rtsp://camera.example/live?password=s3cr3t", credentials=("admin", "hunter2"))
    assert "hunter2" not in repr(vars(camera))
    with pytest.raises(ValueError, match="an address such as") as caught:
        NetworkCamera(url="gopher://admin:hunter2@camera.example/")
    assert "hunter2" not in str(caught.value)
