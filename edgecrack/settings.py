"""Settings as frozen dataclasses that pydantic validates, with edgecrack's errors.

A class under `@settings()` declares its limits in its field types. A wrong value is refused when
the object is made, by name, with what the field takes:

    >>> from typing import Annotated
    >>> from pydantic import Field
    >>> @settings()
    ... class Speed:
    ...     rate_hz: Annotated[float, Field(gt=0, le=60)] = 10.0
    >>> Speed(rate_hz=90.0)
    Traceback (most recent call last):
    edgecrack.errors.ConfigError: `rate_hz` is 90.0; give a number above 0 and at most 60.

Values are not converted: neither "8" nor True is a number.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from typing_extensions import dataclass_transform

from edgecrack.errors import ConfigError, EdgecrackError

T = TypeVar("T")
Refuse = Callable[[str, "str | None", str], EdgecrackError]
"""From a field's dotted name, its value (None if missing) and the remedy to an error."""

PositiveMs = Annotated[float, Field(gt=0)]

_STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", arbitrary_types_allowed=True)
_LIMITS = ("ge", "gt", "le", "lt", "multiple_of")
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
}
_LONGEST_VALUE = 60


def refuse_setting(name: str, value: str | None, remedy: str) -> EdgecrackError:
    """The error of a setting that a user chose."""
    problem = f"there is no {name!r}" if value is None else f"`{name}` is {value}"
    return ConfigError(problem, remedy)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, Field))
def settings(refuse: Refuse = refuse_setting) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen dataclass whose values are validated when it is made.

    Args:
        refuse: makes the error for a value that is missing or wrong.
    """

    def decorate(kind: type[T]) -> type[T]:
        made: Any = dataclass(frozen=True, config=_STRICT)(kind)
        validate = made.__init__

        @functools.wraps(validate)
        def checked(self: T, *args: Any, **values: Any) -> None:
            try:
                validate(self, *args, **values)
            except ValidationError as error:
                raise _refusal(error, made, refuse) from error

        made.__init__ = checked
        return made  # type: ignore[no-any-return]

    return decorate


def from_plain(kind: type[T], values: Any, refuse: Refuse = refuse_setting) -> T:
    """Settings from plain values as JSON and YAML have them, groups and lists included.

    Raises:
        EdgecrackError: a name is unknown or missing, or a value is refused.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise _refusal(error, kind, refuse) from error


def takes(hint: Any) -> str:
    """What a field of this type takes, in words, such as "a whole number from 1 to 16"."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        own = [item for item in arguments[1:] if isinstance(item, FieldInfo)]
        described = [item.description for item in own if item.description]
        return described[0] if described else _within(takes(arguments[0]), own)
    if origin in (Union, types.UnionType):
        return " or ".join(takes(item) for item in arguments if item is not type(None))
    if origin is Literal:
        return f"one of: {', '.join(map(str, arguments))}"
    if origin is tuple:
        return "a list" if arguments[-1] is Ellipsis else f"a list of {len(arguments)}"
    if dataclasses.is_dataclass(hint):
        return "a group of `name: value` lines"
    return _WORDS.get(hint, "another value")


def _within(what: str, fields: list[FieldInfo]) -> str:
    """The same with the limits that its fields set."""
    found = {
        name: getattr(item, name)
        for field in fields
        for item in field.metadata
        for name in _LIMITS
        if getattr(item, name, None) is not None
    }
    if "multiple_of" in found:
        what = f"a multiple of {found['multiple_of']}"
    shown = {
        name: f"{end:g}" if isinstance(end, float) else str(end) for name, end in found.items()
    }
    if "ge" in shown and "le" in shown:
        return f"{what} from {shown['ge']} to {shown['le']}"
    if "ge" in shown:
        return f"{what}, {shown['ge']} or more"
    ends = {"gt": "above", "le": "at most", "lt": "below"}
    limits = [f"{word} {shown[name]}" for name, word in ends.items() if name in shown]
    return " ".join([what, " and ".join(limits)]).rstrip()


def _refusal(error: ValidationError, kind: Any, refuse: Refuse) -> EdgecrackError:
    """The first thing that pydantic objects to, as an error of ours."""
    first = error.errors(include_url=False)[0]
    names, hint, owner = _place(kind, first["loc"])
    name = ".".join(names)
    if first["type"] == "unexpected_keyword_argument":
        known = [field.name for field in dataclasses.fields(owner)]
        close = difflib.get_close_matches(names[-1], known, 1)
        hint_text = f"did you mean {close[0]!r}" if close else f"known are {', '.join(known)}"
        return ConfigError(f"there is no setting {name!r}", hint_text)
    if first["type"] == "missing" and isinstance(first["loc"][-1], str):
        return refuse(name, None, "give a value for it")
    given = first["input"]
    shown = repr(str(given) if isinstance(given, Path) else given)
    return refuse(name, shown[:_LONGEST_VALUE], f"give {takes(hint)}")


def _place(kind: Any, location: tuple[int | str, ...]) -> tuple[list[str], Any, Any]:
    """Names of the fields on the way to a value, its type, and the class that it belongs to."""
    names: list[str] = []
    hint, owner = kind, kind
    for part in location:
        group = _dataclass_in(hint)
        if group is None or (names and isinstance(part, int)):
            continue  # an item of a list is named by its list
        hints = get_type_hints(group, include_extras=True)
        name = part if isinstance(part, str) else dataclasses.fields(group)[part].name
        names.append(name)
        hint, owner = hints.get(name, Any), group
    return names, hint, owner


def _dataclass_in(hint: Any) -> Any:
    """The dataclass that a type is or may be; None where it holds none."""
    if dataclasses.is_dataclass(hint):
        return hint
    if get_origin(hint) in (Annotated, Union, types.UnionType, tuple):
        return next(filter(None, map(_dataclass_in, get_args(hint))), None)
    return None
