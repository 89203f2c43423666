"""The class that a crack's width falls into, by a table of a standard or by one's own.

No table is the default: which one holds depends on the structure and its exposure, and nothing is
classified until someone has chosen. Knows numbers, and the tables that come with this package.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any, Literal, get_args

from edgecrack.errors import ConfigError
from edgecrack.measurement.budget import Figure, WidthFigures
from edgecrack.outside_text import parse_json

Measure = Literal["mean", "percentile_95", "largest"]
"""The figure of a crack's width that is compared with the limits, as `Crack` calls it."""

MEASURES: tuple[Measure, ...] = get_args(Measure)
_ID = re.compile(r"[a-z0-9][a-z0-9.:_-]*")
_REQUIRED = ("id", "document", "purpose", "unit", "measure", "limits_mm", "classes")
_OPTIONAL = ("edition", "clause", "includes_limits")


@dataclass(frozen=True, slots=True)
class SeverityTable:
    """Classes of crack widths and the limits between them.

    Attributes:
        id: by which `severity_table` finds it: lower-case letters, digits, and . : _ -
        document: that the limits are from.
        purpose: what it is for, and what it does not say.
        measure: the figure of a crack's width that it is applied to.
        limits_mm: upper limits of all classes but the last, in millimetres, rising.
        classes: their names, from the narrowest to the widest; one more than limits.
        edition: of the document; "" where it has none.
        clause: table or section, and the case that it holds for; "" where there is none.
        includes_limits: whether a width of exactly a limit is in the class below it ("up to")
            rather than the one above ("less than").

    Raises:
        ConfigError: a value is out of range, or limits and classes do not fit each other.
    """

    id: str
    document: str
    purpose: str
    measure: Measure
    limits_mm: tuple[float, ...]
    classes: tuple[str, ...]
    edition: str = ""
    clause: str = ""
    includes_limits: bool = False

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ConfigError(
                f"id is {self.id!r}", "give lower-case letters, digits, and . : _ - without spaces"
            )
        if self.measure not in MEASURES:
            raise ConfigError(f"measure is {self.measure!r}", f"give one of {', '.join(MEASURES)}")
        limits, classes = list(self.limits_mm), list(self.classes)
        if not limits:
            raise ConfigError("limits_mm is empty", "give at least one limit in millimetres")
        for limit in limits:
            if not (math.isfinite(limit) and limit > 0):
                raise ConfigError(f"limits_mm has {limit}", "give numbers above 0, in millimetres")
        if any(after <= before for before, after in pairwise(limits)):
            raise ConfigError(f"limits_mm is {limits}", "give each limit once, the smallest first")
        if len(classes) != len(limits) + 1:
            raise ConfigError(
                f"classes has {len(classes)} names for {len(limits)} limits",
                "give one name more than limits, that of the widest class last",
            )
        if len(set(classes)) < len(classes):
            raise ConfigError(f"classes is {classes}", "give each class a name of its own")

    def class_of(self, width_mm: float) -> str:
        """The class that a width lies in, as if it were exact.

        Args:
            width_mm: in millimetres, 0 or more.
        """
        beyond = sum(
            width_mm > limit or (width_mm == limit and not self.includes_limits)
            for limit in self.limits_mm
        )
        return self.classes[beyond]


@dataclass(frozen=True, slots=True)
class SeverityClass:
    """The class of a crack whose width is not exactly known.

    Attributes:
        name: the most likely class; of equally likely ones that of the value, if it is among them.
        probability: of that class, 0 to 1.
        probabilities: of each class by name, in the table's order; their sum is 1.
        of_value: the class that the width lies in as if it were exact. Where a class is narrow
            beside the uncertainty, it need not be the most likely one.
    """

    name: str
    probability: float
    probabilities: dict[str, float]
    of_value: str


@cache
def severity_tables() -> tuple[SeverityTable, ...]:
    """The tables that come with this package.

        >>> [table.limits_mm for table in severity_tables() if table.id == "bre-251"]
        [(0.1, 1.0, 5.0, 15.0, 25.0)]

    Their limits are in millimetres. Read each one's `purpose` before you use it.
    """
    path = resources.files("edgecrack.measurement") / "severity_tables.json"
    return tuple(
        _table({**document["shared"], **table})
        for document in parse_json(path.read_text(encoding="utf-8"))["documents"]
        for table in document["tables"]
    )


def severity_table(word: str) -> SeverityTable:
    """One of the tables that come with this package.

        >>> severity_table("en-1992:xc3").limits_mm
        (0.3,)

    Args:
        word: the table's id, such as "aci-224r:dry-air" or "ltpp"; in capitals, too.

    Raises:
        ConfigError: there is none of that name.
    """
    known = {table.id: table for table in severity_tables()}
    table = known.get(word.strip().lower())
    if table is None:
        raise ConfigError(f"the severity table is {word!r}", f"give one of: {', '.join(known)}")
    return table


def table_from(data: Mapping[str, Any], name: str) -> SeverityTable:
    """A table of one's own.

        >>> own = {"id": "our-bridges", "document": "Handbook 7", "purpose": "Bridge decks",
        ...        "unit": "mm", "measure": "mean", "limits_mm": [0.2], "classes": ["fine", "wide"]}
        >>> table_from(own, "limits.json").classes
        ('fine', 'wide')

    Args:
        data: the table as read from JSON or YAML: `SeverityTable`'s fields and `unit`, which has
            to be "mm"; `edition`, `clause` and `includes_limits` may be left out.
        name: what it is called in errors, such as its file's name.

    Raises:
        ConfigError: a field is missing, unknown or wrong, or the id is a shipped table's and the
            table is not.
    """
    try:
        table = _table(data)
        shipped = {each.id: each for each in severity_tables()}
        if shipped.get(table.id, table) != table:
            raise ConfigError(
                f"id is {table.id!r}, which is another table's", "give the table an id of its own"
            )
    except ConfigError as error:
        raise ConfigError(f"severity table {name}: {error.problem}", error.remedy) from None
    return table


def classify(table: SeverityTable, width_mm: float, u_mm: float) -> SeverityClass:
    """The class of a crack's width, and how likely each class is.

        >>> found = classify(severity_table("ltpp"), 5.5, 0.5)
        >>> found.name, round(found.probability, 2)
        ('low', 0.84)

    The width is taken for normally distributed about the measured one, and for not below 0.

    Args:
        table: the classes.
        width_mm: the figure of the crack's width that `table.measure` names, in millimetres, 0 or
            more.
        u_mm: its standard uncertainty in millimetres, 0 or more; of a 95 % interval about a
            quarter of its length. 0 takes the width for exact.

    Raises:
        ConfigError: a value is negative or not finite.
    """
    for word, value in (("width", width_mm), ("standard uncertainty", u_mm)):
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"the {word} is {value} mm", "give a number of millimetres from 0 on")
    of_value = table.class_of(width_mm)
    if u_mm == 0:
        probabilities = {each: float(each == of_value) for each in table.classes}
    else:
        outside = _below(0.0, width_mm, u_mm)
        parts = [
            (_below(limit, width_mm, u_mm) - outside) / (1 - outside) for limit in table.limits_mm
        ]
        probabilities = {
            each: max(upper - lower, 0.0)
            for each, (lower, upper) in zip(
                table.classes, pairwise([0.0, *parts, 1.0]), strict=True
            )
        }
    name = max(table.classes, key=lambda each: (probabilities[each], each == of_value))
    return SeverityClass(name, probabilities[name], probabilities, of_value)


def class_record(
    table: SeverityTable | None, width_mm: WidthFigures | None
) -> dict[str, Any] | None:
    """A crack's class as files have it; None without a table or a width in millimetres."""
    if table is None or width_mm is None:
        return None
    figure: Figure = getattr(width_mm, table.measure)
    result = classify(table, figure.value, figure.deviation)
    return {
        "table": table.id,
        "measure": table.measure,
        "name": result.name,
        "probability": round(result.probability, 3),
        "probabilities": {name: round(share, 3) for name, share in result.probabilities.items()},
    }


def _below(limit: float, mean: float, deviation: float) -> float:
    """Probability that a normally distributed value is below a limit."""
    return 0.5 * (1 + math.erf((limit - mean) / deviation / math.sqrt(2)))


def _table(data: Mapping[str, Any]) -> SeverityTable:
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"it is {data!r}", f"give a mapping with the fields {', '.join(_REQUIRED)}"
        )
    for field in data:
        if field not in _REQUIRED + _OPTIONAL:
            raise ConfigError(
                f"unknown field {field!r}", f"give {', '.join(_REQUIRED)}, {', '.join(_OPTIONAL)}"
            )
    missing = [field for field in _REQUIRED if field not in data]
    if missing:
        raise ConfigError(f"{', '.join(missing)} missing", f"give {', '.join(_REQUIRED)}")
    if data["unit"] != "mm":
        raise ConfigError(f"unit is {data['unit']!r}", 'give "mm" and the limits in millimetres')
    includes_limits = data.get("includes_limits", False)
    if not isinstance(includes_limits, bool):
        raise ConfigError(f"includes_limits is {includes_limits!r}", "give true or false")
    return SeverityTable(
        id=_text(data, "id"),
        document=_text(data, "document"),
        purpose=_text(data, "purpose"),
        measure=_measure(data),
        limits_mm=tuple(_limit(each) for each in _list(data, "limits_mm", "numbers")),
        classes=tuple(_class_name(each) for each in _list(data, "classes", "names")),
        edition=_text(data, "edition") if "edition" in data else "",
        clause=_text(data, "clause") if "clause" in data else "",
        includes_limits=includes_limits,
    )


def _text(data: Mapping[str, Any], field: str) -> str:
    value = data[field]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{field} is {value!r}", "give text, in quotes")
    return value.strip()


def _measure(data: Mapping[str, Any]) -> Measure:
    for measure in MEASURES:
        if data["measure"] == measure:
            return measure
    raise ConfigError(f"measure is {data['measure']!r}", f"give one of {', '.join(MEASURES)}")


def _list(data: Mapping[str, Any], field: str, what: str) -> Sequence[Any]:
    value = data[field]
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{field} is {value!r}", f"give a list of {what}")
    return value


def _limit(value: Any) -> float:
    # True is an int to Python, and no limit.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"limits_mm has {value!r}", "give numbers above 0, in millimetres")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _class_name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"classes has {value!r}", "give names, in quotes")
    return value.strip()
