"""Whether the check sheet is read within its intervals, and a sheet of the wrong size noticed.

Rendered at 0.1 to 0.4 mm a pixel, tilted by up to 20 degrees, blurred by 0.7 to 1.5 px, with noise
and as JPEG; the true scale is given, sure to 0.5 % (standard uncertainty 0.25 %).

    python -m benchmarks.site_check
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.machine import write_result
from edgecrack.site_check import SiteCheck, read_sheet
from edgecrack.site_check.printing import Imaging, View, render_sheet, view_of_sheet
from edgecrack.site_check.sheet import WIDTHS_MM

# Sheets at each scale: fine pictures take longest.
SHEETS = {0.1: 2, 0.15: 3, 0.2: 3, 0.3: 4, 0.4: 6}
WRONG_SIZES = (0.97, 1.03)
WRONG_SCALES = (0.2, 0.4)
DISTANCE_SHARE, TILT_DEG = 0.0025, 0.5


def drawn(rng: np.random.Generator, mm_per_px: float, print_factor: float = 1.0) -> SiteCheck:
    """Render a sheet and read it."""
    view, imaging = _view(rng, mm_per_px), _imaging(rng)
    image = render_sheet(view, rng, imaging, print_factor=print_factor)
    check = read_sheet(image, view.scale(DISTANCE_SHARE, TILT_DEG))
    if check is None:
        raise RuntimeError(f"no sheet was found at {mm_per_px} mm a pixel")
    return check


def _view(rng: np.random.Generator, mm_per_px: float) -> View:
    return view_of_sheet(
        mm_per_px,
        tilt_deg=float(rng.uniform(0, 20)),
        towards_deg=float(rng.uniform(0, 360)),
        turned_deg=float(rng.uniform(-8, 8)),
    )


def _imaging(rng: np.random.Generator) -> Imaging:
    return Imaging(
        blur_px=float(rng.uniform(0.7, 1.5)),
        noise=float(rng.uniform(1, 4)),
        paper=float(rng.uniform(150, 230)),
        ink=float(rng.uniform(0.04, 0.12)),
    )


def by_width(checks: dict[float, list[SiteCheck]]) -> Iterator[dict[str, Any]]:
    """For each scale and width: what was read, how far off, and how often the interval holds."""
    for mm_per_px, each in checks.items():
        for number, width in enumerate(WIDTHS_MM):
            cracks = [check.cracks[number] for check in each]
            read = [crack.read_mm for crack in cracks if crack.read_mm is not None]
            errors = np.array([figure.value - width for figure in read])
            holds = [figure.low <= width <= figure.high for figure in read]
            spreads = [(figure.high - figure.low) / 2 for figure in read]
            scores = [abs(crack.score or 0.0) for crack in cracks if crack.measurable]
            yield {
                "mm_per_px": mm_per_px,
                "width_mm": width,
                "sheets": len(cracks),
                "read": len(read),
                "bias_mm": round(float(errors.mean()), 4) if read else None,
                "largest_error_mm": round(float(abs(errors).max()), 4) if read else None,
                "spread_95_mm": round(float(np.median(spreads)), 4) if read else None,
                "intervals_hold": int(sum(holds)),
                "largest_score": round(max(scores), 2) if scores else None,
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    began = time.monotonic()
    checks = {scale: [drawn(rng, scale) for _ in range(count)] for scale, count in SHEETS.items()}
    wrong = {
        f"{factor:.0%}": [drawn(rng, scale, factor) for scale in WRONG_SCALES]
        for factor in WRONG_SIZES
    }
    rows = list(by_width(checks))
    for row in rows:
        print(row)
    every = [check for each in checks.values() for check in each]
    for check in every:
        for problem in check.problems:
            print(problem)
    noticed = {size: sum(not check.scale.agrees for check in each) for size, each in wrong.items()}
    read, holds = (sum(row[name] for row in rows) for name in ("read", "intervals_hold"))
    figures = {
        "seed": given.seed,
        "sheets": len(every),
        "passed": sum(check.passed for check in every),
        "cracks_read": read,
        "of": len(every) * len(WIDTHS_MM),
        "intervals_hold": holds,
        "largest_score": max(row["largest_score"] or 0.0 for row in rows),
        "largest_scale_deviation": round(
            max(abs(check.scale.deviation.value) for check in every), 5
        ),
        "passed_by_scale": {
            f"{scale} mm/px": f"{sum(check.passed for check in each)} of {len(each)}"
            for scale, each in checks.items()
        },
        "wrong_size_sheets": {size: len(each) for size, each in wrong.items()},
        "wrong_size_noticed": noticed,
        "wrong_size_sentences": [each[0].scale.sentence() for each in wrong.values()],
        "seconds": round(time.monotonic() - began),
        "rows": rows,
    }
    write_result("site_check", figures, "numpy", "opencv-python-headless", "matplotlib")
    print(noticed)


if __name__ == "__main__":
    main()
