"""What a report says its figures rest on: model, what ran it, scale, camera, programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecrack.run_report.facts import RunFacts
from edgecrack.run_report.report_words import Words

_SCALE_WORDS = {
    "figure": "scale_from_figure",
    "camera and distance": "scale_from_camera",
    "camera and range": "scale_from_range",
}


def basis_section(facts: RunFacts, words: Words) -> list[tuple[str, str]]:
    """Terms and what they are; what nobody wrote down is said to be unknown."""
    about, document, unknown = facts.about, facts.document, words("unknown")
    model = _dict(about.get("model"))
    sizes = _sizes(facts.settings.get("scales"), words)
    created = words.moment(str(document.get("created") or ""))
    surveyed = ", ".join(each for each in (document.get("program"), created) if each)
    terms = [
        (words("model_file"), model.get("file") or document["model"].get("model")),
        (words("model_sha256"), model.get("sha256") or facts.settings.get("model")),
        (words("precision"), str(model["precision"]).upper() if "precision" in model else None),
        (words("backend"), about.get("backend")),
        (words("threshold_used"), _threshold(facts, words)),
        (words("scales_used"), sizes),
        (words("program"), about.get("program")),
        (words("survey_program"), surveyed),
        *_scale(facts, words),
        *_camera(_dict(about.get("camera")), words),
    ]
    return [(term, str(text) if text else unknown) for term, text in terms]


def _sizes(scales: str | None, words: Words) -> str | None:
    """Sizes of the frame at which the network ran, as shares of the full one."""
    try:
        each = [_plain(float(scale), 4, words) for scale in (scales or "").split(",")]
    except ValueError:
        return scales
    return words("scales_text", scales="; ".join(each))


def _threshold(facts: RunFacts, words: Words) -> str | None:
    try:
        return _plain(float(facts.settings["threshold"]), 4, words)
    except (KeyError, ValueError):
        value = facts.document["model"].get("threshold")
        return _plain(value, 4, words) if isinstance(value, (int, float)) else None


def _scale(facts: RunFacts, words: Words) -> list[tuple[str, str | None]]:
    """How pixels became millimetres."""
    if "scale" not in facts.about:  # of a run by an older version
        # Settings hold a scale only where there is one.
        given = facts.settings.get("scale", words("scale_none") if facts.settings else None)
        return [(words("scale_given"), given and given.replace("+-", " \u00b1 "))]
    scale = _dict(facts.about["scale"])
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
    quantity = _dict(given)
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


def _camera(camera: Mapping[str, Any], words: Words) -> list[tuple[str, str | None]]:
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


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
