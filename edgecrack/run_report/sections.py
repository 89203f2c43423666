"""The report's sections on its basis, missed cracks, notes, repeatability and the site check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecrack.run_report.facts import RunFacts, length_mm
from edgecrack.run_report.report_words import Words
from edgecrack.run_report.site_result import SITE_CHECK_NAME, SiteReason, SiteResult

_NONE = "\u2013"
_SCALE_WORDS = {
    "figure": "scale_from_figure",
    "camera and distance": "scale_from_camera",
    "camera and range": "scale_from_range",
}


def basis_section(facts: RunFacts, words: Words) -> list[tuple[str, str]]:
    """Terms and their values; what was not recorded is shown as unknown."""
    about, document, unknown = facts.about, facts.document, words("unknown")
    model = _as_dict(about.get("model"))
    sizes = _scales_used(facts.settings.get("scales"), words)
    created = words.moment(str(document.get("created") or ""))
    surveyed = ", ".join(each for each in (document.get("program"), created) if each)
    terms = [
        (words("model_file"), model.get("file") or document["model"].get("model")),
        (words("model_sha256"), model.get("sha256") or facts.settings.get("model")),
        (words("precision"), str(model["precision"]).upper() if "precision" in model else None),
        (words("backend"), about.get("backend")),
        (words("threshold_used"), _threshold_used(facts, words)),
        (words("scales_used"), sizes),
        (words("program"), about.get("program")),
        (words("survey_program"), surveyed),
        *_scale_terms(facts, words),
        *_camera_terms(_as_dict(about.get("camera")), words),
    ]
    return [(term, str(text) if text else unknown) for term, text in terms]


def _scales_used(scales: str | None, words: Words) -> str | None:
    """Sizes of the frame at which the network ran, as shares of the full one."""
    try:
        each = [_plain(float(scale), 4, words) for scale in (scales or "").split(",")]
    except ValueError:
        return scales
    return words("scales_text", scales="; ".join(each))


def _threshold_used(facts: RunFacts, words: Words) -> str | None:
    try:
        return _plain(float(facts.settings["threshold"]), 4, words)
    except (KeyError, ValueError):
        value = facts.document["model"].get("threshold")
        return _plain(value, 4, words) if isinstance(value, (int, float)) else None


def _scale_terms(facts: RunFacts, words: Words) -> list[tuple[str, str | None]]:
    """How pixels became millimetres."""
    if "scale" not in facts.about:  # of a run by an older version
        # Settings hold a scale only where there is one.
        given = facts.settings.get("scale", words("scale_none") if facts.settings else None)
        return [(words("scale_given"), given and given.replace("+-", " \u00b1 "))]
    scale = _as_dict(facts.about["scale"])
    if not scale:
        return [(words("scale_given"), words("scale_none"))]
    figure = _quantity(scale.get("mm_per_px"), "mm", 4, words)
    key = _SCALE_WORDS.get(str(scale.get("by")))
    terms: list[tuple[str, str | None]] = [
        (words("scale_given"), None if key is None else words(key, value=figure or ""))
    ]
    if scale.get("by") != "figure":
        if distance := _quantity(scale.get("distance_m"), "m", 3, words):
            terms.append((words("distance"), distance))
        terms.append((words("tilt"), _quantity(scale.get("tilt_deg"), "\u00b0", 1, words)))
    return terms


def _quantity(given: Any, unit: str, digits: int, words: Words) -> str | None:
    quantity = _as_dict(given)
    if not isinstance(quantity.get("value"), (int, float)):
        return None
    text = _plain(quantity["value"], digits, words)
    space = "" if unit == "\u00b0" else " "
    if isinstance(quantity.get("spread_95"), (int, float)):
        text = f"{text} \u00b1 {_plain(quantity['spread_95'], digits, words)}"
    return f"{text}{space}{unit}"


def _plain(value: float, digits: int, words: Words) -> str:
    """A number without zeros at its end."""
    text = words.number(value, digits)
    return text.rstrip("0").rstrip(".,") if "." in text or "," in text else text


def _camera_terms(camera: Mapping[str, Any], words: Words) -> list[tuple[str, str | None]]:
    if not camera:
        return []
    name, file, residual = camera.get("name"), camera.get("file"), camera.get("rms_px")
    called = f"{file} ({name})" if file and name else file or name
    text = None
    if isinstance(residual, (int, float)):
        text = words("rms_text", rms=words.number(residual, 2))
    return [
        (words("camera_file"), None if called is None else str(called)),
        (words("camera_date"), words.moment(str(camera["date"])) if camera.get("date") else None),
        (words("camera_residual"), text),
        (words("camera_photos"), camera.get("photos")),
        (words("camera_sha256"), camera.get("sha256")),
    ]


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def missed_limits(facts: RunFacts, mm_per_px: float | None, words: Words) -> tuple[list[str], bool]:
    """Sentences about the evidence, and whether its figures hold for the run at all.

    They are of one threshold and of certain sizes of the frame; blur and contrast are those of the
    evidence's own pictures, and are not told apart.

    Args:
        facts: of a run with evidence.
        mm_per_px: its coarsest scale; None without one.
        words: of the report.
    """
    evidence = facts.evidence or {}
    threshold = facts.document["model"].get("threshold")
    if isinstance(threshold, (int, float)) and abs(threshold - evidence["threshold"]) > 1e-6:
        given = words.number(evidence["threshold"], 2), words.number(threshold, 2)
        return [words("missed_threshold", evidence=given[0], run=given[1])], False
    scales = ",".join(f"{scale:g}" for scale in evidence["scales"])
    if facts.settings.get("scales", scales) != scales:
        return [words("missed_scales", evidence=scales, run=facts.settings["scales"])], False
    narrowest = min(each["width_px"][0] for each in evidence["widths"])
    width = f"{words.number(narrowest, 2)} px"
    if mm_per_px is not None:
        width = words.width(narrowest * mm_per_px)
    blur = words("missed_blur", blur=words.number(evidence["blur_px"], 1))
    return [words("missed_narrower", width=width), blur, _run_blur(facts, words)], True


def _run_blur(facts: RunFacts, words: Words) -> str:
    blur_px, evidence = facts.document.get("blur_px"), facts.evidence or {}
    if blur_px is None:
        return words("missed_run_blur_unknown")
    # To the digit that is shown; the estimate is not more precise than that.
    if round(blur_px, 1) > round(evidence["blur_px"], 1):
        return words("missed_run_blur_more", blur=words.number(blur_px, 1))
    return words("missed_run_blur")


def note_sentences(document: Mapping[str, Any], words: Words) -> list[str]:
    """The notes as sentences; in English as they are where an older survey has no keys.

    Args:
        document: content of the survey's `cracks.json`.
        words: of the report.
    """
    notes, noted = document["notes"], document.get("noted")
    if not isinstance(noted, list) or len(noted) != len(notes):
        return [_sentence(note) for note in notes]
    return [
        _note_in_words(note, words) or _sentence(english)
        for note, english in zip(noted, notes, strict=True)
    ]


def _note_in_words(note: Any, words: Words) -> str:
    """A note by its key; empty where there are no words for it."""
    try:
        key, values = f"note_{note['key']}", dict(note["values"])
        if {"low", "high"} <= values.keys():
            same = values["low"] == values["high"]
            values["number"] = values["high"] if same else words("range", **values)
        text = words(key, **values) if key in words.known else ""
        return "" if "{" in text else text  # values that it holds are not there
    except (KeyError, TypeError, IndexError):
        return ""


def _sentence(note: str) -> str:
    """As English notes are kept, without capital and stop."""
    text = note[:1].upper() + note[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def repeated_section(facts: RunFacts, words: Words) -> dict[str, Any]:
    """Sentences, and a row for each confirmed crack: its name, lengths, widths, differences."""
    found = facts.document.get("repeatability")
    if found is None:
        return {"said": [words("repeated_older")], "rows": []}
    if not found["cracks"]:
        return {"said": [words("repeated_note"), words("repeated_none")], "rows": []}
    if not found["compared"]:
        return {"said": [words("repeated_note"), words("repeated_unknown")], "rows": []}
    said = [words("repeated_note"), *_repeated_said(found, words)]
    if facts.review is not None:
        said.append(words("repeated_reviewed"))
    # A review may have rejected, split or joined some.
    own = {crack["id"]: crack for crack in facts.confirmed}
    rows = [
        _repeated_row(facts, own[each["id"]], each, words)
        for each in found["cracks"]
        if each["compared"] and each["id"] in own
    ]
    return {"said": said, "rows": rows}


def _repeated_said(found: Mapping[str, Any], words: Words) -> list[str]:
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


def _repeated_row(
    facts: RunFacts, crack: Mapping[str, Any], agreement: Mapping[str, Any], words: Words
) -> list[str]:
    length, mm_per_px = length_mm(crack, facts.document["sheets"][crack["sheet"]]), None
    if length is not None and crack["length_px"]:
        mm_per_px = length / crack["length_px"]
    lengths = [
        _repeated_length(length, mm_per_px, words) if confirmed else words("half_missing")
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


def _repeated_length(length_px: float, mm_per_px: float | None, words: Words) -> str:
    if mm_per_px is None:
        return f"{words.number(length_px, 0)} px"
    return words.length(length_px * mm_per_px)


def _size(width: float, unit: str, words: Words) -> str:
    return words.width(width) if unit == "mm" else f"{words.number(width, 1)} px"


def site_section(found: SiteResult | None, words: Words) -> list[tuple[str, str]]:
    """Terms and what they are; none without a check."""
    if found is None:
        return []
    unknown = words("unknown")
    verdict = words("site_passed" if found.passed else "site_failed")
    read, scale = unknown, unknown
    if found.cracks is not None:
        read = words("site_read_text", read=found.read, all=found.cracks)
    if found.deviation is not None:
        spread = (
            unknown if found.deviation_spread is None else _share(found.deviation_spread, words)
        )
        scale = words("site_scale_text", deviation=_signed(found.deviation, words), spread=spread)
    terms = [
        (words("site_verdict"), verdict),
        (words("site_date"), words.moment(found.date) if found.date else unknown),
        (words("site_read"), read),
        (words("site_narrowest_seen"), _site_width(found.narrowest_mm, words)),
        (words("site_smallest"), _site_width(found.smallest_mm, words)),
        (words("site_scale"), scale),
        (words("site_from"), _site_source(found, words)),
    ]
    if found.reasons:
        reasons = "; ".join(_site_reason(each, words) for each in found.reasons)
        terms.insert(1, (words("site_reasons"), reasons))
    return terms


def _site_width(width_mm: float | None, words: Words) -> str:
    return words("unknown") if width_mm is None else words.width(width_mm)


def _share(share: float, words: Words) -> str:
    return f"{words.number(100 * share, 1)}\u202f%"


def _signed(share: float, words: Words) -> str:
    """With its sign: more than 0 is too large."""
    return f"{'+' if share > 0 else ''}{_share(share, words)}".replace("-", "\u2212")


def _site_source(found: SiteResult, words: Words) -> str:
    key = "site_photos" if found.is_given else "site_from_run"
    text = words(key, count=found.checks, passed=found.checks_passed)
    if not found.is_given:
        return text
    return f"{text}; {words('site_from_file', name=f'report/{SITE_CHECK_NAME}')}"


def _site_reason(reason: SiteReason, words: Words) -> str:
    given = {}
    if "widths_mm" in reason.values:
        widths = reason.values["widths_mm"]
        given["widths"] = ", ".join(words.number(each, 2) for each in widths)
    if "deviation" in reason.values:
        given["deviation"] = _signed(reason.values["deviation"], words)
    return words(f"site_reason_{reason.key}", **given)
