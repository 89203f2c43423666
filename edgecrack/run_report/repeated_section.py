"""What a report says of how well odd and even frames agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecrack.run_report.facts import RunFacts, length_mm
from edgecrack.run_report.report_words import Words

_NONE = "\u2013"


def repeated_section(facts: RunFacts, words: Words) -> dict[str, Any]:
    """Sentences, and a row for each confirmed crack: its name, lengths, widths, differences."""
    found = facts.document.get("repeatability")
    if found is None:
        return {"said": [words("repeated_older")], "rows": []}
    if not found["cracks"]:
        return {"said": [words("repeated_note"), words("repeated_none")], "rows": []}
    if not found["compared"]:
        return {"said": [words("repeated_note"), words("repeated_unknown")], "rows": []}
    said = [words("repeated_note"), *_said(found, words)]
    if facts.review is not None:
        said.append(words("repeated_reviewed"))
    # A review may have rejected, split or joined some.
    own = {crack["id"]: crack for crack in facts.confirmed}
    rows = [
        _row(facts, own[each["id"]], each, words)
        for each in found["cracks"]
        if each["compared"] and each["id"] in own
    ]
    return {"said": said, "rows": rows}


def _said(found: Mapping[str, Any], words: Words) -> list[str]:
    odd, even = (_count(count, words) for count in found["confirmed"])
    said = [words("repeated_frames", odd=odd, even=even)]
    if found["compared"] == 1:
        said.append(words("repeated_found_of_one", count=found["in_both"]))
    else:
        said.append(words("repeated_found", compared=found["compared"], count=found["in_both"]))
    left_out = len(found["cracks"]) - found["compared"]
    if left_out:
        said.append(words("repeated_left_out", count=left_out))
    if found["length_ratio"] is not None:
        said.append(words("repeated_length", ratio=words.number(found["length_ratio"], 2)))
    for unit in ("mm", "px"):
        apart = found[f"width_{unit}"]
        if apart is not None:
            median, most = (_size(apart[name], unit, words) for name in ("median", "p95"))
            said.append(words("repeated_width", count=apart["places"], median=median, most=most))
            break
    return said


def _count(count: Mapping[str, int], words: Words) -> str:
    low, high = count["low"], count["high"]
    if low == high:
        return words("count_cracks", count=high)
    return words("count_cracks", count=words("range", low=low, high=high))


def _row(
    facts: RunFacts, crack: Mapping[str, Any], agreement: Mapping[str, Any], words: Words
) -> list[str]:
    length, mm_per_px = length_mm(crack, facts.document["sheets"][crack["sheet"]]), None
    if length is not None and crack["length_px"]:
        mm_per_px = length / crack["length_px"]
    lengths = [
        _length(length, mm_per_px, words) if confirmed else words("half_missing")
        for length, confirmed in zip(agreement["length_px"], agreement["confirmed"], strict=True)
    ]
    unit = "mm" if any(each is not None for each in agreement["width_mean_mm"]) else "px"
    widths = [
        _NONE if mean is None else _size(mean, unit, words)
        for mean in agreement[f"width_mean_{unit}"]
    ]
    unit = "px" if agreement["width_mm"] is None else "mm"
    apart = agreement[f"width_{unit}"]
    ends = [] if apart is None else [_size(apart[name], unit, words) for name in ("median", "p95")]
    return [
        str(agreement["id"]),
        *(" / ".join(each) for each in (lengths, widths, ends or [_NONE])),
    ]


def _length(length_px: float, mm_per_px: float | None, words: Words) -> str:
    if mm_per_px is None:
        return f"{words.number(length_px, 0)} px"
    return words.length(length_px * mm_per_px)


def _size(width: float, unit: str, words: Words) -> str:
    return words.width(width) if unit == "mm" else f"{words.number(width, 1)} px"
