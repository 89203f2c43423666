"""What a model finds and misses, surface by surface, beside an earlier one: the card's picture.

    python benchmarks/surface_pictures.py --data DIR --before OLD.onnx

Photos that neither was trained on. Where they are labelled, those of the lowest, the middle and a
high F1 of the new model; elsewhere some at regular intervals, so none was chosen for its looks.
None are from CFD, whose terms forbid it. Writes `docs/images/surfaces.jpg`: each photo, then with
the earlier model's crack in orange, then the new one's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.model_scores import DEFAULT_DATA  # noqa: E402
from edgecrack import metrics  # noqa: E402
from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.data.reading import read_image  # noqa: E402
from edgecrack.files import write_atomic  # noqa: E402
from edgecrack.metrics import uint8_level  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.synthetic import WallConfig, generate_wall  # noqa: E402
from edgecrack.yardstick.outlines import rasterise, read_outlines  # noqa: E402

Bytes = NDArray[np.uint8]
Photo = tuple[Bytes, NDArray[np.bool_] | None]

TARGET = ROOT / "docs" / "images" / "surfaces.jpg"
PER_SURFACE = 3
_HEIGHT_PX, _WIDTH_PX = 168, 1100
_WALL_SEED = 9_000_000  # far from those of training, validation and yardstick
_QUANTILES = (0.0, 0.5, 0.85)


def concrete(data: Path) -> list[Photo]:
    folder = data / "concrete_tiles" / "positive"
    return [
        (read_image(folder / f"{item.tile}.jpg"), rasterise(item.first, item.size_hw) > 0)
        for item in read_outlines()
    ]


def drone(data: Path) -> list[Photo]:
    loaded = (sample.load() for sample in open_dataset(data / "uav315").samples("test"))
    return [(image, mask > 0) for image, mask in loaded]


def masonry(data: Path) -> list[Photo]:
    walls = (
        generate_wall(WallConfig(_WALL_SEED + seed, (320, 420), "brick", 1, 1))
        for seed in range(24)
    )
    return [(wall.image, wall.mask > 0) for wall in walls]


def vehicle(data: Path) -> list[Photo]:
    paths = sorted((data / "survey_frames").glob("*.jpg"))
    chosen = np.linspace(0, len(paths) - 1, PER_SURFACE + 2).astype(int)[1:-1]
    return [(read_image(paths[index]), None) for index in chosen.tolist()]


def wall(data: Path) -> list[Photo]:
    capture = cv2.VideoCapture(str(data / "video" / "wall_robot.mp4"))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    found: list[Photo] = []
    for index in np.linspace(0, count - 1, PER_SURFACE + 2).astype(int)[1:-1].tolist():
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        grabbed, frame = capture.read()
        if grabbed:
            found.append((np.asarray(frame, np.uint8), None))
    capture.release()
    return found


SURFACES = {
    "concrete, close": concrete,
    "concrete and asphalt, drone": drone,
    "masonry, generated": masonry,
    "road, survey vehicle": vehicle,
    "damp wall, robot": wall,
}


def chosen(photos: Sequence[Photo], detector: CrackDetector) -> list[Photo]:
    """Of labelled photos those at three places in the order of their F1; of others all."""
    if any(truth is None for _, truth in photos):
        return list(photos)
    scores = []
    for image, truth in photos:
        counts = metrics.count_image(detector.probability_of(image), np.asarray(truth), "square")
        place = metrics.threshold_index(round(detector.threshold, 2))
        scores.append(float(metrics.curve(counts).f1[place]))
    order = np.argsort(scores)
    return [photos[int(order[round(share * (len(order) - 1))])] for share in _QUANTILES]


def drawn(image: Bytes, detector: CrackDetector) -> Bytes:
    """The photo with what the model flags in orange."""
    result = image.copy()
    result[detector.probability_of(image) >= uint8_level(detector.threshold)] = (0, 128, 255)
    return result


def strip(image: Bytes, detectors: Sequence[CrackDetector]) -> Bytes:
    """Photo, before, after side by side."""
    views = [image, *(drawn(image, detector) for detector in detectors)]
    width = round(image.shape[1] * _HEIGHT_PX / image.shape[0])
    size = (min(width, 2 * _HEIGHT_PX), _HEIGHT_PX)
    small = [cv2.resize(view, size, interpolation=cv2.INTER_AREA) for view in views]
    gap = np.full((_HEIGHT_PX, 4, 3), 255, np.uint8)
    return np.asarray(np.hstack([small[0], gap, small[1], gap, small[2]]), np.uint8)


def block(strips: Sequence[Bytes], title: str) -> Bytes:
    """The strips of a surface under its name, side by side as far as they fit."""
    heading = np.full((30, _WIDTH_PX, 3), 255, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(heading, title, (4, 21), font, 0.6, (30, 30, 30), 1, cv2.LINE_AA)
    rows, used = [np.full((_HEIGHT_PX + 8, _WIDTH_PX, 3), 255, np.uint8)], 0
    for one in strips:
        if used and used + one.shape[1] > _WIDTH_PX:
            rows.append(np.full_like(rows[0], 255))
            used = 0
        rows[-1][:_HEIGHT_PX, used : used + one.shape[1]] = one[:, : _WIDTH_PX - used]
        used += one.shape[1] + 16
    return np.asarray(np.vstack([heading, *rows]), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--output", "-o", type=Path, default=TARGET)
    given = parser.parse_args()
    with open_detector(given.before) as before, open_detector(given.model) as after:
        surfaces = {
            title: [strip(image, (before, after)) for image, _ in chosen(read(given.data), after)]
            for title, read in SURFACES.items()
        }
    picture = np.vstack([block(strips, title) for title, strips in surfaces.items()])
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    write_atomic(given.output, encoded.tobytes())
    print(given.output, picture.shape)


if __name__ == "__main__":
    main()
