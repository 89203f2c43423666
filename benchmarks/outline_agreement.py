"""How far two independent drawings of the same cracks agree: the bound on every score against them.

The first drawing is the truth of the yardstick's outlined tiles, the second was drawn without
seeing it. Needs no data: only the polygons that come with the package.

    python benchmarks/outline_agreement.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack import metrics  # noqa: E402
from edgecrack.yardstick.outlines import (  # noqa: E402
    intersection_over_union,
    rasterise,
    read_outlines,
)
from edgecrack.yardstick.strata import (  # noqa: E402
    WIDTH_CLASSES,
    typical_width_class,
    width_classes,
)


def compare() -> list[dict[str, Any]]:
    """A row for each tile: width class of the first drawing, IoU, tolerant and strict F1."""
    rows = []
    for outline in read_outlines():
        first = rasterise(outline.first, outline.size_hw)
        second = rasterise(outline.second, outline.size_hw)
        width = typical_width_class(width_classes(first))
        drawn = np.where(second, 255, 0).astype(np.uint8)
        f1 = {
            kind: metrics.score_at(metrics.count_image(drawn, first, kind), 0.5).f1
            for kind in ("square", "strict")
        }
        rows.append(
            {
                "tile": outline.tile,
                "width": "" if width is None else WIDTH_CLASSES[width],
                "iou": round(intersection_over_union(first, second), 4),
                "tolerant_f1": round(f1["square"], 4),
                "strict_f1": round(f1["strict"], 4),
            }
        )
    return rows


def main() -> None:
    rows = compare()
    names = ("iou", "tolerant_f1", "strict_f1")
    figures: dict[str, Any] = {"tiles": len(rows)}
    for name in names:
        values = [row[name] for row in rows]
        figures[f"mean_{name}"] = round(float(np.mean(values)), 4)
        figures[f"least_{name}"] = min(values)
    figures["by_width"] = {
        width: {
            "tiles": len(own),
            **{name: round(float(np.mean([row[name] for row in own])), 4) for name in names},
        }
        for width in WIDTH_CLASSES
        if (own := [row for row in rows if row["width"] == width])
    }
    write_result("outline_agreement", {**figures, "per_tile": rows}, "opencv-python-headless")


if __name__ == "__main__":
    main()
