"""The numbers that a survey gave to cracks: the next one of the same run gives them again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgecrack.files import write_atomic
from edgecrack.outside_text import read_json
from edgecrack.runtime.tracking.kept_run import IDS_NAME, SURVEY_NAME

Place = tuple[int, int]  # a frame, and a crack's place among those found in it

_VERSION = 1


def read_ids(run: Path) -> dict[Place, int]:
    """By sighting, the number of its crack in the last survey; empty where there was none."""
    try:
        document = read_json(run / SURVEY_NAME / IDS_NAME)
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict) or document.get("schema_version") != _VERSION:
        return {}
    found = {}
    for each in document.get("cracks") or []:
        if not isinstance(each, list) or len(each) != 2 or not isinstance(each[1], list):
            return {}
        number, sightings = each
        for place in sightings:
            is_place = isinstance(place, list) and len(place) == 2
            if not is_place or not all(isinstance(one, int) for one in (number, *place)):
                return {}
            found[place[0], place[1]] = number
    return found


def ids_with(known: Mapping[Place, int], live: Mapping[Place, int]) -> dict[Place, int]:
    """The numbers of the last survey, and for what it had not seen those of the stream.

    A number of the stream that the last survey gave to another crack is not used again.
    """
    if not known:
        return dict(live)
    taken = set(known.values())
    same = {live[place] for place, number in known.items() if live.get(place) == number}
    fresh = {
        place: number
        for place, number in live.items()
        if place not in known and (number not in taken or number in same)
    }
    return {**fresh, **known}


def write_ids(run: Path, sightings: Mapping[int, Sequence[Place]]) -> None:
    """Write down which sightings each number stands for.

    Raises:
        OutputError: it cannot be written.
    """
    folder = run / SURVEY_NAME
    if not folder.is_dir():
        return
    cracks = [[number, [list(place) for place in places]] for number, places in sightings.items()]
    document = {"schema_version": _VERSION, "cracks": cracks}
    write_atomic(folder / IDS_NAME, json.dumps(document) + "\n")
