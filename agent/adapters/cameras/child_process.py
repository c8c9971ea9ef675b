"""A command that writes to its standard output, read with a deadline and ended with all that it started."""

import contextlib
import fcntl
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Final

from agent.domain.errors import Code, RefusedError, TransientError

_PIPE_BYTES: Final = 1 << 20
_POLL_S: Final = 0.2
_TERM_S: Final = 1.0
_EXIT_S: Final = 1.0
_MOST_STDERR_BYTES: Final = 4096
_MOST_LINE_CHARS: Final = 300
_SIGNALS: Final = {int(number): number.name for number in signal.Signals}
_USERINFO: Final = re.compile(r"(\w://)\S*@")


class ChildProcess:
    """Runs `command`, words that no shell reads, in a session of its own. Used by one thread.

    Standard error is read along, bounded, for its last line.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Raises: RefusedError (there is no such command), TransientError (it does not start now)."""
        self._name = os.path.basename(command[0])  # noqa: PTH119 a word of a command, not a path of ours
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            raise RefusedError(
                f"the command {self._name} cannot be run: {error.strerror}", code=Code.OPEN
            ) from error
        except OSError as error:
            raise TransientError(
                f"the command {self._name} does not start: {error.strerror}", code=Code.OPEN
            ) from error
        assert self._process.stdout is not None  # noqa: S101 what PIPE means
        assert self._process.stderr is not None  # noqa: S101
        self._stdout = self._process.stdout
        self._stderr = self._process.stderr
        self._stderr_tail = b""
        self._stderr_ended = False
        self._waiting = select.poll()
        for stream in (self._stdout, self._stderr):
            os.set_blocking(stream.fileno(), False)
            self._waiting.register(stream, select.POLLIN)
        with contextlib.suppress(OSError):  # past an ordinary user's limit it stays at 64 KiB
            fcntl.fcntl(self._stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def read_into(self, target: memoryview, *, within_s: float, until: Callable[[], bool]) -> bool:
        """Fill `target` from standard output; False as soon as `until()` holds.

        Raises:
            TransientError: the command ended (E_ENDED), or wrote too little `within_s` (E_TIMEOUT).
        """
        deadline_s = time.monotonic() + within_s
        filled = 0
        while filled < len(target):
            if until():
                return False
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TransientError(
                    f"the command {self._name} wrote no frame within {within_s:g} s{self._last_words()}",
                    code=Code.TIMEOUT,
                )
            ready = dict(self._waiting.poll(min(left_s, _POLL_S) * 1000))
            if self._stderr.fileno() in ready:
                self._drain_stderr()
                if self._stderr_ended:  # or it would count as ready for ever
                    self._waiting.unregister(self._stderr)
            if self._stdout.fileno() in ready:
                count = os.readv(self._stdout.fileno(), [target[filled:]])
                if not count:
                    raise self._ended(filled)
                filled += count
        return True

    def stop(self) -> None:
        """End the command and whatever it started, asked first, then killed, within 2 s. Never raises."""
        self._signal_group(signal.SIGTERM)
        self._await_exit(_TERM_S)
        # While the leader is not reaped, its group's number is nobody else's.
        self._signal_group(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # in an uninterruptible sleep; init will reap it
            self._process.wait(_EXIT_S)
        self._stdout.close()
        self._stderr.close()

    def _ended(self, filled: int) -> TransientError:
        status = self._await_exit(_EXIT_S)
        self._drain_stderr()
        where = "in the middle of a frame " if filled else ""
        return TransientError(
            f"the command {self._name} ended {where}({status}){self._last_words()}", code=Code.ENDED
        )

    def _await_exit(self, within_s: float) -> str:
        """Wait for the end without reaping, and say how it came."""
        deadline_s = time.monotonic() + within_s
        while True:
            seen = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if seen is not None:
                if seen.si_code == os.CLD_EXITED:
                    return f"exit status {seen.si_status}"
                return f"killed by {_SIGNALS.get(seen.si_status, f'signal {seen.si_status}')}"
            if time.monotonic() >= deadline_s:
                return "still running, its output closed"
            time.sleep(0.01)

    def _drain_stderr(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._stderr.fileno(), 65_536):
                self._stderr_tail = (self._stderr_tail + data)[-_MOST_STDERR_BYTES:]
            self._stderr_ended = True

    def _last_words(self) -> str:
        lines = [line.strip() for line in re.split(rb"[\r\n]+", self._stderr_tail) if line.strip()]
        if not lines:
            return ""
        line = lines[-1].decode("utf-8", "replace")[:_MOST_LINE_CHARS]
        return ": " + _USERINFO.sub(r"\1***@", line)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
