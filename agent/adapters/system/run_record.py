"""Why the agent had to start: a small file that outlives the process."""

import errno
import json
from pathlib import Path
from typing import Final, Literal

import structlog

from agent.adapters.durable import replace_file
from agent.contract.payloads import Started
from agent.domain.errors import Code, ConfigError

log = structlog.get_logger(__name__)

Ending = Literal["signal", "watchdog", "crash"]

RUN_FILE: Final = "run.json"
_DISK_REFUSES: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""Full, or a card that wears out: the kernel makes its file system read-only."""

SERVICE_RESULT_FILE: Final = "service-result"
"""Written by the unit, which alone knows when systemd's watchdog killed a process that could not tell:
`ExecStopPost=/bin/sh -c 'echo "$SERVICE_RESULT" >"$STATE_DIRECTORY/service-result"'`."""


class RunRecord:
    """Which version runs, since which boot, and how it ended; kept in `state_dir`.

    `begin` at start, `end` at an ordered stop, `mark_stalled` while a stage stands still. All of them wait
    for the disk: not for the event loop.
    """

    def __init__(self, *, state_dir: Path, version: str, boot: str) -> None:
        self._file = state_dir / RUN_FILE
        self._service_result = state_dir / SERVICE_RESULT_FILE
        self._version = version
        self._boot = boot

    def begin(self) -> Started:
        """Why this run started, from what the last one left; from now on the record says "running".

        `first`: no run before. `upgrade`: the last run was of another version, however it ended. `watchdog`:
        systemd said so, or a stage stood still when the process ended. `signal`: an ordered stop. `crash`:
        anything else, loss of power included.

        A disk that is full, read-only or broken is logged and no more: the agent works on one, so it has to
        start on one. The next start may then tell an older ending.

        Raises:
            ConfigError: the folder cannot be made or written.
        """
        reason = self._reason()
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._write("running")
            self._service_result.unlink(missing_ok=True)
        except OSError as error:
            if error.errno in _DISK_REFUSES:
                log.warning("run_record.write_failed", file=str(self._file), error=str(error))
                return Started(boot=self._boot, reason=reason)
            raise ConfigError(
                f"{self._file} cannot be written ({error.strerror}); state_dir must be a folder that the "
                "agent may write to",
                code=Code.DISK,
                path=str(self._file),
            ) from error
        return Started(boot=self._boot, reason=reason)

    def mark_stalled(self, *, stalled: bool) -> None:
        """A stage stands still, or goes on again: if the process is killed meanwhile, the watchdog did it."""
        self._note("stalled" if stalled else "running")

    def end(self, reason: Ending) -> None:
        """How this run ends. A disk that refuses is logged; the next start will then say `crash`."""
        self._note(reason)

    def _note(self, state: str) -> None:
        try:
            self._write(state)
        except OSError as error:
            log.warning("run_record.write_failed", file=str(self._file), error=str(error))

    def _reason(self) -> Literal["watchdog", "signal", "upgrade", "crash", "first"]:
        try:
            last = json.loads(self._file.read_bytes())
            version, state = last["version"], last["state"]
        except FileNotFoundError:
            return "first"
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("run_record.unreadable", file=str(self._file), error=str(error))
            return "crash"
        if version != self._version:
            return "upgrade"
        if state in {"stalled", "watchdog"} or self._systemd_says() == "watchdog":
            return "watchdog"
        return "signal" if state == "signal" else "crash"

    def _systemd_says(self) -> str:
        try:
            return self._service_result.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return ""

    def _write(self, state: str) -> None:
        """Replace the file as a whole: a loss of power leaves the old one or the new one."""
        text = json.dumps({"version": self._version, "boot": self._boot, "state": state})
        replace_file(self._file, text.encode("ascii"))
