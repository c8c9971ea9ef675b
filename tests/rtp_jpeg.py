"""Pictures as RTP payloads. Source: RFC 2435."""

import struct
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_PAYLOAD_BYTES: Final = 1200
_SUBSAMPLED_420: Final = 1
_TABLES_IN_BAND: Final = 255


def jpeg_fragments(picture: NDArray[np.uint8]) -> list[bytes]:
    """The payloads of one picture: its scan data in pieces, its tables before the first."""
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    tables, scan, at, data = b"", b"", 2, encoded.tobytes()
    while not scan:
        marker, length = struct.unpack("!HH", data[at : at + 4])
        if marker == 0xFFDB:  # quantisation tables, each after a byte with its number
            body = data[at + 4 : at + 2 + length]
            tables += b"".join(body[start + 1 : start + 65] for start in range(0, len(body), 65))
        elif marker == 0xFFDA:
            scan = data[at + 2 + length : -2]
        at += 2 + length
    height, width = picture.shape[:2]
    fragments = []
    for offset in range(0, len(scan), _PAYLOAD_BYTES):
        head = struct.pack(
            "!B3sBBBB", 0, offset.to_bytes(3), _SUBSAMPLED_420, _TABLES_IN_BAND, width // 8, height // 8
        )
        head += struct.pack("!BBH", 0, 0, len(tables)) + tables if offset == 0 else b""
        fragments.append(head + scan[offset : offset + _PAYLOAD_BYTES])
    return fragments
