"""Memory and time of `edgecrack predict` on orthomosaics, by their size.

Real walls are repeated to GeoTIFFs of several sizes, each inspected by a separate process, whose
largest resident memory and time are taken; the smallest also as one photo, in the same run.

    python benchmarks/orthomosaics.py --data DATA [--sizes 2048x2048 8192x8192 30000x8192]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402

_PHOTO_PX = 448
_PHOTOS = 100


def photos(data: Path) -> list[NDArray[np.uint8]]:
    paths = sorted((data / "uav315" / "images").iterdir())
    read = (cv2.imread(str(path)) for path in paths)
    found = [np.asarray(image, np.uint8) for image in read if image is not None]
    same = [image for image in found if image.shape == (_PHOTO_PX, _PHOTO_PX, 3)]
    if not same:
        sys.exit(f"no photos of {_PHOTO_PX} px in {data / 'uav315'}")
    return same[:_PHOTOS]


def write_mosaic(path: Path, width: int, height: int, walls: list[NDArray[np.uint8]]) -> None:
    """Photos side by side, at 2 mm a pixel."""
    generator = np.random.default_rng(0)
    profile = {
        "driver": "GTiff", "width": width, "height": height, "count": 3, "dtype": "uint8",
        "crs": "EPSG:25832", "transform": from_origin(5e5, 5.3e6, 0.002, 0.002),
        "tiled": True, "compress": "deflate", "photometric": "RGB", "bigtiff": "if_safer",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        for top in range(0, height, _PHOTO_PX):
            rows = min(_PHOTO_PX, height - top)
            chosen = generator.integers(len(walls), size=-(-width // _PHOTO_PX))
            row = np.concatenate([walls[number] for number in chosen], axis=1)[:rows, :width]
            bands = row[..., ::-1].transpose(2, 0, 1)
            dataset.write(bands, window=Window(0, top, width, rows))


def predict(picture: Path, out: Path) -> dict[str, float]:
    """Seconds and largest resident memory of one run."""
    command = [sys.executable, "-m", "edgecrack", "predict", str(picture), "--out", str(out)]
    began_s = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{picture} failed with {process.returncode}")
    return {
        "seconds": round(time.monotonic() - began_s, 1),
        "largest_resident_mb": round(usage.ru_maxrss * 1024 / 1e6, 1),
    }


def measured(folder: Path, size: str, walls: list[NDArray[np.uint8]]) -> dict[str, float | str]:
    width, height = map(int, size.split("x"))
    mosaic = folder / f"{size}.tif"
    write_mosaic(mosaic, width, height, walls)
    figures = predict(mosaic, folder / f"out{size}")
    with (folder / f"out{size}" / "results.jsonl").open(encoding="utf-8") as lines:
        line = json.loads(lines.readline())
    mosaic.unlink()
    return {
        "size_px": size,
        "megapixels": round(width * height / 1e6, 1),
        **figures,
        "us_per_pixel": round(figures["seconds"] * 1e6 / (width * height), 3),
        "lines": line["map"]["lines"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    sizes = ["2048x2048", "8192x8192", "30000x8192"]
    parser.add_argument("--sizes", metavar="WIDTHxHEIGHT", nargs="+", default=sizes)
    options = parser.parse_args()
    walls = photos(options.data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        width, height = map(int, options.sizes[0].split("x"))
        write_mosaic(folder / "photo.tif", width, height, walls)
        with rasterio.open(folder / "photo.tif") as dataset:
            picture = np.ascontiguousarray(dataset.read()[::-1].transpose(1, 2, 0))
        cv2.imwrite(str(folder / "photo.png"), picture)
        photo = predict(folder / "photo.png", folder / "photo")
        found = []
        for size in options.sizes:
            found.append(measured(folder, size, walls))
            print(found[-1], flush=True)
    figures = {"photo": {"size_px": options.sizes[0], **photo}, "orthomosaics": found}
    write_result("orthomosaics", figures, "rasterio", "onnxruntime", "numpy")


if __name__ == "__main__":
    main()
