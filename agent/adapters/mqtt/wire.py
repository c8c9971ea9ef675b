"""The socket that paho reads and writes: buffered, bounded, and with a memory for what went wrong."""

import socket
import ssl
import time

_READ_BYTES = 65_536
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """A connected socket under paho's own interface for sockets.

    paho reads a packet's first bytes one by one, each a system call; here they come from a buffer. It
    tells why a connection ended only to its log; here the error stays.
    Used by the network thread, but `abort` from anywhere.
    """

    def __init__(self, connected: socket.socket, *, largest_packet_bytes: int) -> None:
        self._socket = connected
        self._largest = largest_packet_bytes
        self._buffer = b""
        self._read = 0
        self.error: OSError | None = None
        """What broke the connection; None while it holds, and when the broker just closed it."""

    def recv(self, count: int) -> bytes:
        """Up to `count` bytes; none at the end. paho asks for as many as the packet still lacks.

        Raises:
            OSError: the connection broke, or the packet is larger than we said we take.
        """
        if count > self._largest:
            self.error = OSError(f"a packet with {count} bytes came in; {self._largest} are allowed")
            raise self.error
        if self._read == len(self._buffer):
            self._buffer = self._receive()
            self._read = 0
        piece = self._buffer[self._read : self._read + count]
        self._read += len(piece)
        return piece

    def send(self, data: bytes | bytearray) -> int:
        """Raises: OSError, if the connection broke."""
        try:
            return self._socket.send(data)
        except _NOT_NOW:
            raise
        except OSError as error:
            self.error = self.error or error
            raise

    def pending(self) -> int:
        """Bytes that can be read though the socket may not be readable."""
        buffered = len(self._buffer) - self._read
        return buffered + (self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0)

    def fileno(self) -> int:
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        self._socket.setblocking(flag)

    def close(self) -> None:
        """That paho is through with the connection. It is closed by `finish`."""

    def finish(self, *, linger_s: float) -> None:
        """Close the connection once the broker has, or after `linger_s`.

        To close it while something comes in makes the kernel reset it, and the broker may lose what it has
        not read yet: our last messages.
        """
        deadline = time.monotonic() + linger_s
        try:
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
            while (left_s := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left_s)
                if not socket.socket.recv(self._socket, _READ_BYTES):
                    break
        except OSError:
            pass  # it has ended, and so there is nothing to wait for
        finally:
            self._socket.close()

    def abort(self) -> None:
        """End the connection at once; the network thread finds it ended."""
        # Not SSLSocket.shutdown: between its two steps, bytes of another thread would go out in the clear.
        try:
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            return  # it has ended already

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_READ_BYTES)
        except _NOT_NOW:
            raise
        except OSError as error:
            self.error = self.error or error
            raise
