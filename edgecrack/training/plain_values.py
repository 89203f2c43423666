"""Frozen dataclasses from plain values, as YAML holds them, and back.

Every mistake is named by its dotted key. Knows types, nothing of what a setting means.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from edgecrack.errors import ConfigError

_Config = TypeVar("_Config")
# A setting's earlier name, and its present one.
_RENAMED = {"devices": "processes_per_machine", "nodes": "machines", "accelerator": "device"}


def build(kind: type[_Config], document: Any, path: str) -> _Config:
    """An instance of a dataclass from a mapping of plain values.

    Args:
        kind: the dataclass; its fields may be dataclasses, tuples of them, texts, numbers, paths.
        document: plain values by field name.
        path: the dotted key of what is built, for messages; "" at the top.

    Raises:
        ConfigError: a name is unknown or missing, or a value has the wrong type or is refused.
    """
    if not isinstance(document, Mapping):
        raise ConfigError(f"{path} is {document!r}", "give a group of `name: value` lines")
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(cast(Any, kind))]
    values = {}
    for name, value in document.items():
        key = f"{path}.{name}" if path else str(name)
        if name not in names:
            if now := _RENAMED.get(key):
                raise ConfigError(f"the setting {key!r} has another name now", f"give {now!r}")
            close = difflib.get_close_matches(str(name), names, 1)
            hint = f"did you mean {close[0]!r}" if close else f"known are {', '.join(names)}"
            raise ConfigError(f"there is no setting {key!r}", hint)
        values[name] = _convert(hints[name], value, key)
    missing = [
        field.name
        for field in dataclasses.fields(cast(Any, kind))
        if field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(
            f"{f'{path} has no' if path else 'there is no'} {missing[0]!r}", "give a value for it"
        )
    return kind(**values)


def _convert(hint: Any, value: Any, key: str) -> Any:
    """One value as its field's type wants it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (item for item in arguments if item is not type(None))
        return _convert(hint, value, key)
    if dataclasses.is_dataclass(hint):
        return build(cast(type[Any], hint), value, key)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigError(f"{key} is {value!r}", "give a list")
        if arguments[-1] is Ellipsis:
            return tuple(_convert(arguments[0], item, key) for item in value)
        if len(value) != len(arguments):
            raise ConfigError(f"{key} is {value!r}", f"give a list of {len(arguments)}")
        return tuple(_convert(kind, item, key) for kind, item in zip(arguments, value, strict=True))
    if origin is Literal:
        # YAML reads an unquoted 32 as a number; the choice itself checks the rest.
        return str(value)
    return _plain_value(hint, value, key)


def _plain_value(hint: Any, value: Any, key: str) -> Any:
    if hint is Path and value == "":
        raise ConfigError(f"{key} is empty", "give a path; a variable of the shell may be unset")
    if hint is Path and isinstance(value, (str, Path)):
        return Path(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and is_number:
        return float(value)
    if hint is float and isinstance(value, str):
        try:
            return float(value)  # YAML takes 1e-3 for text
        except ValueError:
            pass
    if hint in (int, bool, str) and type(value) is hint:
        return value
    wanted = {int: "a whole number", float: "a number", bool: "true or false"}.get(hint, "a text")
    raise ConfigError(f"{key} is {value!r}", f"give {wanted}")


def to_plain(tree: Any) -> Any:
    """The same with lists and texts only, as YAML writes them without tags."""
    if isinstance(tree, Mapping):
        return {str(key): to_plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [to_plain(item) for item in tree]
    return str(tree) if isinstance(tree, Path) else tree
