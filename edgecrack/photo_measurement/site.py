"""What the check sheet in some of the photos says of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.scale.quantity import Quantity, parse_quantity
from edgecrack.scale.scale import Scale
from edgecrack.site_check.placing import SheetPlacement
from edgecrack.site_check.sheet_reading import checked_readings, print_size, read_placed

NOT_CHECKED = "not checked on site"
PASSED, FAILED = "passed", "failed"


@dataclass(frozen=True)
class Readings:
    """What the user read of the printed sheet.

    Attributes:
        gauge: of cracks, by the width that stands beside them.
        bar_mm: of the bar; None where it was not measured.
    """

    gauge: Mapping[float, Quantity] = field(default_factory=dict)
    bar_mm: Quantity | None = None


def parse_readings(gauge: Sequence[str], bar: str | None) -> Readings:
    """Read what `--gauge` and `--bar` say: `0.4=0.38+-0.01` and `100.2+-0.2mm`.

    Raises:
        ConfigError: it is not that.
    """
    found: dict[float, Quantity] = {}
    for text in gauge:
        stated, equals, read = text.partition("=")
        try:
            width_mm = float(stated)
        except ValueError:
            width_mm = float("nan")
        if not equals or not np.isfinite(width_mm):
            raise ConfigError(
                f"the gauge reading is {text!r}",
                "give the width that stands on the sheet and what you read: 0.4=0.38+-0.01",
            )
        found[width_mm] = parse_quantity(read, "the gauge reading", ("", "mm"), most=20.0)
    length = None if bar is None else parse_quantity(bar, "the bar", ("", "mm"), most=1000.0)
    print_size(length)
    return Readings(checked_readings(found), length)


def check_photo(
    image: NDArray[np.uint8], sheet: SheetPlacement, scale: Scale | None, readings: Readings
) -> dict[str, Any] | None:
    """What a sheet in a photo says; None without a scale."""
    if scale is None:
        return None
    check = read_placed(image, sheet, scale, readings.gauge, bar_mm=readings.bar_mm)
    return {**check.to_dict(), "sentences": check.sentences()}


def site_record(photos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is written of a run: passed where there were checks and all passed."""
    checks = [
        {"photo": photo["name"], "passed": photo["site_check"]["passed"]}
        for photo in photos
        if photo["site_check"] is not None
    ]
    if not checks:
        return {"status": NOT_CHECKED, "photos": []}
    passed = all(check["passed"] for check in checks)
    return {"status": PASSED if passed else FAILED, "photos": checks}
