"""The actions of a reviewer and their fields.

confirm crack            it is a crack
reject  crack reason     it is not a crack
reopen  crack            neither, again
draw    frame points     a crack that was missed: becomes D1, D2, ...
split   crack at         two cracks, cut at a place of the sheet: 7 becomes 7a and 7b
merge   cracks           they are one crack: 3 and 7 become 3+7
gauge   crack mm         a width that was read from a gauge on the structure
tags    crack tags       all that the crack is to have
note    crack text       replaces the previous one
looked                   the reviewer looked over the whole surface, too
undo                     takes back the last action that stands
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgecrack.errors import ConfigError, SourceError
from edgecrack.run_review.review_log import Entry

CrackId = int | str

TAGS = ("sealed", "wet", "rust", "efflorescence")
REASONS = ("joint", "stain", "shadow", "edge", "object", "other")
LONGEST_NOTE, MOST_POINTS, LONGEST_ID = 2000, 2000, 120
_DRAWN = re.compile(r"D[1-9][0-9]{0,8}")
_WIDEST_MM = 1000.0
_FURTHEST_PX = 1e7


def named_cracks(action: Mapping[str, Any]) -> tuple[CrackId, ...]:
    """The cracks that an action names."""
    if "cracks" in action:
        return tuple(action["cracks"])
    return (action["crack"],) if "crack" in action else ()


def whole_entry(entry: Entry) -> Entry:
    """An entry as it was checked when it was made.

    Raises:
        SourceError: it is damaged, or of an unknown version.
    """
    action = entry.action
    kind = action.get("action")
    if kind not in (*_FIELDS, "undo"):
        raise SourceError(
            f"entry {entry.number} of the review has the action {str(kind)[:40]!r}, which this "
            "version does not know",
            "use the version of edgecrack that wrote it",
        )
    try:
        if kind == "undo":
            return replace(entry, action={"action": kind, "undoes": action.get("undoes")})
        clean = clean_action(action)
        if kind == "draw":
            clean["crack_id"] = _drawn_id(action.get("crack_id"))
        clean["of"] = _digests(action.get("of", {}))
    except ConfigError as error:
        raise SourceError(
            f"entry {entry.number} of the review is damaged: {error.problem}",
            "take the file from a copy",
        ) from error
    return replace(entry, action=clean)


def _drawn_id(value: Any) -> str:
    if not isinstance(value, str) or not _DRAWN.fullmatch(value):
        raise ConfigError(f"a drawn crack is called {str(value)[:40]!r}", "call it D1")
    return value


def _digests(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ConfigError("its digests are missing or damaged", "give a digest for each crack")
    return value


def clean_action(action: Mapping[str, Any]) -> dict[str, Any]:
    """An action with its fields and no others.

    Raises:
        ConfigError: something is missing or of the wrong kind.
    """
    kind = action.get("action")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ConfigError(f"the action is {str(kind)[:40]!r}", f"give {', '.join(_FIELDS)} or undo")
    clean: dict[str, Any] = {"action": kind}
    for name in _FIELDS[kind]:
        clean[name] = _CHECKS[name](action.get(name))
    return clean


def _crack_id(value: Any) -> CrackId:
    is_id = isinstance(value, (int, str)) and not isinstance(value, bool)
    if not is_id or len(str(value)) > LONGEST_ID + 10 or not _is_writable(str(value)):
        shown = ascii(str(value)[:40])
        raise ConfigError(f"the crack is {shown}", "give its number or name")
    found: CrackId = value
    return found


def _crack_ids(value: Any) -> list[CrackId]:
    found = [_crack_id(each) for each in value] if isinstance(value, list) else []
    if not 2 <= len(set(found)) == len(found) <= 50:
        raise ConfigError(f"{len(found)} cracks are to be merged", "give 2 to 50 different ones")
    return sorted(found, key=lambda each: (isinstance(each, str), each))


def _reason(value: Any) -> str:
    if value in (None, ""):
        return ""
    if value not in REASONS:
        raise ConfigError(f"the reason is {str(value)[:40]!r}", f"give {', '.join(REASONS)}")
    return str(value)


def _frame_number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"the frame is {str(value)[:40]!r}", "give its number")
    return value


def _numbers(value: Any, count: int) -> list[float] | None:
    if not isinstance(value, list) or len(value) != count:
        return None
    if not all(isinstance(each, (int, float)) and abs(each) < _FURTHEST_PX for each in value):
        return None
    return [round(float(each), 2) for each in value]


def _points(value: Any) -> list[list[float]]:
    pairs = [_numbers(each, 2) for each in value] if isinstance(value, list) else []
    points = [each for each in pairs if each is not None]
    if len(points) != len(pairs) or not 2 <= len(points) <= MOST_POINTS:
        raise ConfigError(
            f"{len(pairs)} points were drawn", f"give x and y of 2 to {MOST_POINTS} of them"
        )
    return points


def _place(value: Any) -> list[float]:
    place = _numbers(value, 2)
    if place is None:
        raise ConfigError(f"the place is {str(value)[:40]!r}", "give x and y on the sheet")
    return place


def _width_mm(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 < value <= _WIDEST_MM or not round(float(value), 4):
        raise ConfigError(
            f"the reading is {str(value)[:40]!r}", f"give millimetres, up to {_WIDEST_MM:.0f}"
        )
    return round(float(value), 4)


def _tags(value: Any) -> list[str]:
    if not isinstance(value, list) or any(each not in TAGS for each in value):
        raise ConfigError(f"the tags are {str(value)[:80]!r}", f"give some of {', '.join(TAGS)}")
    return [tag for tag in TAGS if tag in value]


def _text(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else None
    if text is None or len(text) > LONGEST_NOTE or not _is_writable(text):
        raise ConfigError("the note is not text", f"give at most {LONGEST_NOTE} characters")
    return text


def _is_writable(text: str) -> bool:
    """Whether it has no control characters but line breaks, and no halves of characters."""
    plain = text.replace("\n", "").replace("\r", "").replace("\t", "")
    return all(ord(each) >= 32 and not 0xD800 <= ord(each) < 0xE000 for each in plain)


_FIELDS: dict[Any, tuple[str, ...]] = {
    "confirm": ("crack",),
    "reject": ("crack", "reason"),
    "reopen": ("crack",),
    "draw": ("frame", "points"),
    "split": ("crack", "at"),
    "merge": ("cracks",),
    "gauge": ("crack", "mm"),
    "tags": ("crack", "tags"),
    "note": ("crack", "text"),
    "looked": (),
}
_CHECKS: dict[str, Any] = {
    "crack": _crack_id,
    "cracks": _crack_ids,
    "reason": _reason,
    "frame": _frame_number,
    "points": _points,
    "at": _place,
    "mm": _width_mm,
    "tags": _tags,
    "text": _text,
}
