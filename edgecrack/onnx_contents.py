"""The operators and external tensors of an ONNX file, from its bytes alone.

Parses the wire format (Protocol Buffers) itself: a robot has no onnx package, and a program that
loads a graph may look for its tensors in other files, which no hash covers. ONNX Runtime refuses
those in a graph from memory; OpenVINO silently reads them from the working folder. Repeated fields
that protobuf would merge are walked one by one, so that none hides another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

# For each message of onnx.proto, the message types of its relevant fields by field number.
_MODEL, _GRAPH, _NODE, _ATTRIBUTE = "model", "graph", "node", "attribute"
_FUNCTION, _TRAINING, _SPARSE, _TENSOR = "function", "training", "sparse", "tensor"
_INNER: dict[str, dict[int, str]] = {
    _MODEL: {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {},
}
_OP_TYPE, _DOMAIN = 4, 7
_TENSOR_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_LEVELS = 64
_LONGEST_VARINT = 10

Value = memoryview | int
Place = Literal["standard", "foreign"]


class DamagedOnnxError(ValueError):
    """The bytes are not a valid message; the error text is a clause."""


@dataclass(frozen=True)
class OnnxContents:
    """The relevant contents of an ONNX file.

    Attributes:
        operators: domain and type of each operator; the domain of standard operators is "".
        external_tensors: names of the tensors whose values are in another file.
        functions: number of functions that the file defines.
    """

    operators: frozenset[tuple[str, str]]
    external_tensors: tuple[str, ...]
    functions: int

    @property
    def foreign_operators(self) -> tuple[str, ...]:
        """Operators that are not standard ONNX, as in "com.microsoft.Gelu", sorted."""
        return tuple(sorted(f"{domain}.{kind}" for domain, kind in self.operators if domain))


def read_contents(content: bytes) -> OnnxContents:
    """Find the operators and external tensors of an ONNX file.

    Args:
        content: the whole file.

    Raises:
        DamagedOnnxError: it is not an ONNX file.
    """
    operators: set[tuple[str, str]] = set()
    external: list[str] = []
    functions = 0
    waiting = [(_MODEL, memoryview(content), 0)]
    while waiting:
        kind, message, level = waiting.pop()
        if level > _MOST_LEVELS:
            raise DamagedOnnxError(f"graphs nest more than {_MOST_LEVELS} levels deep")
        fields = list(_fields(message))
        functions += kind == _FUNCTION
        if kind == _NODE:
            domain = _last_text(fields, _DOMAIN)
            operators.add(("" if domain == "ai.onnx" else domain, _last_text(fields, _OP_TYPE)))
        elif kind == _TENSOR and _lies_elsewhere(fields):
            external.append(_last_text(fields, _TENSOR_NAME))
        inner = _INNER[kind]
        for number, value in fields:
            if number in inner and isinstance(value, memoryview):
                waiting.append((inner[number], value, level + 1))
    return OnnxContents(frozenset(operators), tuple(sorted(external)), functions)


def _lies_elsewhere(fields: list[tuple[int, Value]]) -> bool:
    return any(
        number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value) for number, value in fields
    )


def _last_text(fields: list[tuple[int, Value]], wanted: int) -> str:
    found = [value for number, value in fields if number == wanted]
    return bytes(found[-1]).decode("utf-8", "replace") if found and _is_bytes(found[-1]) else ""


def _is_bytes(value: Value) -> bool:
    return isinstance(value, memoryview)


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Number and value of each field: an integer, or bytes if it is length-delimited."""
    place, end = 0, len(message)
    while place < end:
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        value: Value = 0
        if kind == _VARINT:
            value, place = _varint(message, place)
        elif kind == _BYTES:
            length, place = _varint(message, place)
            value, place = message[place : place + length], place + length
        elif kind in (_FIXED64, _FIXED32):
            place += 8 if kind == _FIXED64 else 4
        else:
            raise DamagedOnnxError(f"a field of the unknown kind {kind}")
        if place > end:
            raise DamagedOnnxError("it is cut short")
        if number == 0:
            raise DamagedOnnxError("a field without a number")
        yield number, value


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        if place >= len(message):
            raise DamagedOnnxError("it is cut short")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place
    raise DamagedOnnxError("a number of more than ten bytes")
