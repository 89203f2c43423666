"""Reads JSON and YAML from outside under one set of limits, with one error.

Python's own reader accepts more than JSON, and some of it breaks a program later: `NaN` and
`Infinity`, `1e400`, which becomes infinite, integers beyond 64 bits, nesting that ends in a
`RecursionError`, and keys that are given twice, of which it keeps the last. Here each of these is
an `OutsideTextError`, which is a `ValueError`. YAML has the plain values of YAML 1.2: `no` and
`012` are texts, not False and 10.

    >>> parse_json('{"width": 16}')
    {'width': 16}
    >>> parse_json('{"threshold": 1e400}')
    Traceback (most recent call last):
    edgecrack.outside_text.OutsideTextError: the number 1e400 is too large
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeGuard

MOST_LEVELS = 100
MOST_BYTES = 1 << 28
_LARGEST = 2**63 - 1
_MOST_EXPANDED = 1_000_000
_SHOWN = 24
# Numbers that may be too large: a long exponent, or more digits than 64 bits hold. Without any,
# Python's fast reader is used; a fraction with many digits only needs the slower one.
_LONG_EXPONENT = re.compile(r"[eE]\+?\d{3}")
_MANY_DIGITS = re.compile(r"\d{20}|[2-9]\d{18}")
_DIGITS_AS_0 = bytes(ord("0") if byte in b"0123456789" else byte for byte in range(256))
_NINETEEN_DIGITS = b"0" * 19
_YAML_VALUES = (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (
        "float",
        r"^[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+"
        r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$",
        "-+0123456789.",
    ),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^<<$", "<"),
)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class OutsideTextError(ValueError):
    """A text is not valid; the message is a clause with the reason."""


class RepeatedKeyError(OutsideTextError):
    """A mapping gives a key twice."""


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value read from outside is a number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def parse_json(text: str | bytes, *, most_levels: int = MOST_LEVELS, finite: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        text: JSON; bytes are UTF-8, with or without a byte order mark.
        most_levels: deepest allowed nesting of lists and objects.
        finite: whether `NaN`, `Infinity` and numbers that are too large are refused; False is for
            text that this program wrote, such as the state of a training run.

    Raises:
        OutsideTextError: it is not JSON, nests deeper, or contains NaN, a number too large for a
            float, or an integer beyond 64 bits.
    """
    if isinstance(text, bytes):
        text = _decoded(text)
    try:
        if finite and not _may_be_too_large(text):
            value = json.loads(
                text, parse_constant=_refuse_constant, object_pairs_hook=_each_key_once
            )
        elif finite:
            value = json.loads(
                text,
                parse_constant=_refuse_constant,
                parse_float=_finite,
                parse_int=_whole,
                object_pairs_hook=_each_key_once,
            )
        else:
            value = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise OutsideTextError(f"it is not JSON: {error.msg} ({where})") from error
    except OutsideTextError:
        raise
    except RecursionError as error:
        raise _too_deep(most_levels) from error
    except ValueError as error:  # an integer of thousands of digits
        raise OutsideTextError(f"it is not JSON: {error}") from error
    if _may_be_deeper(text, most_levels) and _is_deeper(value, most_levels):
        raise _too_deep(most_levels)
    return value


def read_json(path: Path, *, most_bytes: int = MOST_BYTES) -> Any:
    """The value of a JSON file.

    Raises:
        OSError: it cannot be read.
        OutsideTextError: it is larger, or as `parse_json`.
    """
    return parse_json(_content(path, most_bytes))


def parse_yaml(text: str | bytes, *, most_levels: int = MOST_LEVELS) -> Any:
    """The value of a YAML text, under the same limits; only plain values are created.

    Raises:
        OutsideTextError: it is not YAML, nests deeper, or contains a number as in `parse_json`.
    """
    import yaml

    try:
        value = yaml.load(
            _decoded(text) if isinstance(text, bytes) else text, Loader=_yaml_loader()
        )
    except OutsideTextError:
        raise
    except RecursionError as error:
        raise _too_deep(most_levels) from error
    except (yaml.YAMLError, ValueError) as error:  # a 30th of February is a ValueError
        raise OutsideTextError(f"it is not YAML: {' '.join(str(error).split())}") from error
    if _is_deeper(value, most_levels):
        raise _too_deep(most_levels)
    _check_numbers(value)
    if _expanded(value, {}) > _MOST_EXPANDED:
        raise OutsideTextError(f"its aliases expand to more than {_MOST_EXPANDED} values")
    return value


def read_yaml(path: Path, *, most_bytes: int = MOST_BYTES) -> Any:
    """The value of a YAML file.

    Raises:
        OSError: it cannot be read.
        OutsideTextError: it is larger, or as `parse_yaml`.
    """
    return parse_yaml(_content(path, most_bytes))


def _content(path: Path, most_bytes: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OutsideTextError(f"it is larger than {most_bytes} bytes")
    return content


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OutsideTextError(f"it is not valid UTF-8 (byte {error.start})") from error


def _too_deep(most_levels: int) -> OutsideTextError:
    return OutsideTextError(f"it nests more than {most_levels} levels deep")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise RepeatedKeyError(f"it has the key {twice[:_SHOWN]!r} twice")
    return found


@cache
def _yaml_loader() -> Any:
    """PyYAML's safe loader with the plain values of YAML 1.2, and each key once."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for index, key in enumerate(keys):
                if key in keys[:index] and key != "<<":
                    line = node.value[index][0].start_mark.line + 1
                    raise RepeatedKeyError(f"it sets {key!r:.40} twice, again in line {line}")
            found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
            return found

    for name, pattern, starts in _YAML_VALUES:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(pattern), list(starts))
    return Loader


def _expanded(value: Any, sizes: dict[int, int]) -> int:
    """How many values there are where each alias counts as often as it is used."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in sizes:
        inner = value.values() if isinstance(value, dict) else value
        sizes[id(value)] = 1 + sum(_expanded(each, sizes) for each in inner)
    return sizes[id(value)]


def _refuse_constant(name: str) -> NoReturn:
    raise OutsideTextError(f"it contains {name}, which is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _too_large(text)
    return value


def _whole(text: str) -> int:
    if len(text) > _SHOWN or abs(value := int(text)) > _LARGEST:
        raise _too_large(text)
    return value


def _too_large(text: str) -> OutsideTextError:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return OutsideTextError(f"the number {shown} is too large")


def _check_numbers(value: Any) -> None:
    """Refuse the numbers that `parse_json` refuses."""
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, (dict, list)):
            if id(each) in seen:  # YAML may refer to the same list in many places
                continue
            seen.add(id(each))
            waiting += [*each, *each.values()] if isinstance(each, dict) else each
        elif isinstance(each, float) and not math.isfinite(each):
            raise OutsideTextError(f"it contains the number {each}")
        elif isinstance(each, int) and abs(each) > _LARGEST:
            raise _too_large(hex(each))


def _may_be_too_large(text: str) -> bool:
    """Whether a number may be too large; searching for digits alone would be slower."""
    if _LONG_EXPONENT.search(text):
        return True
    digits = text.encode("utf-8", "surrogatepass").translate(_DIGITS_AS_0)
    return _NINETEEN_DIGITS in digits and _MANY_DIGITS.search(text) is not None


def _may_be_deeper(text: str, most_levels: int) -> bool:
    """Whether brackets may nest deeper, in a few passes; never False if they do.

    Brackets inside strings count as well, which only costs a closer check.
    """
    brackets = text.encode("utf-8", "surrogatepass").translate(None, _NOT_BRACKETS)
    for _ in range(most_levels):
        if not brackets:
            return False
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) == before:
            return True
    return bool(brackets)


def _is_deeper(value: Any, most_levels: int) -> bool:
    """Whether lists and mappings nest deeper; without recursion, also for trees with cycles."""
    level, seen = [value], 0
    while True:
        unique = {id(each): each for each in level if isinstance(each, (dict, list))}
        if not unique:
            return False
        seen += 1
        if seen > most_levels:
            return True
        level = [
            inner
            for each in unique.values()
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
