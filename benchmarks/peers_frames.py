"""The frames that all peers of `peers.py` get, prepared once, and edgecrack's maps of them.

`video` is frames of the wall video, `picture` one larger picture: four of a survey vehicle's frames
beside each other, so that the seams are made and the rest is real. Without the real data both come
from the generated demo, which the result then says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import read_model_file
from edgecrack.errors import EdgecrackError, SourceError
from edgecrack.files import write_atomic
from edgecrack.metrics.counting import uint8_level
from edgecrack.runtime.backends.backend_choice import choose_backend
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.runtime.detector import CrackDetector, open_detector
from edgecrack.runtime.sources.open import open_source

Image = NDArray[np.uint8]

EVERY = 90  # frames of the video between two that are taken
_PHOTOS = 4
_PART_PX = 126  # the largest part of a frame that a peer runs alone
SEAMLESS = "seamless.npz"
_FILE, _FACTS = "frames.npz", "frames.json"
_MAPS = ("reference", "full")


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        prepared: uint8 [H, W], as the network is to see it.
        reference: uint8 [H, W], edgecrack's map, 255 = certain crack.
        full_size: the same at the frame's own size alone.
        centre_yx: where that shows most crack.
        seamless: uint8 [H, W], the network's map of the whole frame without tiles; None where it
            could not be made.
    """

    prepared: Image
    reference: Image
    full_size: Image
    centre_yx: tuple[int, int]
    seamless: Image | None = None

    def part(self, side_px: int) -> tuple[slice, slice]:
        """A square of the frame about its centre."""
        starts = [
            min(max(0, centre - side_px // 2), length - side_px)
            for centre, length in zip(self.centre_yx, self.prepared.shape, strict=True)
        ]
        return slice(starts[0], starts[0] + side_px), slice(starts[1], starts[1] + side_px)


def prepare_frames(work: Path, data: Path, picture: Path | None, count: int, threads: int) -> None:
    """Write the frames of both scenes, edgecrack's maps, and what describes them.

    The self-tests by which edgecrack chooses a backend run here, too, and are kept for the
    processes that are measured.

    Raises:
        EdgecrackError: a source or the model cannot be read.
    """
    notes: list[str] = []
    arrays: dict[str, Image] = {}
    scenes = {}
    with (
        open_detector(threads=threads, backend="auto", on_told=notes.append) as detector,
        open_detector(threads=threads, backend="auto", scales=(1.0,)) as at_full_size,
    ):
        for name, (words, images) in _pictures(data, picture, count).items():
            for number, image in enumerate(images):
                prepared = np.asarray(detector.prepare(image), np.uint8)
                arrays[f"{name}-{number}-prepared"] = prepared
                arrays[f"{name}-{number}-reference"] = detector.infer(prepared)
                arrays[f"{name}-{number}-full"] = at_full_size.infer(prepared)
            scenes[name] = _described(words, images, detector)
        facts = {
            "scenes": scenes,
            "backend": detector.runner.backend,
            "chosen": notes[-1] if notes else "nothing to choose",
            "model": detector.model_name,
            "level": uint8_level(detector.threshold),
            "overlap_px": detector.overlap_px,
        }
    try:
        choose_backend(read_model_file(BUNDLED_MODEL), threads, "openvino-bf16")
    except EdgecrackError as error:
        facts["bfloat16"] = str(error)  # its peer says the same and makes no row
    np.savez(work / _FILE, **arrays)  # type: ignore[arg-type]
    write_atomic(work / _FACTS, json.dumps(facts) + "\n")


def _described(words: str, images: Sequence[Image], detector: CrackDetector) -> dict[str, object]:
    height, width = images[0].shape[:2]
    plan = detector.plan((height, width))
    return {
        "words": f"{words}, {width}x{height}",
        "frames": len(images),
        "frame_hw": [height, width],
        "tiles": len(plan),
        "sizes_hw": [list(level.frame_hw) for level in plan.levels],
    }


def read_facts(work: Path) -> dict[str, Any]:
    """What describes the frames."""
    found: dict[str, Any] = json.loads((work / _FACTS).read_text(encoding="utf-8"))
    return found


def read_frames(work: Path) -> dict[str, list[Frame]]:
    """The frames of each scene."""
    scenes: dict[str, list[Frame]] = {}
    whole: dict[str, Image] = {}
    if (work / SEAMLESS).exists():
        with np.load(work / SEAMLESS) as arrays:
            whole = {key: arrays[key] for key in arrays.files}
    with np.load(work / _FILE) as arrays:
        for key in arrays.files:
            scene, number, kind = key.split("-")
            if kind == "prepared":
                reference, full = (arrays[f"{scene}-{number}-{each}"] for each in _MAPS)
                seamless = whole.get(f"{scene}-{number}")
                frame = Frame(arrays[key], reference, full, most_crack(full), seamless)
                scenes.setdefault(scene, []).append(frame)
    return scenes


def write_seamless(work: Path, map_of: Callable[[Image], Image]) -> None:
    """Write what a network gives of each whole frame.

    Args:
        work: where the frames lie.
        map_of: from uint8 [H, W] to uint8 [H, W], without tiles.
    """
    arrays = {
        f"{scene}-{number}": map_of(frame.prepared)
        for scene, frames in read_frames(work).items()
        for number, frame in enumerate(frames)
    }
    np.savez(work / SEAMLESS, **arrays)  # type: ignore[arg-type]


def most_crack(reference: Image) -> tuple[int, int]:
    """The middle of the square that holds most of a map, as row and column.

    Where the frame is large enough, a part about it lies within the frame.
    """
    sums = np.asarray(cv2.boxFilter(reference, cv2.CV_32F, (33, 33), normalize=False))
    margin = _PART_PX // 2 if min(reference.shape) > _PART_PX else 0
    inner = sums[margin : sums.shape[0] - margin, margin : sums.shape[1] - margin]
    y, x = np.unravel_index(int(np.argmax(inner)), inner.shape)
    return int(y) + margin, int(x) + margin


def _pictures(data: Path, picture: Path | None, count: int) -> dict[str, tuple[str, list[Image]]]:
    """Words and BGR frames of each scene."""
    video = data / "video" / "wall_robot.mp4"
    is_real = video.exists()
    frames = _frames_of(str(video) if is_real else "demo", count, EVERY)
    words = "wall video" if is_real else "generated demo"
    if picture is not None:
        large = ("picture", [_read(picture)])
    elif len(photos := sorted((data / "survey_frames").glob("*.jpg"))) >= _PHOTOS:
        tiles = [_read(path) for path in photos[:: len(photos) // _PHOTOS][:_PHOTOS]]
        large = ("four survey frames as one picture", [_mosaic(tiles)])
    else:
        large = (f"four frames of the {words} as one picture", [_mosaic([frames[0]] * _PHOTOS)])
    return {"video": (words, frames), "picture": large}


def _mosaic(tiles: Sequence[Image]) -> Image:
    rows = [np.concatenate(tiles[first : first + 2], axis=1) for first in (0, 2)]
    return np.concatenate(rows)


def _read(path: Path) -> Image:
    image = cv2.imread(str(path))
    if image is None:
        raise SourceError(f"cannot read the picture {path}", "give an image file")
    return np.asarray(image, np.uint8)


def _frames_of(source_name: str, count: int, every: int) -> list[Image]:
    frames: list[Image] = []
    with open_source(source_name) as source:
        number = 0
        while len(frames) < count and (frame := source.read()) is not None:
            if number % every == 0:
                frames.append(frame.image)
            number += 1
    return frames
