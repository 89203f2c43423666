"""JSON and YAML that come from outside: read by one rule, refused by one error.

Python's own reader takes more than JSON is, and what it takes breaks a program later: `NaN` and
`Infinity`, `1e400`, which becomes infinite, whole numbers that no array holds, lists in lists that
end in a `RecursionError` while they are read or when they are copied. Here each of these is an
`OutsideTextError`, which is a `ValueError`. Knows nothing of what the text means.

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
from pathlib import Path
from typing import Any, NoReturn

MOST_LEVELS = 100
MOST_BYTES = 1 << 28
_LARGEST = 2**63 - 1
_SHOWN = 24
# What may be too large a number: a long exponent, or more digits than 64 bits hold. Where there is
# none, Python's fast reader will do; a fraction with many digits only takes the slower one.
_LONG_EXPONENT = re.compile(r"[eE]\+?\d{3}")
_MANY_DIGITS = re.compile(r"\d{20}|[2-9]\d{18}")
_DIGITS_AS_0 = bytes(ord("0") if byte in b"0123456789" else byte for byte in range(256))
_NINETEEN_DIGITS = b"0" * 19
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class OutsideTextError(ValueError):
    """A text is not what it should be; the message is a clause that says why."""


def parse_json(text: str | bytes, *, most_levels: int = MOST_LEVELS, finite: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        text: JSON; bytes are UTF-8, with or without a byte order mark.
        most_levels: lists and objects may lie this deep in each other.
        finite: whether `NaN`, `Infinity` and what is too large for a float are refused; False is
            for what this program itself wrote, such as the state of a training.

    Raises:
        OutsideTextError: it is no JSON, nests deeper, or holds a number that is none, that no
            float holds or, if it is whole, not 64 bits.
    """
    if isinstance(text, bytes):
        text = _decoded(text)
    try:
        if finite and not _may_be_too_large(text):
            value = json.loads(text, parse_constant=_refuse_constant)
        elif finite:
            value = json.loads(
                text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole
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
    except ValueError as error:  # a whole number of thousands of digits
        raise OutsideTextError(f"it is not JSON: {error}") from error
    if _may_be_deeper(text, most_levels) and _is_deeper(value, most_levels):
        raise _too_deep(most_levels)
    return value


def read_json(path: Path, *, most_bytes: int = MOST_BYTES) -> Any:
    """The value of a JSON file.

    Raises:
        OSError: it cannot be read.
        OutsideTextError: it is larger, or as `parse_json` says.
    """
    return parse_json(_content(path, most_bytes))


def parse_yaml(text: str | bytes, *, most_levels: int = MOST_LEVELS) -> Any:
    """The value of a YAML text, by the same rule; no object but plain values is made of it.

    Raises:
        OutsideTextError: it is no YAML, nests deeper, or holds a number as in `parse_json`.
    """
    import yaml

    try:
        value = yaml.safe_load(_decoded(text) if isinstance(text, bytes) else text)
    except RecursionError as error:
        raise _too_deep(most_levels) from error
    except (yaml.YAMLError, ValueError) as error:  # a 30th of February is a ValueError
        raise OutsideTextError(f"it is not YAML: {' '.join(str(error).split())}") from error
    if _is_deeper(value, most_levels):
        raise _too_deep(most_levels)
    _check_numbers(value)
    return value


def read_yaml(path: Path, *, most_bytes: int = MOST_BYTES) -> Any:
    """The value of a YAML file.

    Raises:
        OSError: it cannot be read.
        OutsideTextError: it is larger, or as `parse_yaml` says.
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
        raise OutsideTextError(f"it is no text in UTF-8 (byte {error.start})") from error


def _too_deep(most_levels: int) -> OutsideTextError:
    return OutsideTextError(f"it nests more than {most_levels} levels deep")


def _refuse_constant(name: str) -> NoReturn:
    raise OutsideTextError(f"it holds {name}, which is no number of JSON")


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
    """Refuse in a tree what `parse_json` refuses while it reads."""
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, (dict, list)):
            if id(each) in seen:  # YAML may name the same list in many places
                continue
            seen.add(id(each))
            waiting += [*each, *each.values()] if isinstance(each, dict) else each
        elif isinstance(each, float) and not math.isfinite(each):
            raise OutsideTextError(f"it holds the number {each}")
        elif isinstance(each, int) and abs(each) > _LARGEST:
            raise _too_large(hex(each))


def _may_be_too_large(text: str) -> bool:
    """Whether a number may be; a search for digits alone would take longer than the reading."""
    if _LONG_EXPONENT.search(text):
        return True
    digits = text.encode("utf-8", "surrogatepass").translate(_DIGITS_AS_0)
    return _NINETEEN_DIGITS in digits and _MANY_DIGITS.search(text) is not None


def _may_be_deeper(text: str, most_levels: int) -> bool:
    """Whether brackets may nest deeper; told in a few passes, and never False where they do.

    Brackets inside texts are taken for such, too, which costs a closer look and nothing else.
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
    """Whether lists and mappings nest deeper; without recursion, and for trees with cycles, too."""
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
