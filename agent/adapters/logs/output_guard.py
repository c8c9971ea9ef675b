"""Standing between libraries and the log: what OpenCV, FFmpeg and child processes print by themselves.

They write to file descriptors 1 and 2 and know nothing of secrets: an address that they could not open goes
there with its password.
"""

import contextlib
import ctypes
import faulthandler
import fcntl
import io
import os
import select
import sys
import threading
from typing import Final, TextIO

from agent.adapters.logs.lines import CleanLines
from agent.adapters.logs.scrub import Scrubber

_PIPE_BYTES: Final = 1 << 20
_IDLE_MS: Final = 2_000
_CLOSE_S: Final = 2.0


class OutputGuard:
    """Puts a pipe in the place of descriptors 1 and 2; a thread scrubs its lines on to the real stderr.

    The real stdout is left to the log alone (`log_stream`), so that nothing stands between its lines.

    The pipe's writing end never blocks: a library that holds the GIL while it prints more than fits would
    wait for ever for a thread that needs the GIL. It loses those lines instead, as it does where nobody reads
    the real stderr. Python's own `sys.stdout` and `sys.stderr` are scrubbed without the pipe, so that a last
    traceback is out before the process ends; `faulthandler` writes to the real stderr, and tells no values.
    What a library prints in the instant before it kills the process may stay in the pipe.
    """

    def __init__(self, *, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._thread: threading.Thread | None = None
        self._real_stderr_fd = -1
        self._stop_fd = -1
        self._python_streams = (sys.stdout, sys.stderr)
        self.log_stream: TextIO = sys.stdout
        """Where the log goes, scrubbed already: `sys.stdout`, and after `start` the real one."""

    def start(self) -> None:
        """From here on nothing that is printed in this process, or by a new child, passes unscrubbed."""
        self._python_streams = (sys.stdout, sys.stderr)
        for stream in self._python_streams:
            stream.flush()
        _flush_c_streams()
        self._real_stderr_fd = os.dup(2)  # what dup makes is not inherited: children get the pipe
        self.log_stream = open(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123,SIM115
        read_fd, write_fd = os.pipe()
        with contextlib.suppress(OSError):  # an ordinary user may be over a limit; then it stays at 64 KiB
            fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(write_fd, False)
        os.set_blocking(read_fd, False)
        self._stop_fd = os.eventfd(0)
        for fd in (1, 2):
            os.dup2(write_fd, fd)
        os.close(write_fd)
        faulthandler.enable(file=self._real_stderr_fd)
        sys.stdout = sys.stderr = _ScrubbedText(self._real_stderr_fd, self._scrubber)
        self._thread = threading.Thread(target=self._forward, args=(read_fd,), name="output", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is left, and give the descriptors back; before `os._exit` as well. Bounded in time."""
        if self._thread is None:
            return
        sys.stderr.flush()
        _flush_c_streams()
        sys.stdout, sys.stderr = self._python_streams
        os.dup2(self.log_stream.fileno(), 1)
        os.dup2(self._real_stderr_fd, 2)
        with contextlib.suppress(OSError):
            self.log_stream.close()
        self.log_stream = sys.stdout
        faulthandler.enable(file=2)
        os.eventfd_write(self._stop_fd, 1)
        self._thread.join(_CLOSE_S)
        if not self._thread.is_alive():
            os.close(self._real_stderr_fd)
            os.close(self._stop_fd)
        self._thread = None

    def _forward(self, read_fd: int) -> None:
        lines = CleanLines(self._scrubber)
        waiting = select.poll()
        waiting.register(read_fd, select.POLLIN)
        waiting.register(self._stop_fd, select.POLLIN)
        is_over = False
        while not is_over:
            ready = dict(waiting.poll(_IDLE_MS if lines.has_rest else None))
            try:
                data = os.read(read_fd, 65_536)
                is_over = not data  # nobody has the writing end any more
                told = lines.feed(data) if data else lines.end()
            except BlockingIOError:
                is_over = self._stop_fd in ready
                told = lines.end()  # also where a line's writer has paused in the middle
            for line in told:
                _write(self._real_stderr_fd, line + "\n")
        os.close(read_fd)


def _flush_c_streams() -> None:
    """What libraries have printed and the C library still holds goes out now, to where it is meant."""
    ctypes.CDLL(None).fflush(None)


class _ScrubbedText(io.TextIOBase):
    """Python's streams while the guard stands: whole lines, scrubbed, straight to a real descriptor."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, real_fd: int, scrubber: Scrubber) -> None:
        self._real_fd = real_fd
        self._scrubber = scrubber
        self._rest = ""
        self._lock = threading.RLock()

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return os.isatty(self._real_fd)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            whole, newline, self._rest = (self._rest + text).rpartition("\n")
            if newline:
                _write(self._real_fd, self._scrubber.text(whole) + "\n")
        return len(text)

    def flush(self) -> None:
        """Write the beginning of a line as well, such as a prompt."""
        with self._lock:
            rest, self._rest = self._rest, ""
            if rest:
                _write(self._real_fd, self._scrubber.text(rest))


def _write(fd: int, text: str) -> None:
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        return  # nobody reads any more, and there is no other place to say so
