"""Where the HTTP server listens: a Unix socket that only owner and group may use, or a loopback port."""

import contextlib
import ipaddress
import socket
import stat
from pathlib import Path
from typing import Final

from agent.domain.errors import Code, ConfigError

Place = Path | tuple[str, int]
"""A Unix socket's path, or a loopback address and a port; port 0 takes a free one."""

_SOCKET_MODE: Final = 0o660
_BACKLOG: Final = 16
_KNOCK_S: Final = 1.0


class Listener:
    """An open listening socket; `close` takes a Unix socket's file away again.

    Raises:
        ConfigError: somebody else listens there, or the place cannot be used.
    """

    def __init__(self, place: Place) -> None:
        self._inode: int | None = None
        self.place = place
        try:
            self.socket = self._open_unix(place) if isinstance(place, Path) else _open_tcp(*place)
        except OSError as error:
            where = place if isinstance(place, Path) else "port {1} of {0}".format(*place)
            raise ConfigError(
                f"[http] listen: {where} cannot be listened on ({error.strerror or error}); name another "
                "loopback port or socket, or turn it off",
                code=Code.BUSY,
                path="http/listen",
            ) from error
        if not isinstance(place, Path):
            self.place = (place[0], self.socket.getsockname()[1])

    def close(self) -> None:
        self.socket.close()
        if isinstance(self.place, Path):
            with contextlib.suppress(OSError):
                # Another agent may have taken the place meanwhile.
                if self.place.lstat().st_ino == self._inode:
                    self.place.unlink()

    def _open_unix(self, path: Path) -> socket.socket:
        _remove_stale(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(path))
            self._inode = path.lstat().st_ino
            # Nobody can connect before listen, so the mode is in force from the first client on.
            path.chmod(_SOCKET_MODE)
            listening.listen(_BACKLOG)
        except OSError:
            listening.close()
            raise
        return listening


def _remove_stale(path: Path) -> None:
    """Take away the socket that a killed agent left; anything else at `path` stays."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(
            f"[http] listen: {path} exists and is no socket; name a path that is free",
            code=Code.BUSY,
            path="http/listen",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.settimeout(_KNOCK_S)
        try:
            knocking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ConfigError(
        f"[http] listen: another process listens on {path}; is a second agent running?",
        code=Code.BUSY,
        path="http/listen",
    )


def _open_tcp(host: str, port: int) -> socket.socket:
    address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    if not address.is_loopback:
        raise ConfigError(
            f"[http] listen: {host} would be open to the network, without any authentication; 127.0.0.1 or "
            "::1 is wanted",
            code=Code.AUTH,
            path="http/listen",
        )
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without it a restart fails for a minute on connections that are still closing.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((str(address), port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
