"""How often each image is drawn: by the weight of its source, or every image alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError


def check_sources(
    images: int,
    source_of: Sequence[int] | None,
    source_weights: Sequence[float] | None,
) -> NDArray[np.int64]:
    """Number of each image's source; all are of source 0 where none are given.

    Raises:
        ConfigError: sources or weights are missing, or out of range.
    """
    if source_of is None:
        if source_weights is not None:
            raise ConfigError(
                "there are weights of sources, but no source of any image", "give source_of"
            )
        return np.zeros(images, np.int64)
    sources = np.asarray(source_of, np.int64)
    if len(sources) != images or sources.min() < 0:
        raise ConfigError(
            f"there are {images} images, and sources {list(source_of)[:5]}... for {len(sources)}",
            "give one source per image, from 0 on",
        )
    if source_weights is not None:
        weights = np.asarray(source_weights, np.float64)
        if len(weights) <= sources.max() or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ConfigError(
                f"the weights of {sources.max() + 1} sources are {list(source_weights)}",
                "give one number per source, none below 0",
            )
    return sources


def cumulative_probabilities(
    sources: NDArray[np.int64],
    eligible: NDArray[np.bool_],
    source_weights: Sequence[float] | None,
) -> NDArray[np.float64]:
    """Chance of each image or one before it, rising to exactly 1.

    Args:
        sources: int64 [N], number of each image's source.
        eligible: bool [N], which images take part.
        source_weights: how often each source is drawn, shared by its eligible images; without
            it, every eligible image is drawn as often as any other.

    Returns:
        float64 [N]; the first entry above an even random number tells the image.

    Raises:
        ConfigError: no eligible image has a source of a weight above 0.
    """
    chance = eligible.astype(np.float64)
    if source_weights is not None:
        of_source = np.bincount(sources, weights=chance)
        weights = np.asarray(source_weights, np.float64)[: len(of_source)]
        chance *= (weights / np.maximum(of_source, 1))[sources]
    risen = np.cumsum(chance)
    if risen[-1] == 0:
        raise ConfigError(
            "every source that has images to draw from has the weight 0",
            "give a weight above 0 to a source whose images show crack",
        )
    return np.asarray(risen / risen[-1])
