"""The wire format of every described message type, against rosbags."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from edgecrack.mcap import message_types
from edgecrack.mcap.cdr import (
    MalformedMessageError,
    _float_count,
    decode,
    encode,
    read_range,
)
from edgecrack.mcap.message_types import TOPICS, definition, fields_of, short_name

WHOLE = sorted(
    {*TOPICS.values(), message_types.IMAGE, message_types.CAMERA_INFO, message_types.TRANSFORMS}
)
LIMITS = {
    "bool": (0, 1), "byte": (0, 127), "uint8": (0, 255), "int8": (-128, 127),
    "uint16": (0, 2**16 - 1), "uint32": (0, 2**32 - 1), "int32": (-(2**31), 2**31 - 1),
}  # fmt: skip
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
REALS = {"float32": st.floats(width=32, allow_nan=False), "float64": st.floats(allow_nan=False)}
TIMES = st.integers(-(2**31) * 10**9, 2**31 * 10**9 - 1)


def store_with(message_type: str) -> Any:
    """A type store of rosbags that has a type by our definition alone."""
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition(message_type), message_type))
    return store


STORES = {name: store_with(name) for name in WHOLE}


def values(kind: str) -> st.SearchStrategy[Any]:
    """Values of a type as nested mappings, floats always in mappings of their own."""
    if kind == "builtin_interfaces/Time":
        return TIMES
    if kind == "string":
        return TEXT
    if kind in LIMITS:
        return st.integers(*LIMITS[kind])
    if kind in REALS:
        return REALS[kind]
    return st.fixed_dictionaries({each.name: field_values(each) for each in fields_of(kind)})


def field_values(field: message_types.Field) -> st.SearchStrategy[Any]:
    if field.is_sequence and field.kind == "uint8":
        return st.binary(max_size=9)
    if field.is_sequence:
        return st.lists(values(field.kind), max_size=3)
    if field.length:
        return st.lists(values(field.kind), min_size=field.length, max_size=field.length)
    return values(field.kind)


def of_ours(kind: str, value: Any) -> Any:
    """A value as `encode` takes it: messages of nothing but float64 as the list of its numbers."""
    if isinstance(value, list):
        return [of_ours(kind, part) for part in value]
    if not isinstance(value, dict):
        return value
    parts = {each.name: of_ours(each.kind, value[each.name]) for each in fields_of(kind)}
    if not _float_count(kind):
        return parts
    return np.concatenate([np.ravel(part) for part in parts.values()]).tolist()


def of_rosbags(store: Any, kind: str, value: Any) -> Any:
    """The same value as an object of rosbags."""
    if kind == "builtin_interfaces/Time":
        seconds, nanoseconds = divmod(value, 10**9)
        return store.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    if not isinstance(value, dict):
        return value
    made = {}
    for each in fields_of(kind):
        part = value[each.name]
        if isinstance(part, bytes):
            part = np.frombuffer(part, np.uint8)
        elif isinstance(part, list) and each.kind in REALS:
            part = np.array(part, each.kind)
        elif isinstance(part, list):
            part = [of_rosbags(store, each.kind, one) for one in part]
        else:
            part = of_rosbags(store, each.kind, part)
        made[each.name] = part
    return store.types[kind.replace("/", "/msg/")](**made)


@pytest.mark.parametrize("name", WHOLE)
@given(data=st.data(), is_little=st.booleans())
@settings(max_examples=8, phases=[Phase.generate])
def test_rosbags_writes_the_same_bytes_and_they_are_read_back(
    name: str, data: st.DataObject, is_little: bool
) -> None:
    kind, store = short_name(name), STORES[name]
    value = data.draw(values(kind))
    ours = of_ours(kind, value)
    theirs = of_rosbags(store, kind, value)
    assert encode(name, ours) == bytes(store.serialize_cdr(theirs, name))
    packed = bytes(store.serialize_cdr(theirs, name, little_endian=is_little))
    assert encode(name, as_given(decode(name, memoryview(packed)))) == encode(name, ours)


def as_given(value: Any) -> Any:
    """What `decode` returns, with views as bytes."""
    if isinstance(value, dict):
        return {name: as_given(part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_given(part) for part in value]
    return bytes(value) if isinstance(value, memoryview) else value


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_left_out_is_zero_or_empty(name: str) -> None:
    store = STORES[name]
    found = store.deserialize_cdr(encode(name, None), name)
    assert bytes(store.serialize_cdr(found, name)) == encode(name, None)


@pytest.mark.parametrize("name", WHOLE)
def test_a_message_cut_anywhere_is_malformed(name: str) -> None:
    whole = encode(name, None)
    for length in range(len(whole)):
        with pytest.raises(MalformedMessageError):
            decode(name, memoryview(whole[:length]))


def test_definitions_are_those_of_ros() -> None:
    humble, iron = get_typestore(Stores.ROS2_HUMBLE), get_typestore(Stores.ROS2_IRON)
    for name in WHOLE:
        stock = iron if name == message_types.RANGE else humble
        if name in stock.types:
            assert fields_in(STORES[name], name) == fields_in(stock, name)


def fields_in(store: Any, name: str) -> Any:
    return [
        (field, "float64" if "float64" in str(kind) else kind)
        for field, kind in store.fielddefs[name][1]
    ]


def test_a_range_of_before_iron_has_no_variance() -> None:
    whole = encode(message_types.RANGE, {"max_range": 9.0, "range": 2.0, "variance": 0.25})
    assert read_range(memoryview(whole)) == (0, 2.0, 0.5)
    assert read_range(memoryview(whole[:-4])) == (0, 2.0, None)


def test_more_elements_than_any_message_has_are_malformed() -> None:
    head = encode(message_types.TRANSFORMS, None)[:4]
    with pytest.raises(MalformedMessageError, match="transforms has 10001 elements"):
        decode(message_types.TRANSFORMS, memoryview(head + struct.pack("<I", 10_001)))
