"""False alarms on CFD's unlabelled photos, where they are certainly false.

The photos 201-208 show no crack. The others (301-329) show manholes, drains, cars and people, but
also real cracks that nobody labelled, so what is flagged on them may not be a false alarm. Here it
counts only within hand-drawn outlines of non-crack objects (`cfd_distractor_objects.json`).

    python benchmarks/distractors.py MODEL [--data DIR] [--picture FILE.png]
"""

from __future__ import annotations

import argparse
import json
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
from edgecrack.constants import MIN_AREA_PX  # noqa: E402
from edgecrack.data.datasets import open_dataset, read_image  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402

OBJECTS = Path(__file__).with_name("cfd_distractor_objects.json")
Image = NDArray[np.uint8]


def no_crack(name: str, shape_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Where a photo certainly shows no crack, bool [H, W]."""
    document = json.loads(OBJECTS.read_text(encoding="utf-8"))
    if name in document["whole"]:
        return np.ones(shape_hw, dtype=np.bool_)
    if name not in document["objects"] and name not in document["nothing_certain"]:
        raise SystemExit(f"photo {name} is not in {OBJECTS.name}; outline its non-crack objects")
    region = np.zeros(shape_hw, dtype=np.uint8)
    for item in document["objects"].get(name, ()):
        if "ellipse" in item:
            left, top, right, bottom = item["ellipse"]
            centre = ((left + right) / 2, (top + bottom) / 2)
            cv2.ellipse(region, (centre, (right - left, bottom - top), 0.0), 255, -1)
        else:
            cv2.fillPoly(region, [np.array(item["polygon"], dtype=np.int32)], 255)
    return region > 0


def without_specks(flagged: NDArray[np.bool_], smallest_px: int) -> NDArray[np.bool_]:
    """Only connected groups of at least `smallest_px` pixels, as `stream` reports them."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(flagged.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= smallest_px
    large[0] = False
    return np.asarray(large[labels], dtype=np.bool_)


def false_alarms(
    predict: Callable[[Image], Image], data: Path, threshold: float, picture: Path | None = None
) -> dict[str, Any]:
    """Shares of pixels in percent, at a threshold from 0 to 1."""
    totals = dict.fromkeys(("all", "flagged", "free", "false", "false_published", "clean"), 0)
    totals["clean_false"] = 0
    shown: list[Image] = []
    for path in open_dataset(data / "cfd").unlabelled:
        image = read_image(path)
        region = no_crack(path.stem, (image.shape[0], image.shape[1]))
        flagged = predict(image) >= threshold * 255
        published = without_specks(flagged, MIN_AREA_PX)
        totals["all"] += flagged.size
        totals["flagged"] += int(flagged.sum())
        totals["free"] += int(region.sum())
        totals["false"] += int((flagged & region).sum())
        totals["false_published"] += int((published & region).sum())
        if region.all():
            totals["clean"] += flagged.size
            totals["clean_false"] += int(flagged.sum())
        shown.append(_drawn(image, flagged, region))
    if picture is not None:
        rows = [np.hstack(shown[at : at + 6]) for at in range(0, len(shown) - len(shown) % 6, 6)]
        cv2.imwrite(str(picture), np.vstack(rows))
    return {
        "threshold": threshold,
        "flagged_percent_of_all": _percent(totals["flagged"], totals["all"]),
        "false_percent_of_all": _percent(totals["false"], totals["all"]),
        "false_published_percent_of_all": _percent(totals["false_published"], totals["all"]),
        "false_percent_of_outlines": _percent(totals["false"], totals["free"]),
        "flagged_percent_of_crack_free_photos": _percent(totals["clean_false"], totals["clean"]),
    }


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 4)


def _drawn(image: Image, flagged: NDArray[np.bool_], region: NDArray[np.bool_]) -> Image:
    shown = image.copy()
    shown[region] = shown[region] // 2 + np.array([90, 60, 0], dtype=np.uint8)
    shown[flagged & ~region] = (0, 215, 255)
    shown[flagged & region] = (0, 0, 255)
    return np.asarray(cv2.resize(shown, (300, 200)), dtype=np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("model", type=Path, nargs="?", default=None, help="default: the bundled")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--threshold", type=float, default=None)
    parser.add_argument("--picture", type=Path, default=None)
    parser.add_argument("--result", default="distractors")
    options = parser.parse_args()
    with open_detector(options.model, threshold=options.threshold) as detector:
        figures = false_alarms(
            detector.probability_of, options.data, detector.threshold, options.picture
        )
        figures["model_sha256"] = read_verified_spec(options.model or BUNDLED_MODEL).sha256
    write_result(options.result, figures, "onnxruntime", "opencv-python-headless")


if __name__ == "__main__":
    main()
