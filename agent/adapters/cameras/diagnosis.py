"""Why a network camera did not open: asked of the camera itself, as OpenCV does not tell."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.adapters.cameras.endpoint import Endpoint, authorization
from agent.domain.errors import Code, NanofleetError, RefusedError, TransientError

_MOST_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    challenges: tuple[str, ...]


def diagnose(endpoint: Endpoint, *, ca_file: Path | None, timeout_s: float) -> NanofleetError:
    """The error to raise, with a sentence for the operator. Blocks for a few times `timeout_s` at most."""
    try:
        answer = _request(endpoint, ca_file=ca_file, timeout_s=timeout_s)
    except ssl.SSLCertVerificationError as error:
        return RefusedError(
            f"the certificate of {endpoint.address} is not to be trusted ({error.verify_message}); "
            "its issuer belongs into the system's certificates",
            code=Code.TLS,
        )
    except ConnectionRefusedError:
        return TransientError(f"nobody listens at {endpoint.address}", code=Code.OPEN)
    except TimeoutError:
        return TransientError(f"{endpoint.address} does not answer", code=Code.TIMEOUT)
    except OSError as error:
        return TransientError(
            f"{endpoint.address} cannot be reached: {error.strerror or type(error).__name__}", code=Code.OPEN
        )
    return _judge(endpoint, answer)


def _judge(endpoint: Endpoint, answer: _Answer | None) -> NanofleetError:
    address = endpoint.address
    is_refused, code = False, Code.OPEN
    match answer:
        case None:
            protocol = "RTSP" if endpoint.is_rtsp else "HTTP"
            message = f"what answers at {address} does not speak {protocol}"
        case _Answer(status=401) if endpoint.credentials is None:
            is_refused, code = True, Code.AUTH
            message = f"{address} asks for credentials, and none are set"
        case _Answer(status=401 | 403):
            is_refused, code = True, Code.AUTH
            message = f"{address} refused the credentials"
        case _Answer(status=404):
            message = f"{address} has no stream of this name: {endpoint.shown}"
        case _Answer(status=status) if 300 <= status < 400:
            is_refused = True
            message = f"{address} points to another address, which is not followed; name that one"
        case _Answer(status=status) if 200 <= status < 300:
            message = f"{endpoint.shown} answers, but gives no video that can be decoded"
        case _:
            message = f"{address} answered with status {answer.status}"
    return RefusedError(message, code=code) if is_refused else TransientError(message, code=code)


def _request(endpoint: Endpoint, *, ca_file: Path | None, timeout_s: float) -> _Answer | None:
    """What the camera says of the stream, logged in if it asks for that; None: nothing that we understand."""
    method = "DESCRIBE" if endpoint.is_rtsp else "GET"
    uri = endpoint.url if endpoint.is_rtsp else endpoint.resource or "/"
    with _connected(endpoint, ca_file, timeout_s) as connection:
        answer = _ask(connection, endpoint, f"{method} {uri}", [])
        if answer is None or answer.status != 401 or endpoint.credentials is None:
            return answer
        proof = authorization(answer.challenges, credentials=endpoint.credentials, method=method, uri=uri)
        if proof is None:
            return answer
        extra = [f"Authorization: {proof}"]
        if endpoint.is_rtsp:  # many servers take a nonce only over the connection that they gave it on
            return _ask(connection, endpoint, f"{method} {uri}", extra)
    with _connected(endpoint, ca_file, timeout_s) as connection:
        return _ask(connection, endpoint, f"{method} {uri}", extra)


def _ask(connection: socket.socket, endpoint: Endpoint, line: str, extra: list[str]) -> _Answer | None:
    if endpoint.is_rtsp:
        lines = [f"{line} RTSP/1.0", f"CSeq: {1 + bool(extra)}", "Accept: application/sdp", *extra]
    else:
        lines = [f"{line} HTTP/1.1", f"Host: {endpoint.address}", "Connection: close", *extra]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MOST_BYTES:
        received = connection.recv(4096)
        if not received:
            break
        head += received
    text = head.partition(b"\r\n\r\n")[0].decode("latin-1")
    status = re.match(r"(?:RTSP|HTTP)/\d\.\d (\d{3})", text)
    if status is None:
        return None
    challenges = re.findall(r"^WWW-Authenticate: *(.*?)\r?$", text, re.MULTILINE | re.IGNORECASE)
    return _Answer(int(status[1]), tuple(challenges))


@contextmanager
def _connected(endpoint: Endpoint, ca_file: Path | None, timeout_s: float) -> Iterator[socket.socket]:
    with socket.create_connection((endpoint.host, endpoint.port), timeout=timeout_s) as plain:
        if not endpoint.is_tls:
            yield plain
            return
        context = ssl.create_default_context(cafile=ca_file)
        context.check_hostname = not endpoint.is_numeric  # as FFmpeg does
        with context.wrap_socket(plain, server_hostname=endpoint.host) as secured:
            yield secured
