"""What a stuck pixel, a burnt-in clock or an empty part of a picture does to the mask of the rest.

Pictures of uav315 (every eighth of its validation split) and the field case's are changed in one
way at a time; the masks before and after are compared where the picture did not change, and again
where it did not change within 16 px, which leaves out what the network lacks as surroundings. Each
row pools the pixels of all pictures: shared crack pixels over those of either mask.

Lossy rows compare with the unchanged picture after the same JPEG. The shadow rows darken a picture
to a third, and compare outside of a shadow that fades to black at one side.

    python benchmarks/stretch_stability.py [MODEL] [--data DIR] [--pictures N]
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.artifacts import read_verified_spec  # noqa: E402
from edgecrack.data.datasets import open_dataset, read_image  # noqa: E402
from edgecrack.images.nodata import with_mask  # noqa: E402
from edgecrack.metrics.counting import uint8_level  # noqa: E402
from edgecrack.preprocess import PreprocessConfig, prepare, without_nodata  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from tests.margins import SHAPES, as_jpeg, with_clock, with_margin, with_stuck_pixels  # noqa: E402

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
# Of a picture: what to compare with, the changed picture, where it did not change.
Change = Callable[[Image], tuple[Image, Image, Mask]]
STRETCHES = {
    "minmax": PreprocessConfig(stretch="minmax"),
    "percentiles": PreprocessConfig(),
}
_NEAR_PX = 16


def stuck(count: int) -> Change:
    def change(image: Image) -> tuple[Image, Image, Mask]:
        changed = with_stuck_pixels(image, count)
        return image, changed, (changed == image).all(axis=2)

    return change


def margin(shape: str, level: int, quality: int | None = None) -> Change:
    def change(image: Image) -> tuple[Image, Image, Mask]:
        hidden = SHAPES[shape](image.shape[0], image.shape[1])
        changed = with_margin(image, hidden, level)
        if quality is None:
            return image, changed, ~hidden
        return as_jpeg(image, quality), as_jpeg(changed, quality), ~hidden

    return change


def mixed_edge(image: Image) -> tuple[Image, Image, Mask]:
    """A rotated margin whose edge pixels are mixed, as interpolation leaves them."""
    hidden = SHAPES["rotated by 20"](image.shape[0], image.shape[1])
    share = cv2.GaussianBlur((~hidden).astype(np.float32), (3, 3), 0)[..., None]
    return image, (image * share).astype(np.uint8), np.asarray(share[..., 0] == 1)


def clock(quality: int | None = None) -> Change:
    def change(image: Image) -> tuple[Image, Image, Mask]:
        changed, hidden = with_clock(image)
        if quality is None:
            return image, changed, ~hidden
        return as_jpeg(image, quality), as_jpeg(changed, quality), ~hidden

    return change


def clock_and_margin(image: Image) -> tuple[Image, Image, Mask]:
    changed, hidden = with_clock(image)
    side = SHAPES["right"](image.shape[0], image.shape[1])
    return image, with_margin(changed, side, 0), ~(hidden | side)


def transparent(image: Image) -> tuple[Image, Image, Mask]:
    """A part erased in an image editor, which leaves white."""
    hidden = SHAPES["ragged"](image.shape[0], image.shape[1])
    return image, with_mask(with_margin(image, hidden, 255), hidden), ~hidden


def vignette(image: Image) -> tuple[Image, Image, Mask]:
    y, x = np.mgrid[-1 : 1 : 1j * image.shape[0], -1 : 1 : 1j * image.shape[1]]
    light = np.clip(1.35 - 0.8 * (x**2 + y**2), 0, 1)
    return image, (image * light[..., None]).astype(np.uint8), light == 1


def shadow(image: Image) -> tuple[Image, Image, Mask]:
    dark = (image // 3).astype(np.uint8)
    fade = np.clip((np.arange(image.shape[1]) - 60) / 40, 0, 1)
    shaded = (dark * fade[None, :, None]).astype(np.uint8)
    return dark, shaded, np.tile(fade == 1, (image.shape[0], 1))


CHANGES: dict[str, Change] = {
    **{f"{count} stuck pixels": stuck(count) for count in (1, 2, 5, 20)},
    "clock": clock(),
    "clock, JPEG 85": clock(85),
    "clock and black right": clock_and_margin,
    **{f"black {name}": margin(name, 0) for name in SHAPES},
    **{f"white {name}": margin(name, 255) for name in ("right", "rotated by 4", "ragged")},
    "level 37 top": margin("top", 37),
    "level 128 left": margin("left", 128),
    "black rotated by 20, mixed edge": mixed_edge,
    **{f"black {name}, JPEG 85": margin(name, 0, 85) for name in ("right", "rotated by 4")},
    "black letterbox, JPEG 60": margin("letterbox", 0, 60),
    "transparent ragged": transparent,
    "vignette": vignette,
    "dark, black shadow": shadow,
}


def pictures(data: Path, count: int) -> list[Image]:
    """Pictures of the validation split, and the field case's, uint8 [H, W, 3] each."""
    samples = open_dataset(data / "uav315").samples("val")[::8][:count]
    reference = data / "field_cases" / "15-nodata-outliers" / "ref.png"
    return [*(sample.image() for sample in samples), read_image(reference)]


def mask_of(detector: CrackDetector, image: Image, config: PreprocessConfig) -> Mask:
    """Where the model says crack."""
    prepared = prepare(image, config)
    probability = without_nodata(detector.infer(np.asarray(prepared)), prepared)
    return np.asarray(probability >= uint8_level(detector.threshold))


def overlaps(first: Mask, second: Mask, compared: Mask) -> NDArray[np.int64]:
    """Pixels of both and of either mask, where they are compared and 16 px from elsewhere."""
    box = np.ones((2 * _NEAR_PX + 1, 2 * _NEAR_PX + 1), dtype=np.uint8)
    far = cv2.erode(compared.astype(np.uint8), box, borderValue=1) > 0
    both, either = first & second, first | second
    return np.array([(part & where).sum() for where in (compared, far) for part in (both, either)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("model", type=Path, nargs="?", default=BUNDLED_MODEL)
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--pictures", type=int, default=8)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    images = pictures(given.data, given.pictures)
    rows: dict[str, dict[str, Any]] = {}
    unchanged: dict[tuple[int, str], Mask] = {}
    with open_detector(given.model, threads=1) as detector:
        for name, change in CHANGES.items():
            rows[name] = {}
            for label, config in STRETCHES.items():
                total = np.zeros(4, dtype=np.int64)
                for number, image in enumerate(images):
                    before, after, compared = change(image)
                    if before is not image:  # after a JPEG, or darkened
                        reference = mask_of(detector, before, config)
                    elif (number, label) in unchanged:
                        reference = unchanged[number, label]
                    else:
                        reference = mask_of(detector, image, config)
                        unchanged[number, label] = reference
                    total += overlaps(reference, mask_of(detector, after, config), compared)
                rows[name][label] = round(float(total[0] / max(1, total[1])), 3)
                rows[name][f"{label}, 16 px away"] = round(float(total[2] / max(1, total[3])), 3)
            print(name, rows[name], flush=True)
    figures = {
        "model_sha256": read_verified_spec(given.model).sha256,
        "pictures": len(images),
        "stretches": {label: dataclasses.asdict(config) for label, config in STRETCHES.items()},
        "iou": rows,
        "mean": {
            label: round(float(np.mean([row[label] for row in rows.values()])), 3)
            for label in STRETCHES
        },
        "lowest": {label: min(row[label] for row in rows.values()) for label in STRETCHES},
    }
    write_result("stretch_stability", figures, "onnxruntime", "opencv-python-headless")


if __name__ == "__main__":
    main()
