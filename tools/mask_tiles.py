"""Crack masks for photos known to show a crack; doubtful photos are dropped.

    python tools/mask_tiles.py --data DIR --out runs/training/tiles    # DIR holds concrete_tiles/

The bundled model draws where the crack is, at full, half and quarter size together; what is drawn
is then refined to the pixels that are nearly as dark as the crack's middle. A second look knows no
model: what is dark for the surface around it, at several sizes. Where the two disagree, the tile
is left out. Photos of the yardstick, crops of the same photos and their copies
are never among them, and of copies among the rest only one is kept.

Writes images/, masks/ and masks.csv (every tile, with the reason where it was left out).
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.data.reading import read_image  # noqa: E402
from edgecrack.data.splits import content_hash, reserved_hashes  # noqa: E402
from edgecrack.files import make_folder, write_atomic, write_png  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.yardstick.outlines import rasterise, read_outlines  # noqa: E402
from tools.reserve_photos import COPY_CORRELATION, thumbnails  # noqa: E402

Gray = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SCALES = (1.0, 0.5, 0.25)
SEED_LEVEL = 0.3  # the model's probability from which a pixel may belong to the crack
SURE_LEVEL = 0.8  # and from which a whole piece is taken for one
KERNELS_PX = (15, 41, 91)  # closings of the second look: dark things narrower than these
LEAST_AGREEMENT = 0.65  # tolerant F1 of both masks
LEAST_LENGTH_PX = 60
LEAST_PIECE_PX = 20  # a shorter piece of a mask is a pit beside the crack
LARGEST_SHARE = 0.4


@dataclass(frozen=True)
class Drawn:
    """A tile's mask, or why it has none.

    Attributes:
        mask: bool [H, W], or None.
        agreement: of the two looks, 0 to 1.
        reason: why it was left out, "" where it was not.
    """

    mask: Mask | None
    agreement: float
    reason: str


def probability_of(detector: CrackDetector, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The model's probability at all scales together, float32 [H, W]."""
    prepared = np.asarray(detector.prepare(image))
    height, width = prepared.shape
    result = np.zeros((height, width), np.float32)
    for scale in SCALES:
        size = (round(width * scale), round(height * scale))
        reduced = cv2.resize(prepared, size, interpolation=cv2.INTER_AREA)
        found = detector.infer(np.asarray(reduced, np.uint8)).astype(np.float32) / 255
        result = np.maximum(result, cv2.resize(found, (width, height)))
    return result


def surface_of(gray: NDArray[np.float32], crack: Mask) -> NDArray[np.float32]:
    """The surface's gray level without the crack, smoothed over 15 px."""
    seen = (~cv2.dilate(crack.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)).astype(
        np.float32
    )
    weight = cv2.GaussianBlur(seen, (0, 0), 15.0)
    level = cv2.GaussianBlur(gray * seen, (0, 0), 15.0)
    overall = float(np.median(gray[seen > 0])) if seen.any() else float(np.median(gray))
    return np.where(weight > 0.02, level / np.maximum(weight, 1e-6), overall).astype(np.float32)


def refined(gray: NDArray[np.float32], probability: NDArray[np.float32]) -> Mask:
    """The model's crack, cut to where the picture is dark for it."""
    near = probability >= SEED_LEVEL
    pieces = _pieces_with(near, probability >= SURE_LEVEL)
    if not pieces.any():
        return pieces
    surface = surface_of(gray, pieces)
    darkness = surface - cv2.GaussianBlur(gray, (0, 0), 0.7)
    reach = cv2.dilate(pieces.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    result = np.zeros_like(pieces)
    # How dark a crack is changes along it: half the depth of what lies around each pixel.
    deepest = cv2.dilate(np.where(pieces, darkness, 0).astype(np.float32), np.ones((25, 25)))
    smooth = cv2.GaussianBlur(np.asarray(deepest, np.float32), (0, 0), 8.0)
    noise = 1.4826 * float(np.median(np.abs(darkness[~reach]))) if (~reach).any() else 0.0
    result = reach & (darkness > np.maximum(0.45 * smooth, 2.0 * noise))
    result = cv2.morphologyEx(
        result.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)
    ).astype(bool)
    sure = _pieces_with(result, probability >= SURE_LEVEL, least_px=25)
    return _filled(_long(sure, LEAST_PIECE_PX))


def dark_lines(gray: NDArray[np.float32]) -> Mask:
    """What is dark for its surroundings and long, without any model."""
    byte = np.asarray(cv2.GaussianBlur(gray, (0, 0), 1.5), np.uint8)
    result = np.zeros(gray.shape, bool)
    for kernel_px in KERNELS_PX:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel_px, kernel_px))
        padded = cv2.copyMakeBorder(byte, *(kernel_px,) * 4, cv2.BORDER_REFLECT)
        closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)
        answer = cv2.subtract(closed, padded)[kernel_px:-kernel_px, kernel_px:-kernel_px]
        level, _ = cv2.threshold(answer, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        spread = float(answer.std())
        found = answer > max(level, 2.0 * spread)
        result |= _long(found)
    return result


def _long(mask: Mask, least_px: float = LEAST_LENGTH_PX) -> Mask:
    """The pieces that are at least so long."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    length_px = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    long_enough = length_px >= least_px
    long_enough[0] = False
    return np.asarray(long_enough[labels], bool)


def _pieces_with(mask: Mask, seeds: Mask, least_px: int = 1) -> Mask:
    """The connected pieces of a mask that hold seeds enough."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    held = np.bincount(labels[seeds & mask], minlength=count) >= least_px
    held[0] = False
    return np.asarray(held[labels], bool)


def _filled(mask: Mask) -> Mask:
    """A mask without small holes: stones and light in a crack belong to it."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 300
    small[0] = False
    return np.asarray(mask | small[labels], bool)


def agreement_of(first: Mask, second: Mask, tolerance_px: int = 3) -> float:
    """F1 of two masks within some pixels."""
    if not first.any() or not second.any():
        return 0.0
    side = 2 * tolerance_px + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    near_first, near_second = (
        cv2.dilate(mask.astype(np.uint8), kernel).astype(bool) for mask in (first, second)
    )
    precision = float((first & near_second).sum() / first.sum())
    recall = float((second & near_first).sum() / second.sum())
    return 2 * precision * recall / max(precision + recall, 1e-9)


def draw(detector: CrackDetector, image: NDArray[np.uint8]) -> Drawn:
    """A tile's mask by both looks."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    mask = refined(gray, probability_of(detector, image))
    if not _long(mask).any():
        return Drawn(None, 0.0, "nothing long was found")
    if mask.mean() > LARGEST_SHARE:
        return Drawn(None, 0.0, "the mask covers too much")
    agreement = agreement_of(mask, dark_lines(gray))
    if agreement < LEAST_AGREEMENT:
        return Drawn(None, agreement, "the two looks disagree")
    return Drawn(mask, agreement, "")


def usable(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Every tile with the reason why it must not be used, "" where it may."""
    reserved = reserved_hashes()
    small = thumbnails(list(paths))
    turned = [np.rot90(small, turn, (1, 2)) for turn in range(4)]
    views = [view.reshape(len(small), -1) for one in turned for view in (one, one[:, :, ::-1])]
    flat = small.reshape(len(small), -1)
    kept: list[int] = []
    for index, path in enumerate(paths):
        if content_hash(path) in reserved:
            yield path, "reserved for the yardstick"
            continue
        if (
            kept
            and max(float((view[kept] @ flat[index]).max()) for view in views) > COPY_CORRELATION
        ):
            yield path, "a copy of another one"
            continue
        kept.append(index)
        yield path, ""


def check(detector: CrackDetector, data: Path) -> str:
    """How such masks agree with the yardstick's hand-drawn outlines, which they never replace."""
    overlaps, near, count = [], [], 0
    for outline in read_outlines():
        image = read_image(data / "concrete_tiles" / "positive" / f"{outline.tile}.jpg")
        truth = rasterise(outline.first, outline.size_hw) > 0
        mask, count = draw(detector, image).mask, count + 1
        if mask is not None:
            overlaps.append((mask & truth).sum() / (mask | truth).sum())
            near.append(agreement_of(mask, truth, 2))
    return (
        f"{len(overlaps)} of {count} outlined tiles get a mask; mean IoU with the outline "
        f"{100 * np.mean(overlaps):.1f} %, F1 within 2 px {100 * np.mean(near):.1f} %"
    )


def main() -> None:
    """Draw masks for all tiles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/training/tiles"))
    parser.add_argument("--check", action="store_true", help="only compare with the outlines")
    parser.add_argument("--model", type=Path, help="instead of the bundled one")
    parser.add_argument("--count", type=int, default=100_000, help="stop after so many tiles")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.check:
        with open_detector(given.model, scales=(1.0,), threads=1) as detector:
            print(check(detector, given.data))
        return
    paths = sorted((given.data / "concrete_tiles" / "positive").glob("*.jpg"))
    for name in ("images", "masks"):
        make_folder(given.out / name)
    rows, drawn = [("tile", "agreement", "left out for")], 0
    with open_detector(given.model, scales=(1.0,), threads=1) as detector:
        for path, reason in usable(paths):
            found = Drawn(None, 0.0, reason)
            if not reason:
                image = read_image(path)
                found = draw(detector, image)
            if found.mask is not None:
                write_png(given.out / "images" / f"{path.stem}.png", image, durable=False)
                level = np.where(found.mask, 255, 0).astype(np.uint8)
                write_png(given.out / "masks" / f"{path.stem}.png", level, durable=False)
                drawn += 1
            rows.append((path.stem, f"{found.agreement:.3f}", found.reason))
            if drawn >= given.count:
                break
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    write_atomic(given.out / "masks.csv", table.getvalue())
    print(f"{drawn} masks of {len(rows) - 1} tiles in {given.out}")


if __name__ == "__main__":
    main()
