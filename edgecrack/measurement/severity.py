"""Severity class of a crack by its width, from a table in a standard or a custom table.

No table is the default: the right one depends on the structure and its exposure, so nothing is
classified until the user chooses one.
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
"""The width statistic that is compared with the limits, a field of `Crack`."""

MEASURES: tuple[Measure, ...] = get_args(Measure)
_ID = re.compile(r"[a-z0-9][a-z0-9.:_-]*")
_REQUIRED = ("id", "document", "purpose", "unit", "measure", "limits_mm", "classes")
_OPTIONAL = ("edition", "clause", "includes_limits")


@dataclass(frozen=True, slots=True)
class SeverityTable:
    """Crack width classes and the limits between them.

    Attributes:
        id: identifier for `severity_table`: lower-case letters, digits, and . : _ -
        document: source of the limits.
        purpose: what the table is for, and what it does not cover.
        measure: the width statistic that it applies to.
        limits_mm: upper limits of all classes but the last, in millimetres, increasing.
        classes: class names from narrowest to widest, one more than limits.
        edition: edition of the document; "" if it has none.
        clause: table or section, and the case it applies to; "" if there is none.
        includes_limits: whether a width exactly at a limit is in the class below ("up to") rather
            than in the class above ("less than").

    Raises:
        ConfigError: a value is out of range, or limits and classes do not match.
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
                f"id is {self.id!r}", "use lower-case letters, digits, and . : _ - without spaces"
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
            raise ConfigError(f"limits_mm is {limits}", "list each limit once, in increasing order")
        if len(classes) != len(limits) + 1:
            raise ConfigError(
                f"classes has {len(classes)} names for {len(limits)} limits",
                "give one more name than limits, the widest class last",
            )
        if len(set(classes)) < len(classes):
            raise ConfigError(f"classes is {classes}", "give each class a unique name")

    def class_of(self, width_mm: float) -> str:
        """The class of a width, ignoring its uncertainty.

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
    """The class of a crack width, given its uncertainty.

    Attributes:
        name: the most likely class; a tie goes to `of_value` if it is among them.
        probability: probability of that class, 0 to 1.
        probabilities: probability of each class by name, in the table's order; they sum to 1.
        of_value: the class of the width, ignoring its uncertainty. It may not be the most likely
            one if the class is narrow compared with the uncertainty.
    """

    name: str
    probability: float
    probabilities: dict[str, float]
    of_value: str


@cache
def severity_tables() -> tuple[SeverityTable, ...]:
    """The severity tables shipped with this package.

        >>> [table.limits_mm for table in severity_tables() if table.id == "bre-251"]
        [(0.1, 1.0, 5.0, 15.0, 25.0)]

    Limits are in millimetres. Read the `purpose` of a table before you use it.
    """
    path = resources.files("edgecrack.measurement") / "severity_tables.json"
    return tuple(
        _table({**document["shared"], **table})
        for document in parse_json(path.read_text(encoding="utf-8"))["documents"]
        for table in document["tables"]
    )


def severity_table(word: str) -> SeverityTable:
    """Look up a shipped severity table.

        >>> severity_table("en-1992:xc3").limits_mm
        (0.3,)

    Args:
        word: the table's id, such as "aci-224r:dry-air" or "ltpp"; case does not matter.

    Raises:
        ConfigError: there is no table with this id.
    """
    known = {table.id: table for table in severity_tables()}
    table = known.get(word.strip().lower())
    if table is None:
        raise ConfigError(f"the severity table is {word!r}", f"give one of: {', '.join(known)}")
    return table


def table_from(data: Mapping[str, Any], name: str) -> SeverityTable:
    """Make a custom severity table.

        >>> own = {"id": "our-bridges", "document": "Handbook 7", "purpose": "Bridge decks",
        ...        "unit": "mm", "measure": "mean", "limits_mm": [0.2], "classes": ["fine", "wide"]}
        >>> table_from(own, "limits.json").classes
        ('fine', 'wide')

    Args:
        data: the table as read from JSON or YAML: `SeverityTable`'s fields and `unit`, which must
            be "mm"; `edition`, `clause` and `includes_limits` are optional.
        name: name for error messages, such as the file name.

    Raises:
        ConfigError: a field is missing, unknown or wrong, or a different shipped table has the same
            id.
    """
    try:
        table = _table(data)
        shipped = {each.id: each for each in severity_tables()}
        if shipped.get(table.id, table) != table:
            raise ConfigError(
                f"id is {table.id!r}, which another table uses", "give the table a unique id"
            )
    except ConfigError as error:
        raise ConfigError(f"severity table {name}: {error.problem}", error.remedy) from None
    return table


def classify(table: SeverityTable, width_mm: float, u_mm: float) -> SeverityClass:
    """Classify a crack width, with the probability of each class.

        >>> found = classify(severity_table("ltpp"), 5.5, 0.5)
        >>> found.name, round(found.probability, 2)
        ('low', 0.84)

    The true width is assumed to be normally distributed about the measured one, truncated at 0.

    Args:
        table: the classes.
        width_mm: the width statistic named by `table.measure`, in millimetres, 0 or more.
        u_mm: its standard uncertainty in millimetres, 0 or more; about a quarter of the length of
            a 95 % interval. 0 means that the width is exact.

    Raises:
        ConfigError: a value is negative or not finite.
    """
    for word, value in (("width", width_mm), ("standard uncertainty", u_mm)):
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"the {word} is {value} mm", "give 0 mm or more")
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
    """The JSON record of a crack's class; None without a table or a width in millimetres."""
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
        raise ConfigError(f"{field} is {value!r}", "give quoted text")
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
    # Python treats True as an int, but it is not a limit.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"limits_mm has {value!r}", "give numbers above 0, in millimetres")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _class_name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"classes has {value!r}", "give quoted names")
    return value.strip()
