"""Training and validation images, preprocessed and kept in memory.

A few hundred camera images fit easily; reading and equalising them for every patch would be
slow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgecrack.data.sources import HOLD_OUT_SHARE, list_source, parse_sources, split_samples
from edgecrack.data.splits import refuse_reserved
from edgecrack.errors import DataError
from edgecrack.preprocess import PreprocessConfig
from edgecrack.terminal.wording import all_of, counted

__all__ = ["HOLD_OUT_SHARE", "ImageSet", "TrainingSet", "load_training_set", "split_samples"]


@dataclass
class ImageSet:
    """Preprocessed images and their truth, in the same order.

    Attributes:
        images: uint8 [H, W] each.
        masks: uint8 [H, W] each, 255 on cracks.
        names: "SOURCE/IMAGE" each, unique in a run.
        sources: index of each image's source in `TrainingSet.sources`.
    """

    images: list[NDArray[np.uint8]] = field(default_factory=list)
    masks: list[NDArray[np.uint8]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)

    def add(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], name: str, source: int
    ) -> None:
        """Add one preprocessed image with its truth."""
        self.images.append(image)
        self.masks.append(mask)
        self.names.append(name)
        self.sources.append(source)


@dataclass
class TrainingSet:
    """Training and validation images of a run.

    Attributes:
        sources: name and weight of each; a source's share of the patches is its weight divided by
            the sum of weights.
    """

    train: ImageSet
    validation: ImageSet
    sources: tuple[tuple[str, float], ...] = ()


def load_training_set(
    specifications: Sequence[str],
    config: PreprocessConfig,
    seed: int,
    on_message: Callable[[str], None] = lambda message: None,
    hold_out: float = HOLD_OUT_SHARE,
    reserved: Collection[str] = (),
) -> TrainingSet:
    """Read every data source of a run.

    A dataset's `train` and `val` splits are used if it has them. If its `val` split is missing or
    empty, a seeded share of the training images is held out, as for images without crack.

    Args:
        specifications: data sources as `parse_source` reads them.
        config: preprocessing parameters.
        seed: determines hold-outs and generated walls.
        on_message: called with a text about each source being read.
        hold_out: the share held out for validation if there is no `val` split, 0 to 0.5. With 0,
            all images are used for training and for validation.
        reserved: hashes of further files, besides the yardstick's, that must not be trained on.

    Raises:
        ConfigError: a source is malformed, or the sources do not fit together.
        DataError: a file is missing, unreadable, or does not fit its partner, or a dataset has
            no training images, no marked crack, or training photos that belong to the yardstick.
    """
    sources = parse_sources(specifications)
    # Every folder is checked before the first is read, so that a mistake shows immediately.
    listed = [list_source(source, config, seed, hold_out) for source in sources]
    for source, images in zip(sources, listed, strict=True):
        # Drawn validation images determine weights and threshold. A dataset's own val split may
        # be among the yardstick's photos: uav315's is.
        drawn = images.validation.paths if images.drawn else ()
        refuse_reserved(source.name, [*images.train.paths, *drawn], reserved)
    shares = tuple(
        (source.name, float(source.weight or len(images.train.names)))
        for source, images in zip(sources, listed, strict=True)
    )
    result = TrainingSet(ImageSet(), ImageSet(), shares)
    for number, (source, images) in enumerate(zip(sources, listed, strict=True)):
        on_message(images.message)
        for part, target in ((images.train, result.train), (images.validation, result.validation)):
            for name, image, mask in part.read():
                target.add(image, mask, f"{source.name}/{name}", number)
        if source.kind == "labelled":
            _check_cracks(source.name, result.train.masks[-len(images.train.names) :])
    return result


def _check_cracks(name: str, masks: Sequence[NDArray[np.uint8]]) -> None:
    """Refuse a labelled source whose masks mark nothing or nearly everything."""
    crack = sum(int(np.count_nonzero(mask)) for mask in masks)
    share = crack / sum(mask.size for mask in masks)
    if crack == 0:
        raise DataError(
            f"no training image has any crack: {all_of(len(masks), 'mask', repr(name))} black",
            "check that crack is white in the masks, or give images without crack as clean:DIR",
        )
    if share > 0.5:
        raise DataError(
            f"{100 * share:.0f} % of the pixels in the {counted(len(masks), 'training mask')} of "
            f"{name!r} are crack",
            "invert the masks: crack is white, the rest black",
        )
