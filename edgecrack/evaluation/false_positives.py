"""How much a predictor flags on crack-free images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.constants import MIN_AREA_PX
from edgecrack.errors import ConfigError
from edgecrack.evaluation.image_results import Predict, predict_checked
from edgecrack.measurement.regions import measure_cracks


@dataclass(frozen=True)
class FalsePositives:
    """How much of crack-free images was flagged.

    Attributes:
        threshold: the threshold.
        per_image: share of each image's pixels, 0 to 1, in the images' order.
        overall: share of all pixels of all images, 0 to 1.
        min_area_px: smaller groups of flagged pixels are specks, which `stream` drops.
        per_image_published: as `per_image`, without specks.
        overall_published: as `overall`, without specks.
    """

    threshold: float
    per_image: tuple[float, ...]
    overall: float
    min_area_px: int
    per_image_published: tuple[float, ...]
    overall_published: float

    def to_dict(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        """The same as plain values for JSON; `names` are those of the images, in order."""
        names = names or [str(number) for number in range(1, len(self.per_image) + 1)]
        rows = zip(names, self.per_image, self.per_image_published, strict=True)
        return {
            "images": len(self.per_image),
            "threshold": self.threshold,
            "min_area_px": self.min_area_px,
            "flagged": self.overall,
            "flagged_published": self.overall_published,
            "per_image": [
                {"name": name, "flagged": raw, "flagged_published": published}
                for name, raw, published in rows
            ],
        }


def false_positive_ratio(
    predict: Predict,
    images: Iterable[NDArray[np.uint8]],
    threshold: float,
    min_area_px: int = MIN_AREA_PX,
    on_image: Callable[[], None] | None = None,
) -> FalsePositives:
    """Measure how much a predictor flags on crack-free images.

    Args:
        predict: from a BGR frame to a probability map of the same height and width.
        images: frames, uint8 [H, W, 3] BGR; read one at a time, so a generator will do.
        threshold: above 0, at most 1.
        min_area_px: groups of 8-connected pixels below this are dropped, as `stream` does.
        on_image: called after every image.

    Raises:
        ConfigError: no images, or a threshold out of range.
        DataError: a prediction does not fit its image.
    """
    metrics.uint8_level(threshold)
    counts: list[tuple[int, int, int]] = []
    for number, image in enumerate(images, start=1):
        probability = predict_checked(predict, image, f"image {number}")
        raw = int(np.count_nonzero(metrics.binarize(probability, threshold)))
        published = measure_cracks(probability, threshold, min_area_px).crack_pixels
        counts.append((raw, published, probability.size))
        if on_image is not None:
            on_image()
    if not counts:
        raise ConfigError("there are no crack-free images", "give at least one image")
    raw_all, published_all, pixels_all = (sum(column) for column in zip(*counts, strict=True))
    return FalsePositives(
        threshold,
        per_image=tuple(raw / pixels for raw, _, pixels in counts),
        overall=raw_all / pixels_all,
        min_area_px=min_area_px,
        per_image_published=tuple(published / pixels for _, published, pixels in counts),
        overall_published=published_all / pixels_all,
    )
