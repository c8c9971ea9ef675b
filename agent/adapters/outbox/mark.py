"""How far the outbox had come, told beside its file: a log that has forgotten commits shows by it.

SQLite ends a damaged log at its first bad frame, and says nothing. What came after it is gone, though it may
have been delivered, and its numbers would be given again.
"""

import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_BYTES: Final = 160
"""One sector holds it, and each writing replaces all of it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What had been committed of generation `epoch` in the boot `boot`."""

    epoch: str
    boot: str
    next_key: int
    session: int

    def encoded(self) -> bytes:
        text = f"{self.epoch} {self.boot} {self.next_key} {self.session}"
        return f"{text} {zlib.crc32(text.encode()):08x}".encode().ljust(_BYTES - 1) + b"\n"

    @classmethod
    def decoded(cls, content: bytes) -> Self | None:
        """None: it is not what was written.

        >>> Mark.decoded(Mark("01JC", "b007", 7, 2).encoded())
        Mark(epoch='01JC', boot='b007', next_key=7, session=2)
        """
        text, _, crc = content.decode("ascii", "replace").rstrip().rpartition(" ")
        if f"{zlib.crc32(text.encode()):08x}" != crc:
            return None
        epoch, boot, next_key, session = text.split(" ")
        return cls(epoch, boot, int(next_key), int(session))


class MarkFile:
    """Beside the outbox file at `path`, by its only writer. Not synced: it serves within a boot.

    A disk that refuses leaves an older mark, which finds less and claims nothing.
    """

    def __init__(self, path: Path) -> None:
        self._place = path.with_name(f"{path.name}.mark")
        self._last: Mark | None = None

    def read(self) -> Mark | None:
        """None: there is none, or it is damaged."""
        try:
            return Mark.decoded(self._place.read_bytes())
        except OSError:
            return None

    def write(self, mark: Mark) -> None:
        """After a commit; the same again costs nothing."""
        if mark == self._last:
            return
        with suppress(OSError):
            descriptor = os.open(self._place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, mark.encoded(), 0)
            finally:
                os.close(descriptor)
            self._last = mark
