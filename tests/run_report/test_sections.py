"""What a report says of repeatability, the site check, what it rests on, and in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecrack.errors import ConfigError
from edgecrack.run_report.facts import RunFacts
from edgecrack.run_report.report_words import Words, class_name, languages, term_name
from edgecrack.run_report.sections import (
    basis_section,
    missed_limits,
    note_sentences,
    repeated_section,
    site_section,
)
from edgecrack.run_report.site_result import (
    parse_site_check,
    read_site_check,
    site_result_of_run,
)
from edgecrack.run_survey.survey_findings import SurveyNote

EN, DE = Words("en"), Words("de")


def facts(document: dict[str, Any], **more: Any) -> RunFacts:
    return RunFacts(
        Path("run"), Path("run/survey"), document, {}, more.pop("settings", {}), None, {}, (),
        more.pop("evidence", None), **more,
    )  # fmt: skip


def crack(number: int, length_mm: float | None = 20.0) -> dict[str, Any]:
    return {
        "id": number,
        "status": "confirmed",
        "length_px": 100.0,
        "length_mm": length_mm,
        "sheet": 0,
    }


def agreement(number: int, *, compared: bool = True, both: bool = True) -> dict[str, Any]:
    return {
        "id": number,
        "compared": compared,
        "views": [9, 8],
        "confirmed": [True, both],
        "length_px": [100.0, 98.0 if both else 0.0],
        "length_ratio": 1.0204 if both else None,
        "width_mean_px": [2.0, 2.1],
        "width_mean_mm": [0.4, 0.42],
        "width_px": {"median": 0.1, "p95": 0.4, "places": 12},
        "width_mm": {"median": 0.02, "p95": 0.08, "places": 12},
    }


def repeated(*cracks: dict[str, Any]) -> dict[str, Any]:
    compared = [each for each in cracks if each["compared"]]
    return {
        "frames": [20, 19],
        "confirmed": [{"low": 1, "high": 1}, {"low": 2, "high": 3}],
        "compared": len(compared),
        "in_both": sum(all(each["confirmed"]) for each in compared),
        "length_ratio": 1.0204 if compared else None,
        "width_px": {"median": 0.1, "p95": 0.4, "places": 12} if compared else None,
        "width_mm": {"median": 0.02, "p95": 0.08, "places": 12} if compared else None,
        "cracks": list(cracks),
    }


def survey(*cracks: dict[str, Any]) -> dict[str, Any]:
    return {
        "cracks": [crack(each["id"]) for each in cracks],
        "sheets": [{"mm_per_px": 0.2}],
        "repeatability": repeated(*cracks),
    }


def test_repeatability_is_told_over_all_and_by_crack() -> None:
    document = survey(agreement(1), agreement(2, both=False), agreement(7, compared=False))
    found = repeated_section(facts(document), EN)
    said = " ".join(found["said"])
    assert "Odd frames confirm 1 crack, even frames 2 to 3 cracks." in said
    assert "Of 2 confirmed cracks of which both halves show enough, 1 was confirmed again" in said
    assert "Of 1 more, fewer than three frames" in said
    assert "odd over even: 1.02" in said
    assert "median 0.02 mm, at most 0.08 mm in 95" in said
    assert found["rows"] == [
        ["1", "20 mm / 20 mm", "0.40 mm / 0.42 mm", "0.02 mm / 0.08 mm"],
        ["2", "20 mm / not confirmed", "0.40 mm / 0.42 mm", "0.02 mm / 0.08 mm"],
    ]
    assert "1 Riss, in geraden Bildern 2 bis 3 Risse" in " ".join(
        repeated_section(facts(document), DE)["said"]
    )


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"cracks": [], "sheets": []}, "did not compare"),
        (survey(), "nothing to compare"),
        (survey(agreement(1, compared=False)), "the run is too short for that"),
        (survey(agreement(1)), "The only confirmed crack of which both halves show enough was c"),
        (survey(agreement(1, both=False)), "was not confirmed again by both"),
    ],
)
def test_what_is_not_known_of_repeatability_is_said(document: dict[str, Any], said: str) -> None:
    assert said in " ".join(repeated_section(facts(document), EN)["said"])


NOTES = (
    SurveyNote("older_run", "", {}),
    SurveyNote("damaged_lines", "", {"count": 1}),
    SurveyNote("damaged_lines", "", {"count": 3}),
    SurveyNote("lost_pictures", "", {"count": 1}),
    SurveyNote("one_frame", ""),
    SurveyNote("still", ""),
    SurveyNote("not_linked", "", {"count": 2, "low": 3, "high": 5}),
    SurveyNote("not_linked", "", {"count": 2, "low": 3, "high": 3}),
    SurveyNote("apart", "", {"count": 19}),
    SurveyNote("jumps", "", {"sheet": 4, "count": 1}),
    SurveyNote("untracked", ""),
)


@pytest.mark.parametrize("language", languages())
def test_each_note_has_words_in_each_language(language: str) -> None:
    noted = [note.to_dict() for note in NOTES]
    document = {"notes": ["NO WORDS"] * len(noted), "noted": noted}
    found = note_sentences(document, Words(language))
    assert all(note and "NO WORDS" not in note and "{" not in note for note in found), found


def test_notes_have_their_number_and_range() -> None:
    noted = [note.to_dict() for note in NOTES]
    found = note_sentences({"notes": ["x"] * len(noted), "noted": noted}, DE)
    assert found[1] == "1 beschädigte Zeile der Aufnahme wurde übergangen."
    assert found[2] == "3 beschädigte Zeilen der Aufnahme wurden übergangen."
    assert "insgesamt 3 bis 5." in found[6]
    assert "insgesamt 3." in found[7]


def test_notes_of_an_older_survey_and_of_a_newer_one_stay_in_english() -> None:
    old = {"notes": ["the camera did not move"]}
    assert note_sentences(old, DE) == ["The camera did not move."]
    new = {"notes": ["something new"], "noted": [{"key": "unheard_of", "values": {}}]}
    assert note_sentences(new, DE) == ["Something new."]
    damaged = {"notes": ["something"], "noted": [{"key": "jumps", "values": {}}]}
    assert note_sentences(damaged, DE) == ["Something."]


def test_words_have_a_singular_and_a_plural() -> None:
    for words, one, many in ((EN, "1 crack", "0 cracks"), (DE, "1 Riss", "0 Risse")):
        assert words("count_cracks", count=1) == one
        assert words("count_cracks", count=0) == many
    assert (
        EN("seen_in", count=1, frames=1) == "seen in the only inspected frame that shows its place"
    )
    for language in languages():
        for key in EN.known:
            assert Words(language).forms(key).keys() == EN.forms(key).keys(), key


def test_names_of_uncertainties_and_classes_are_in_the_language() -> None:
    for name in ("noise", "depth", "blur", "model", "mm per pixel", "unknown lens", "distance",
                 "tilt", "focal length", "marker size", "marker corners"):  # fmt: skip
        assert term_name(name, DE) != name
    assert term_name("Tau am Morgen", DE) == "Tau am Morgen"
    assert class_name("high", DE) == "hoch"
    assert class_name("Klasse B", DE) == "Klasse B"


def test_moments_are_written_as_the_language_writes_them() -> None:
    assert EN.moment("2026-11-30T20:09:25+00:00") == "2026-11-30, 20:09 UTC"
    assert DE.moment("2026-11-12") == "12.11.2026"
    assert DE.moment("yesterday") == "yesterday"


def sheet_crack(stated_mm: float, score: float | None) -> dict[str, Any]:
    return {"stated_mm": stated_mm, "measurable": score is not None, "score": score}


CHECK = {
    "passed": True,
    "problems": [],
    "sentences": ["site check passed"],
    "scale": {"deviation": 0.012, "spread_95": 0.02, "agrees": True, "bar_measured": True},
    "mean_deviation": {"value": 0.01, "spread_95": 0.03},
    "cracks": [
        sheet_crack(0.1, None), sheet_crack(0.2, 1.4), sheet_crack(0.3, 0.5),
        sheet_crack(0.4, -0.2), sheet_crack(0.5, 0.1),
    ],
}  # fmt: skip
FAILED = {
    **CHECK,
    "passed": False,
    "scale": {"deviation": 0.1, "spread_95": 0.02, "agrees": False, "bar_measured": False},
    "mean_deviation": {"value": 0.1, "spread_95": 0.03},
    "cracks": [sheet_crack(0.1, None), sheet_crack(0.3, 2.5)],
}


def test_the_runs_own_frames_tell_of_the_check_on_site(tmp_path: Path) -> None:
    (tmp_path / "survey").mkdir()
    lines = [{"site_check": None}, {"site_check": FAILED}, {"site_check": CHECK}]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "survey" / "rows.jsonl").write_text(text + '\ntorn {"passed"')
    found = site_result_of_run(tmp_path, "2026-11-30T20:09:25+00:00")
    assert found is not None
    assert (found.passed, found.checks, found.checks_passed) == (True, 2, 1)
    assert (found.narrowest_mm, found.smallest_mm) == (0.1, 0.3)
    terms = dict(site_section(found, DE))
    assert terms["Ergebnis"] == "bestanden"
    assert terms["Datum"] == "30.11.2026, 20:09 UTC"
    assert terms["Gemessene Risse"] == "4 von 5"
    assert terms["Schmalster richtig gemessener Riss des Prüfblatts"] == "0,30 mm"
    assert "2 gemessene Bilder" in terms["Grundlage"]
    assert site_section(site_result_of_run(tmp_path / "survey", None), EN) == []


def test_a_failed_check_says_why() -> None:
    found = parse_site_check(json.dumps(FAILED).encode(), "check.json")
    terms = dict(site_section(found, EN))
    assert terms["Verdict"] == "FAILED"
    assert terms["Date"] == "not known"
    reasons = terms["Reasons"]
    for part in ("distance, calibration or the size", "too few", "cracks of 0.30 mm", "10.0"):
        assert part in reasons
    bar = {**CHECK, "passed": False, "scale": {"bar_measured": False}, "mean_deviation": None}
    bar["cracks"] = [sheet_crack(width, 0.2) for width in (0.3, 0.4, 0.5)]
    assert (
        "bar" in dict(site_section(parse_site_check(json.dumps(bar).encode(), "x"), EN))["Reasons"]
    )
    old = {"passed": True, "problems": [], "sentences": ["site check passed"]}
    terms = dict(site_section(parse_site_check(json.dumps(old).encode(), "x"), EN))
    assert terms["Cracks read"] == "not known"


def test_photos_of_the_sheet_pass_where_all_pass() -> None:
    photos = [
        {"name": "a", "site_check": CHECK, "taken": {"taken_at": "2026-11-12T08:00:00"}},
        {"name": "b", "site_check": None, "taken": None},
        {"name": "c", "site_check": FAILED, "taken": None},
    ]
    found = parse_site_check(json.dumps({"photos": photos}).encode(), "cracks.json")
    assert (found.passed, found.checks, found.checks_passed) == (False, 2, 1)
    assert found.date == "2026-11-12T08:00:00"
    assert "report/site_check.json" in dict(site_section(found, EN))["Taken from"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("[", "is not JSON"), ("[]", "contains no check"), ('{"photos": []}', "no photo of")],
)
def test_a_file_without_a_check_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cracks.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_site_check(path)
    with pytest.raises(ConfigError, match="cannot read the site check"):
        read_site_check(tmp_path / "none.json")


ABOUT = {
    "program": "edgecrack 1.2",
    "model": {"file": "m.onnx", "sha256": "ab" * 32, "kind": "onnx", "precision": "fp16"},
    "backend": "ONNX Runtime 1.22 (CPU)",
    "scale": {
        "by": "camera and distance",
        "distance_m": {"value": 1.5, "spread_95": 0.02},
        "tilt_deg": {"value": 0.0, "spread_95": 5.0},
    },
    "camera": {
        "name": "Kamera 2", "file": "camera.yaml", "sha256": "cd" * 32, "date": "2026-11-12",
        "rms_px": 0.314, "photos": 18, "fixed_focus": True,
    },
}  # fmt: skip


def test_a_report_names_what_its_figures_rest_on() -> None:
    document = {"model": {"model": "m.onnx", "threshold": 0.9}, "program": "edgecrack 1.3"}
    settings = {"scales": "1,0.5", "threshold": "0.85"}
    terms = dict(basis_section(facts(document, about=ABOUT, settings=settings), DE))
    assert terms["Modelldatei"] == "m.onnx"
    assert terms["SHA-256 des Modells"] == "ab" * 32
    assert terms["Rechengenauigkeit"] == "FP16"
    assert terms["Ausgeführt mit"] == "ONNX Runtime 1.22 (CPU)"
    assert terms["Schwellenwert"] == "0,85"
    assert terms["Bildgrößen"] == "1; 0,5 der vollen Größe"
    assert terms["Abstand zur Oberfläche"] == "1,5 \u00b1 0,02 m"
    assert terms["Neigung der Blickrichtung"] == "0 \u00b1 5\u00b0"
    assert terms["Kameradatei"] == "camera.yaml (Kamera 2)"
    assert terms["Kalibriert am"] == "12.11.2026"
    assert terms["Rückprojektionsfehler"].startswith("0,31")
    assert (terms["Programm"], terms["Auswertung"]) == ("edgecrack 1.2", "edgecrack 1.3")


def test_what_an_older_run_did_not_write_down_is_unknown() -> None:
    document = {"model": {"model": "m.onnx", "threshold": 0.9}}
    settings = {"model": "ab" * 32, "scale": "0.25+-0.01 mm/px"}
    terms = dict(basis_section(facts(document, settings=settings), EN))
    assert terms["SHA-256 of the model"] == "ab" * 32
    assert terms["Scale"] == "0.25 \u00b1 0.01 mm/px"
    for name in ("Precision", "Backend", "Program", "Survey", "Sizes of the frame"):
        assert terms[name] == "not known", name
    nothing = dict(basis_section(facts({"model": {}}), EN))
    assert set(nothing.values()) == {"not known"}
    assert (
        dict(basis_section(facts(document, about={**ABOUT, "scale": None}), EN))["Scale"] == "none"
    )


EVIDENCE = {
    "threshold": 0.9, "scales": [1.0, 0.5], "blur_px": 0.8,
    "widths": [{"width_px": [0.75, 1.0]}, {"width_px": [1.0, 1.5]}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("threshold", "scales", "blur_px", "said", "holds"),
    [
        (0.9, "1,0.5", 0.0, "no more blur than that was found", True),
        (0.9, "1,0.5", 1.6, "a blur of 1.6\u00a0px in the median, more than", True),
        (0.9, "1,0.5", None, "is not known", True),
        (0.5, "1,0.5", 0.0, "for the threshold 0.90, and the run was inspected at 0.50", False),
        (0.9, "1", 0.0, "for the frame sizes 1,0.5, and the run was inspected at 1", False),
    ],
)
def test_the_evidence_says_for_which_pictures_it_holds(
    threshold: float, scales: str, blur_px: float | None, said: str, holds: bool
) -> None:
    document = {"model": {"threshold": threshold}, "blur_px": blur_px}
    found, does_hold = missed_limits(
        facts(document, settings={"scales": scales}, evidence=EVIDENCE), 0.3, EN
    )
    assert does_hold is holds
    assert said in " ".join(found)
    if holds:
        assert "no figures for cracks narrower than 0.22 mm" in " ".join(found)
        assert np.any(["rendered cracks have a blur of 0.8" in each for each in found])
