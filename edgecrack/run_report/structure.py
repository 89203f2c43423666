"""The parts of a structure, to locate a crack by element, face and distance from an edge.

structure: Bridge over the Alm
code: B12
elements:
- code: P2
name: Pier 2
axis: vertical
faces:
- name: east face
sheets: [0, 2]
datum: {name: bearing, edge: bottom}
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from edgecrack.errors import ConfigError
from edgecrack.outside_text import read_yaml

Edge = Literal["top", "bottom", "left", "right"]
Axis = Literal["vertical", "horizontal"]

_EDGES = ("top", "bottom", "left", "right")
_AXES = ("vertical", "horizontal")
_MOST = 2000
_EXAMPLE = "see docs/inspection.md for an example"


@dataclass(frozen=True)
class Datum:
    """The origin of offsets on a face.

    Attributes:
        name: such as "bearing".
        edge: of what was seen of the sheet.
    """

    name: str
    edge: Edge


@dataclass(frozen=True)
class Face:
    """A side of an element.

    Attributes:
        name: such as "east face".
        sheets: numbers of the survey's sheets that show it.
        markers: numbers of markers on it, by which sheets are found.
        datum: None where none was given.
    """

    name: str
    sheets: tuple[int, ...] = ()
    markers: tuple[int, ...] = ()
    datum: Datum | None = None


@dataclass(frozen=True)
class Element:
    """A part of a structure.

    Attributes:
        code: by which it is called in tables; each once.
        name: such as "Pier 2".
        axis: along which it is longest.
        faces: its sides.
    """

    code: str
    name: str
    axis: Axis | None
    faces: tuple[Face, ...]


@dataclass(frozen=True)
class Structure:
    """A structure.

    Attributes:
        name: of it.
        code: "" for none.
        elements: in the order of the file.
    """

    name: str
    code: str = ""
    elements: tuple[Element, ...] = field(default=())

    def of_sheet(self, number: int, markers: tuple[int, ...]) -> tuple[Element, Face] | None:
        """The element and face that a sheet shows; None where the file does not say."""
        for element in self.elements:
            for face in element.faces:
                if number in face.sheets or set(markers) & set(face.markers):
                    return element, face
        return None


def read_structure(path: Path) -> Structure:
    """Read a structure file.

    Raises:
        ConfigError: it cannot be read or is not valid, such as when a code appears twice.
    """
    try:
        document = read_yaml(path)
    except OSError as error:
        problem = f"cannot read the structure {path}: {error.strerror}"
        raise ConfigError(problem, "check the path") from error
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {error}", _EXAMPLE) from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} does not describe a structure", _EXAMPLE)
    _refuse_unknown(path, document, ("structure", "code", "elements"))
    listed = document.get("elements") or []
    if not isinstance(listed, list) or len(listed) > _MOST:
        raise ConfigError(f"`elements` of {path} is not a list of at most {_MOST}", _EXAMPLE)
    elements = tuple(_element(path, each) for each in listed)
    _refuse_twice(path, "the code", [each.code for each in elements])
    faces = [face for each in elements for face in each.faces]
    _refuse_twice(path, "sheet", [number for face in faces for number in face.sheets])
    _refuse_twice(path, "marker", [number for face in faces for number in face.markers])
    name = document.get("structure")
    return Structure(_text(path, "structure", name), str(document.get("code") or ""), elements)


def _refuse_unknown(path: Path, given: dict[Any, Any], known: tuple[str, ...]) -> None:
    """Refuse a misspelt field, which would otherwise be left out silently."""
    unknown = [each for each in given if each not in known]
    if unknown:
        close = difflib.get_close_matches(str(unknown[0]), known, 1)
        remedy = f"did you mean `{close[0]}`" if close else f"known are {', '.join(known)}"
        raise ConfigError(f"{path} has the unknown field {unknown[0]!r:.40}", remedy)


def _refuse_twice(path: Path, what: str, values: list[Any]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ConfigError(f"{path} has {what} {twice[0]!r} twice", "give each once")


def _element(path: Path, given: Any) -> Element:
    if not isinstance(given, dict):
        raise ConfigError(f"{path} has the element {given!r}", _EXAMPLE)
    _refuse_unknown(path, given, ("code", "name", "axis", "faces"))
    axis = given.get("axis")
    if axis is not None and axis not in _AXES:
        raise ConfigError(f"{path} has the axis {axis!r}", f"give {' or '.join(_AXES)}")
    faces = given.get("faces") or []
    if not isinstance(faces, list) or len(faces) > _MOST:
        raise ConfigError(f"`faces` of {given.get('code')!r} in {path} is not a list", _EXAMPLE)
    code = _text(path, "code", given.get("code"))
    return Element(
        code,
        str(given.get("name") or code),
        cast("Axis | None", axis),
        tuple(_face(path, code, each) for each in faces),
    )


def _face(path: Path, code: str, given: Any) -> Face:
    if not isinstance(given, dict):
        raise ConfigError(f"{path} has the face {given!r} of {code!r}", _EXAMPLE)
    _refuse_unknown(path, given, ("name", "sheets", "markers", "datum"))
    datum = given.get("datum")
    found = None
    if datum is not None:
        if not isinstance(datum, dict) or datum.get("edge") not in _EDGES:
            raise ConfigError(
                f"{path} has the datum {datum!r} of {code!r}",
                f"give a name and an edge: {', '.join(_EDGES)}",
            )
        found = Datum(str(datum.get("name") or datum["edge"]), datum["edge"])
    numbers = {}
    for name in ("sheets", "markers"):
        listed = given.get(name) or []
        if not isinstance(listed, list) or not all(
            isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in listed
        ):
            raise ConfigError(f"{path} has the {name} {listed!r} of {code!r}", "give numbers")
        numbers[name] = tuple(listed)
    return Face(_text(path, "name", given.get("name")), **numbers, datum=found)


def _text(path: Path, what: str, value: Any) -> str:
    is_text = isinstance(value, (str, int)) and not isinstance(value, bool)
    if not is_text or not str(value).strip():
        raise ConfigError(f"{path} gives no `{what}`", _EXAMPLE)
    return str(value).strip()
