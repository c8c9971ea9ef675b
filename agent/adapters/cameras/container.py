"""What kind of file a video file is by its first bytes, and whether it is all there."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from agent.domain.errors import Code, RefusedError, TransientError

_BOXES: Final = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof"}
_OTHERS: Final = {
    b"FLV": "FLV",
    b"OggS": "Ogg",
    b"\x30\x26\xb2\x75": "ASF",
    b"DKIF": "IVF",
    b"YUV4MPEG2": "Y4M",
    b"\x00\x00\x01\xba": "MPEG-PS",
    b"\x00\x00\x01\xb3": "MPEG video",
    b"\x00\x00\x00\x01": "raw H.264 or H.265",
    b"\x00\x00\x01": "raw H.264 or H.265",
}


@dataclass(frozen=True, slots=True)
class Container:
    """`kind` is None where the first bytes are of no video that we know, which does not say that it is none.

    `bytes` there are, and by its own account `declared_bytes` there should be (None: it does not say).
    """

    kind: str | None
    bytes: int
    declared_bytes: int | None

    @property
    def is_cut_off(self) -> bool:
        return self.declared_bytes is not None and self.bytes < self.declared_bytes

    @property
    def counts_hidden_frames(self) -> bool:
        """Whether its frame count may include frames that an edit list hides."""
        return self.kind == "MP4"


def inspect_container(path: Path) -> Container:
    """Look at the file's outermost structure; it is not read through.

    Raises:
        TransientError: it is not there (yet).
        RefusedError: it is empty, a folder, or may not be read.
    """
    try:
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            head = file.read(16)
            kind, declare = _kind_of(head, file)
            return Container(kind, length, declare(file, length) if declare else None)
    except FileNotFoundError as error:
        raise TransientError(f"{path} is not there", code=Code.FILE, path=str(path)) from error
    except IsADirectoryError as error:
        raise RefusedError(
            f"{path} is a folder; a video file is wanted", code=Code.FILE, path=str(path)
        ) from error
    except OSError as error:
        raise RefusedError(
            f"{path} cannot be read: {error.strerror}", code=Code.FILE, path=str(path)
        ) from error


Declare = Callable[[BinaryIO, int], int | None]


def _kind_of(head: bytes, file: BinaryIO) -> tuple[str | None, Declare | None]:
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI", _riff_length
    if head[4:8] in _BOXES:
        return "MP4", _mp4_length
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "Matroska", _matroska_length
    if head[:1] == b"\x47" and _at(file, 188, 1) == b"\x47":
        return "MPEG-TS", None
    return next((kind for start, kind in _OTHERS.items() if head.startswith(start)), None), None


def _at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def _riff_length(file: BinaryIO, length: int) -> int:
    """An AVI is one RIFF list; past 1 GiB others follow (OpenDML).

    Source: Microsoft, AVI RIFF File Reference.
    """
    end = 0
    while end < length and (head := _at(file, end, 8))[:4] == b"RIFF" and len(head) == 8:
        size = int.from_bytes(head[4:], "little")
        end += 8 + size + size % 2
    return end - 1 if end == length + 1 else end  # the last one's padding byte is often left out


def _mp4_length(file: BinaryIO, length: int) -> int | None:
    """The end of the last box. Source: ISO/IEC 14496-12, 4.2."""
    end = 0
    while end < length:
        head = _at(file, end, 16)
        size = int.from_bytes(head[:4], "big")
        if size == 0:  # reaches to the end of the file
            return None
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:
            return None
        end += size
    return end


def _matroska_length(file: BinaryIO, length: int) -> int | None:
    """The EBML header and the segment. Source: RFC 8794, 4 and 11.2; RFC 9559, 5.1."""
    header = _matroska_size(_at(file, 4, 8))
    if header is None:
        return None
    start = 4 + header[0] + header[1]
    if start >= length or _at(file, start, 4) != b"\x18\x53\x80\x67":
        return None
    segment = _matroska_size(_at(file, start + 4, 8))
    return None if segment is None else start + 4 + segment[0] + segment[1]


def _matroska_size(data: bytes) -> tuple[int, int] | None:
    """How many bytes a size takes, and the size; None where it says that it is unknown."""
    if not data or data[0] == 0:
        return None
    width = 9 - data[0].bit_length()
    size = int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1)
    return None if size == (1 << 7 * width) - 1 else (width, size)
