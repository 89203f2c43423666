"""How many damaged pictures are detected, by format and damage, and what detection costs.

    python benchmarks/damaged_pictures.py --data DATA [--trials 200]

Photos of the data sets are damaged at random: the last 10 to 90 % of their data left out with the
end marker kept, 4 kB cut out or set to zero, a run of 100 bytes changed, 100 bytes changed here and
there, the size in the header changed. Sound photos must all be taken. The cost is that of decoding
a photo over OpenCV's, alternately.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.images.decoding import UnreadableImageError, decode_image  # noqa: E402

DAMAGES = ("scan cut", "4 kB cut out", "4 kB of zeros", "100 bytes in a run", "100 bytes", "size")
FORMATS: dict[str, tuple[str, list[int]]] = {
    "PNG": (".png", []),
    "TIFF, LZW": (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 5]),
    "TIFF, deflate": (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 8]),
    "TIFF, uncompressed": (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 1]),
    "WebP": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 90]),
    "BMP": (".bmp", []),
}
ROUNDS = 15


def is_heard(data: bytes) -> bool:
    try:
        decode_image(data)
    except UnreadableImageError:
        return True
    return False


def data_of(data: bytes) -> int:
    """Where the picture's data begin, about."""
    return data.rfind(b"\xff\xda") + 14 if data.startswith(b"\xff\xd8") else 200


def damaged(data: bytes, kind: str, rng: random.Random) -> bytes:
    changed, start, size = bytearray(data), data_of(data), len(data)
    if kind == "size":
        frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        if frame < 0 or not data.startswith(b"\xff\xd8"):
            return data  # other formats have theirs elsewhere
        place = frame + rng.choice((5, 7))
        side = int.from_bytes(data[place : place + 2], "big")
        changed[place : place + 2] = int(side * rng.choice((0.5, 1.5, 2))).to_bytes(2, "big")
    elif kind == "scan cut":
        kept = start + int((size - start) * rng.uniform(0.1, 0.9))
        return bytes(changed[:kept]) + (b"\xff\xd9" if data.startswith(b"\xff\xd8") else b"")
    elif kind.startswith("4 kB"):
        first = rng.randrange(start, max(start + 1, size - 4098))
        end = min(first + 4096, size - 2)
        changed[first:end] = b"" if kind == "4 kB cut out" else bytes(end - first)
    elif kind == "100 bytes in a run":
        first = rng.randrange(start, size - 102)
        changed[first : first + 100] = rng.randbytes(100)
    else:
        for _ in range(100):
            changed[rng.randrange(start, size - 2)] = rng.randrange(256)
    return bytes(changed)


def heard(pictures: list[bytes], trials: int) -> dict[str, float]:
    """Percent of damaged pictures that are detected."""
    row = {}
    for kind in DAMAGES:
        rng, count, tried = random.Random(1), 0, 0
        for trial in range(trials):
            picture = pictures[trial % len(pictures)]
            spoiled = damaged(picture, kind, rng)
            if spoiled != picture:
                tried, count = tried + 1, count + is_heard(spoiled)
        if tried:
            row[kind] = round(100 * count / tried, 1)
    return row


def cost(pictures: list[bytes]) -> float:
    """Time to decode over OpenCV's, median of pairs."""

    def seconds(decode: Any) -> float:
        began = time.process_time()
        for data in pictures:
            decode(data)
        return time.process_time() - began

    def by_opencv(data: bytes) -> NDArray[Any] | None:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    return statistics.median(seconds(decode_image) / seconds(by_opencv) for _ in range(ROUNDS))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--trials", type=int, default=200)
    given = parser.parse_args()
    sound = sorted(given.data.rglob("*.jpg"))
    sound = [path for path in sound if "field_cases" not in path.parts]
    refused = [str(path.name) for path in sound[::3] if is_heard(path.read_bytes())]
    result: dict[str, Any] = {"sound JPEGs": len(sound[::3]), "refused": refused}
    print(result, flush=True)
    jpegs = [path.read_bytes() for path in (*sound[:: len(sound) // 40], *sound[-20:])]
    result["JPEG"] = {**heard(jpegs, given.trials), "time over OpenCV's": round(cost(jpegs), 2)}
    print("JPEG", result["JPEG"], flush=True)
    photos = [cv2.imread(str(path)) for path in sound[-10:]]
    for name, (suffix, options) in FORMATS.items():
        files = [
            cv2.imencode(suffix, photo, options)[1].tobytes()
            for photo in photos
            if photo is not None
        ]
        assert not any(map(is_heard, files))
        result[name] = {**heard(files, given.trials), "time over OpenCV's": round(cost(files), 2)}
        print(name, result[name], flush=True)
    write_result("damaged_pictures", result, "simplejpeg", "pillow", "opencv-python-headless")


if __name__ == "__main__":
    main()
