"""How often a margin or burnt-in text is found in pictures that have none.

All pictures of the data folder's datasets and every second positive and fourth negative concrete
tile. Findings are printed by name, for visual inspection: a black shadow in a corner cannot be told
from a margin.

    python benchmarks/nodata_alarms.py [--data DIR]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.data.datasets import read_image  # noqa: E402
from edgecrack.images.decoding import IMAGE_SUFFIXES  # noqa: E402
from edgecrack.images.nodata import find_nodata, find_text  # noqa: E402

_EVERY = {
    "concrete_tiles/positive": 2,
    "concrete_tiles/negative": 4,
    "uav315/images": 1,
    "cfd/images": 1,
    "road_frames/images": 1,
    "survey_frames": 1,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    data = parser.parse_args().data
    cv2.setNumThreads(1)
    pictures = 0
    margins: dict[str, float] = {}
    texts: dict[str, float] = {}
    for folder, step in _EVERY.items():
        files = [p for p in (data / folder).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES]
        for path in sorted(files)[::step]:
            gray = np.asarray(cv2.cvtColor(read_image(path), cv2.COLOR_BGR2GRAY), dtype=np.uint8)
            pictures += 1
            for kind, found in ((margins, find_nodata(gray)), (texts, find_text(gray))):
                if found is not None:
                    kind[f"{folder}/{path.name}"] = round(100 * float(found.mean()), 1)
                    print(folder, path.name, kind[f"{folder}/{path.name}"], "%", flush=True)
    figures = {
        "pictures": pictures,
        "with_margin": len(margins),
        "with_text": len(texts),
        "margins_percent_of_picture": margins,
        "texts_percent_of_picture": texts,
    }
    write_result("nodata_alarms", figures, "opencv-python-headless")


if __name__ == "__main__":
    main()
