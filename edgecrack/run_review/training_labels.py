"""What was reviewed, as labels for training.

OUT/cracks/images/ and masks/   windows around cracks that a person confirmed or drew
OUT/clean/                      windows around marks that a person rejected, without any crack
OUT/labels.coco.json            both, for labelling tools

A window with an undecided mark is left out: the mark would be learned as background.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import OutputError, SourceError
from edgecrack.files import write_atomic, write_png
from edgecrack.run_review.dark_course import mask_along, snapped
from edgecrack.run_review.placed_frames import PlacedFrame, placed_frames
from edgecrack.run_review.review_actions import CrackId
from edgecrack.run_review.review_log import read_review, run_identity
from edgecrack.run_review.review_state import ReviewedCrack, Reviewing
from edgecrack.run_survey.map_files import read_picture
from edgecrack.run_survey.survey_document import read_survey
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.survey.plane_geometry import Points

_MARGIN_PX, _LEAST_PX = 48, 192
# Of a mark that was not decided on, so much may lie in a window.
_STRAY_PX = 10.0
_FINER = 4
_LABELS_OF = "labels_of"
_CATEGORY = {"id": 1, "name": "crack", "supercategory": "defect"}
_NAMES = ("cracks/images/*.png", "cracks/masks/*.png", "clean/*.png", "labels.coco.json")


@dataclass(frozen=True)
class LabelsWritten:
    """The result of writing labels.

    Attributes:
        folder: of the labels.
        cracks: cracks with a window of their own.
        rejected: rejected marks with one.
        left_out: reviewed ones without: undecided marks beside them, or no picture.
    """

    folder: Path
    cracks: int
    rejected: int
    left_out: int


@dataclass
class _Window:
    crack: ReviewedCrack
    picture: NDArray[np.uint8]
    xyxy: tuple[int, int, int, int]
    frame: str
    masks: dict[CrackId, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        plain = "".join(each if each.isalnum() else "-" for each in str(self.crack.id))
        return f"crack-{plain}.png"


def export_labels(run: Path, out: Path) -> LabelsWritten:
    """Write a run's reviewed cracks and rejected marks as labels for training.

    Args:
        run: folder of a run that was reviewed.
        out: folder of the labels, made where it does not exist.

    Raises:
        SourceError: there is no survey or no review, or none of it can be used.
        OutputError: a file cannot be written, or another program's file is in the way.
    """
    document = read_survey(run)
    entries = read_review(run, document)
    if not entries:
        raise SourceError(f"{run} was not reviewed", "run edgecrack review on it first")
    frames = placed_frames(document)
    cracks = Reviewing(document, frames).state_after(entries).cracks
    decided = [crack for crack in cracks.values() if crack.decision is not None]
    windows = [
        window for crack in decided if (window := _window(run, crack, cracks, frames)) is not None
    ]
    if not windows:
        raise SourceError(
            f"the review of {run} has nothing that can be used as a label",
            "decide on the marks beside the reviewed ones too; the pictures must exist",
        )
    _write(out, windows, run_identity(run, document))
    confirmed = sum(each.crack.decision == "confirmed" for each in windows)
    return LabelsWritten(out, confirmed, len(windows) - confirmed, len(decided) - len(windows))


def _window(
    run: Path,
    crack: ReviewedCrack,
    cracks: Mapping[CrackId, ReviewedCrack],
    frames: Mapping[int, PlacedFrame],
) -> _Window | None:
    """The part of a crack's best frame around it, with all that was decided on there."""
    best = crack.record["best"] or {}
    frame = frames.get(best.get("frame", -1))
    points = np.asarray(best.get("points") or [], np.float64)
    if frame is None or frame.picture is None or points.ndim != 2 or len(points) < 2:
        return None
    picture = read_picture(run / frame.picture)
    if picture is None or picture.shape[:2] != frame.hw:
        return None
    left, top, right, bottom = xyxy = _around(points, frame.hw)
    window = _Window(
        crack, np.ascontiguousarray(picture[top:bottom, left:right]), xyxy, frame.picture
    )
    gray = np.asarray(cv2.cvtColor(window.picture, cv2.COLOR_BGR2GRAY), np.uint8)
    for each in cracks.values():
        lines = _inside(_lines_in(each, crack, frame, points), xyxy)
        if each.decision is None and sum(map(_length, lines)) > _STRAY_PX:
            return None
        if each.decision == "confirmed" and lines:
            own = [snapped(line, gray) for line in lines]
            window.masks[each.id] = mask_along(gray, own, _width_px(each, frame))
    return window


def _lines_in(
    crack: ReviewedCrack, of_window: ReviewedCrack, frame: PlacedFrame, points: Points
) -> list[Points]:
    """A crack's lines in a frame's pixels; those of the window's own as they were seen there."""
    record = crack.record
    if crack.id == of_window.id and len(record["lines"]) == 1:
        return [points]
    shown = [*record["lines"]] if record["sheet"] == frame.sheet else []
    for other in record.get("elsewhere", []):
        shown += other["lines"] if other["sheet"] == frame.sheet else []
    return [frame.in_frame(np.asarray(line, np.float64)) for line in shown]


def _around(points: Points, hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom around points, with a margin, as far as the frame goes."""
    result: list[tuple[int, int]] = []
    for axis, size in ((0, hw[1]), (1, hw[0])):
        low, high = points[:, axis].min() - _MARGIN_PX, points[:, axis].max() + _MARGIN_PX
        short = max(0.0, _LEAST_PX - (high - low)) / 2
        low, high = low - short, high + short
        shift = max(0.0, -low) - max(0.0, high - size)
        result.append((max(0, int(low + shift)), min(size, int(np.ceil(high + shift)))))
    (left, right), (top, bottom) = result
    return left, top, right, bottom


def _inside(lines: list[Points], xyxy: tuple[int, int, int, int]) -> list[Points]:
    """The pieces of lines in a window, in its pixels."""
    left, top, right, bottom = xyxy
    pieces = []
    for line in lines:
        fine = _finely(line)
        with np.errstate(invalid="ignore"):
            inside = ((fine >= (left, top)) & (fine <= (right, bottom))).all(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            if end - begin > 2:
                pieces.append(fine[begin:end] - (left, top))
    return pieces


def _finely(line: Points) -> Points:
    """A line with a point at each pixel, so that none of it is lost at a window's border."""
    way = np.concatenate([[0.0], np.cumsum(np.nan_to_num(np.hypot(*np.diff(line, axis=0).T)))])
    at = np.linspace(0.0, way[-1], max(2, round(way[-1]) + 1))
    return np.stack([np.interp(at, way, line[:, axis]) for axis in (0, 1)], axis=1)


def _length(line: Points) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def _width_px(crack: ReviewedCrack, frame: PlacedFrame) -> float | None:
    """About how wide it is in the frame; None where it was not measured."""
    width = crack.record["width"]["p95_px"]
    if width is None:
        return None
    first = np.asarray(crack.record["lines"][0][:1], np.float64)
    nearby = frame.in_frame(np.concatenate([first, first + np.array([[1.0, 0.0]])]))
    return float(width * np.hypot(*(nearby[1] - nearby[0])))


def _refuse_of_another(folder: OutputFolder, identity: str) -> None:
    """Labels of several runs have the same names, and would replace each other."""
    known = [note[_LABELS_OF] for note in folder.notes() if _LABELS_OF in note]
    if known and known[-1] != identity and folder.has_results():
        raise OutputError(
            f"{folder.path} holds the labels of another run, {known[-1]!r}",
            "give a folder for each run; edgecrack train takes several `data`",
        )


def _write(out: Path, windows: list[_Window], identity: str) -> None:
    folder = OutputFolder(out)
    if folder.lock() == "busy":
        raise OutputError(f"another program writes labels into {out}", "wait for it")
    try:
        _refuse_of_another(folder, identity)
        folder.clear_own(_NAMES)
        folder.note({_LABELS_OF: identity})
        for window in windows:
            mask = np.zeros(window.picture.shape[:2], np.uint8)
            for each in window.masks.values():
                mask[each] = 255
            if mask.any():
                write_png(folder.claim(f"cracks/images/{window.name}"), window.picture)
                write_png(folder.claim(f"cracks/masks/{window.name}"), mask)
            else:
                write_png(folder.claim(f"clean/{window.name}"), window.picture)
        text = json.dumps(_coco(windows), allow_nan=False) + "\n"
        write_atomic(folder.claim("labels.coco.json"), text)
    finally:
        folder.unlock()


def _coco(windows: list[_Window]) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, window in enumerate(windows, 1):
        folder = "cracks/images" if any(map(np.any, window.masks.values())) else "clean"
        height, width = window.picture.shape[:2]
        images.append(
            {
                "id": number,
                "file_name": f"{folder}/{window.name}",
                "width": width,
                "height": height,
                "attributes": {
                    "frame": window.frame,
                    "xyxy": list(window.xyxy),
                    "crack": window.crack.id,
                    "decision": window.crack.decision,
                    "reason": window.crack.reason,
                },
            }
        )
        for crack_id, mask in window.masks.items():
            annotations += _annotations(len(annotations), number, crack_id, mask)
    return {
        "info": {"description": "cracks that a person confirmed or drew, and rejected marks"},
        "images": images,
        "annotations": annotations,
        "categories": [_CATEGORY],
    }


def _annotations(
    before: int, image: int, crack_id: CrackId, mask: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """An annotation for a crack in a window: its outlines as polygons."""
    # Outlines go through the middles of the outermost pixels; those of a larger mask lose less.
    large = mask.astype(np.uint8).repeat(_FINER, 0).repeat(_FINER, 1)
    outlines, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    polygons = [
        ((outline.ravel() + 0.5) / _FINER).tolist() for outline in outlines if len(outline) > 2
    ]
    if not polygons:
        return []
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return [
        {
            "id": before + 1,
            "image_id": image,
            "category_id": _CATEGORY["id"],
            "segmentation": polygons,
            "bbox": [x, y, width, height],
            "area": int(mask.sum()),
            "iscrowd": 0,
            "attributes": {"crack": crack_id},
        }
    ]
