"""What an ONNX file is made of, read without the package onnx: operators, types of weights, metadata.

Source: onnx.proto (field numbers), protobuf.dev/programming-guides/encoding (the wire format).
"""

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_GRAPH: Final = 7
_METADATA: Final = 14
"""Of ModelProto."""

_NODE, _INITIALIZER = 1, 5
"""Of GraphProto."""

_OPERATOR, _ATTRIBUTE = 4, 5
"""Of NodeProto."""

_NAME, _INTEGER = 1, 3
"""Of AttributeProto."""

_DATA_TYPE: Final = 2
"""Of TensorProto."""

_PRECISION: Final = {1: "fp32", 2: "int8", 3: "int8", 10: "fp16", 11: "fp64", 16: "bf16"}
"""By TensorProto.DataType; indices and shapes, in integers of 32 and 64 bits, are no weights."""

_QUANTISED: Final = frozenset(
    {"ConvInteger", "DequantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
)


@dataclass(frozen=True, slots=True)
class Skeleton:
    """`precision`: what most bytes of the weights are stored in, or int8 where the graph is quantised.

    `has_weights`: whether any lie where they are looked for; else `precision` is a guess.
    `softmax_axes`: over which axes its Softmaxes work, -1 for the last one.
    """

    operators: frozenset[str]
    softmax_axes: frozenset[int]
    precision: str
    has_weights: bool
    metadata: dict[str, str]


def read_skeleton(path: Path) -> Skeleton | None:
    """None where the file cannot be read, or is none: the runtime will say why."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _skeleton(data)
    except (OSError, ValueError, IndexError, UnicodeDecodeError):
        return None


def _skeleton(data: mmap.mmap) -> Skeleton:
    operators: set[str] = set()
    axes: set[int] = set()
    weights: Counter[str] = Counter()
    metadata: dict[str, str] = {}
    for number, start, end in _fields(data, 0, len(data)):
        if number == _METADATA:
            pair = {key: data[begin:stop].decode() for key, begin, stop in _fields(data, start, end)}
            metadata[pair.get(1, "")] = pair.get(2, "")
        for part, begin, stop in _fields(data, start, end) if number == _GRAPH else ():
            if part == _NODE:
                operator = _operator(data, begin, stop)
                operators.add(operator)
                if operator == "Softmax":
                    axes.add(_axis(data, begin, stop))
            elif part == _INITIALIZER:
                weights[_stored_as(data, begin, stop)] += stop - begin
    del weights[""]
    stored = weights.most_common(1)[0][0] if weights else "fp32"
    precision = "int8" if operators & _QUANTISED else stored
    return Skeleton(frozenset(operators), frozenset(axes), precision, bool(weights), metadata)


def _operator(data: mmap.mmap, start: int, end: int) -> str:
    return next((data[a:b].decode() for key, a, b in _fields(data, start, end) if key == _OPERATOR), "")


def _axis(data: mmap.mmap, start: int, end: int) -> int:
    for key, begin, stop in _fields(data, start, end):
        if key == _ATTRIBUTE:
            fields = {part: (a, b) for part, a, b in _fields(data, begin, stop)}
            name_start, name_end = fields.get(_NAME, (0, 0))
            if data[name_start:name_end] == b"axis" and _INTEGER in fields:
                value, _ = _varint(data, fields[_INTEGER][0])
                return value - (1 << 64) if value >> 63 else value
    return -1


def _stored_as(data: mmap.mmap, start: int, end: int) -> str:
    kind = next((_varint(data, at)[0] for key, at, _ in _fields(data, start, end) if key == _DATA_TYPE), 0)
    return _PRECISION.get(kind, "")


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field of one message; of a varint, where it begins.

    Raises:
        ValueError, IndexError: this is no message.
    """
    at = start
    while at < end:
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                begin, (_, at) = at, _varint(data, at)
            case 1:
                begin, at = at, at + 8
            case 2:
                length, begin = _varint(data, at)
                at = begin + length
            case 5:
                begin, at = at, at + 4
            case kind:
                raise ValueError(f"there is no wire type {kind}")
        if at > end:
            raise ValueError("a field reaches beyond its message")
        yield tag >> 3, begin, at


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """The number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
