"""A survey's notes in the language of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecrack.run_report.report_words import Words


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
        _in_words(note, words) or _sentence(english)
        for note, english in zip(noted, notes, strict=True)
    ]


def _in_words(note: Any, words: Words) -> str:
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
