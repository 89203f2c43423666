"""A run and its parts: a stream that is started again after a crash, a reboot or a stop.

    out/                  part 1, and summary.json of the whole run
    out/part-2/           what the stream wrote after it was started again with --continue
    out/part-3/           and so on

Each part notes its beginning and its end in the folder's list of files, so that a killed part is
known, too.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgecrack.files import write_atomic
from edgecrack.runtime.outputs.output_folder import SUMMARY_NAME, OutputFolder
from edgecrack.runtime.outputs.output_place import ResultsPlace
from edgecrack.runtime.telemetry.stats import StreamSummary, share, throttled_rate

# Raised when a field of `summary.json` is removed, renamed or given another meaning; a new field
# leaves it as it is.
SUMMARY_SCHEMA_VERSION = 1
FRAMES_NAME = "frames.jsonl"

# Summed over the parts of a run.
_ADDED = (
    "frames_read", "frames", "frames_with_cracks", "crack_pixels_total", "drops", "skipped",
    "stale", "findings", "findings_confirmed", "reconnects", "stalls", "open_failures",
    "corrupt_frames", "unreadable", "size_changes", "measured", "fit_to_measure", "site_checks",
    "site_checks_passed", "throttle_episodes", "throttled_s", "throttled_frames",
    "elapsed_s",
)  # fmt: skip
# Given once for the run: what is the same in all its parts, and the last state.
_OF_THE_RUN = (
    "source", "model", "model_sha256", "model_origin", "backend", "min_area_px", "fps",
    "crack_pixels", "shedding", "inspected_ratio", "ignored_ratio", "paused", "source_state",
    "throttling",
)  # fmt: skip
_COMPLETE = ("end of source", "max frames")
_CRACK_PIXELS = re.compile(rb'"crack_pixels": (\d+)')


@dataclass(frozen=True)
class RunPart:
    """One part of a run: from a start of the stream to its end.

    Attributes:
        run_id: the same in all parts, and in no other run.
        number: 1 for the first.
        started_at: ISO 8601, UTC.
        folder: of its files.
        requested: the folder that was asked for.
        settings: those common to all parts of the run, by name.
        earlier: the earlier parts, as `summary.json` lists them.
        about: what made the results, for a report; may differ from part to part.
    """

    run_id: str
    number: int
    started_at: str
    folder: OutputFolder
    requested: Path
    settings: Mapping[str, str]
    earlier: tuple[dict[str, Any], ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """Which part of which run this is; empty for the first one."""
        if not self.earlier:
            return ""
        return f"part {self.number} of the run {self.run_id}, begun {self._run_started_at}"

    def begin(self, summary: StreamSummary) -> None:
        """Note that the part has begun.

        From the second part on, `summary.json` lists it as running. Before the first part ends,
        there is none, so that an existing one always means results.

        Args:
            summary: of a stream that has seen nothing yet.

        Raises:
            OutputError: the folder cannot be written.
        """
        if not self.earlier:
            self.folder.forget()
            self.folder.claim(SUMMARY_NAME)
        begun = {**self._key, "started_at": self.started_at, "settings": dict(self.settings)}
        begun |= {"about": dict(self.about)} if self.about else {}
        self.folder.note(begun)
        if self.earlier:
            self._write_document(summary)

    def end(self, summary: StreamSummary) -> None:
        """Write `summary.json`, and note that the part has ended.

        Raises:
            OutputError: the folder cannot be written.
        """
        try:
            self._write_document(summary)
        finally:  # a disk may have room for one and not for the other
            self.folder.note({**self._key, "end": self._entry(summary)})

    def document(self, summary: StreamSummary) -> dict[str, Any]:
        """The content of `summary.json`: all parts, and their totals as flat fields.

        Counters are sums over the parts; of a killed part only what its frames show is known.
        Values that cannot be added come from the last part: latencies, threshold, state and so on.
        """
        parts = [*self.earlier, self._entry(summary)]
        together = {key: _sum(part.get(key) for part in parts) for key in _ADDED}
        together["fit_ratio"] = share(together["fit_to_measure"], together["measured"])
        together["throttled_fps"] = throttled_rate(
            together["throttled_frames"], together["throttled_s"]
        )
        if self.earlier:
            timed = [part for part in parts if "elapsed_s" in part]
            frames = _sum(part["frames"] for part in timed)
            together["fps_overall"] = round(frames / max(together["elapsed_s"], 1e-6), 3)
        return {
            "schema_version": SUMMARY_SCHEMA_VERSION,
            "run": {
                "id": self.run_id,
                "started_at": self._run_started_at,
                "folder": str(self.folder.root),
                "requested_folder": str(self.requested),
            },
            **summary.to_dict(),
            **together,
            "started_at": self._run_started_at,
            "truncated": any(part.get("truncated", False) for part in parts),
            "parts": parts,
        }

    @property
    def _key(self) -> dict[str, Any]:
        return {"run": self.run_id, "part": self.number}

    @property
    def _run_started_at(self) -> str:
        return str(self.earlier[0]["started_at"]) if self.earlier else self.started_at

    def _entry(self, summary: StreamSummary) -> dict[str, Any]:
        """The part as `summary.json` lists it."""
        flat = summary.to_dict()
        own = {key: value for key, value in flat.items() if key not in _OF_THE_RUN}
        head = _head(self.number, self.started_at)
        return {**head, **own, "started_at": self.started_at}

    def _write_document(self, summary: StreamSummary) -> None:
        text = json.dumps(self.document(summary), indent=2, ensure_ascii=False)
        write_atomic(self.folder.root / SUMMARY_NAME, text + "\n")


def plan_part(
    place: ResultsPlace,
    requested: Path,
    settings: Mapping[str, str],
    about: Mapping[str, Any] | None = None,
) -> RunPart:
    """The next part of the run in a folder, or the first one of a new run; `begin` begins it.

    Args:
        place: of the results.
        requested: the folder that was asked for.
        settings: those common to all parts of a run, by name.
        about: as `RunPart.about`.

    Raises:
        OutputError: the folder cannot be read or written.
    """
    folder = place.folder
    begun = _last_run(folder.notes()) if place.goes_on else []
    number = len(begun) + 1
    return RunPart(
        run_id=str(begun[0]["run"]) if begun else _new_id(),
        number=number,
        started_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        folder=folder.within(part_name(number)) if begun else folder,
        requested=requested,
        settings=dict(settings),
        earlier=tuple(_ended(folder, note) for note in begun),
        about=dict(about or {}),
    )


def part_name(number: int) -> str:
    """The folder of a part inside the run's; "." for the first."""
    return "." if number == 1 else f"part-{number}"


def why_not_to_go_on(notes: Sequence[dict[str, Any]], settings: Mapping[str, str]) -> str | None:
    """Why a folder's last run is not continued, as a clause about it; None where it is.

    Args:
        notes: of the runs in the folder.
        settings: as in `plan_part`.
    """
    begun = _last_run(notes)
    if not begun:
        return "has no record of its settings"
    last = begun[-1]
    end = _ends(notes).get((last["run"], last["part"]))
    if end is not None and end.get("end_reason") in _COMPLETE:
        return f"is complete ({end['end_reason']})"
    before = last.get("settings")
    before = before if isinstance(before, dict) else {}
    changed = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
    return f"had other settings ({', '.join(sorted(changed))})" if changed else None


def _last_run(notes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The beginnings of the parts of the last run, in order."""
    begun = [
        note for note in notes if {"run", "part", "started_at"} <= note.keys() and "end" not in note
    ]
    return [note for note in begun if note["run"] == begun[-1]["run"]]


def _ends(notes: Sequence[dict[str, Any]]) -> dict[tuple[Any, Any], dict[str, Any]]:
    return {
        (note.get("run"), note.get("part")): note["end"]
        for note in notes
        if isinstance(note.get("end"), dict)
    }


def _ended(folder: OutputFolder, begun: Mapping[str, Any]) -> dict[str, Any]:
    """A past part, as `summary.json` lists it; one without an end was killed."""
    end = _ends(folder.notes()).get((begun["run"], begun["part"]))
    if end is None:
        end = {
            **_head(begun["part"], begun["started_at"]),
            "ended_at": None,
            "end_reason": "killed",
            "error": None,
            **_counted(folder.root / part_name(begun["part"]) / FRAMES_NAME),
        }
        # So that hours of lines are counted only once.
        folder.note({"run": begun["run"], "part": begun["part"], "end": end})
    return end


def _counted(frames: Path) -> dict[str, int | None]:
    """Totals of the lines of a killed part; null where there are none."""
    counted = cracked = pixels = 0
    try:
        with frames.open("rb") as lines:
            for line in lines:
                found = _CRACK_PIXELS.search(line)
                if found is None or not line.endswith(b"\n"):
                    continue
                counted += 1
                cracked += found[1] != b"0"
                pixels += int(found[1])
    except OSError:
        return {"frames": None, "frames_with_cracks": None, "crack_pixels_total": None}
    return {"frames": counted, "frames_with_cracks": cracked, "crack_pixels_total": pixels}


def _head(number: int, started_at: str) -> dict[str, Any]:
    return {"part": number, "folder": part_name(number), "started_at": started_at}


def _sum(values: Iterable[Any]) -> Any:
    total = sum(value for value in values if isinstance(value, (int, float)))
    return round(total, 3) if isinstance(total, float) else total


def _new_id() -> str:
    """Readable by its time; the rest distinguishes robots whose clocks start at the same moment."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
