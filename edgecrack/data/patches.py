"""Patches: how many an epoch takes from each image, and averaging over a grid of patches.

The paper trains on a fixed number of patches per image or per dataset and tests on the mean of
overlapping patches that cover every pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, DataError

PAPER_PATCH_PX = 48
_SIZE_MULTIPLE = 8  # the network halves a patch's sides three times
_BATCH_PX = 1 << 17  # 56 patches of 48x48; larger batches leave a core's cache and are slower

Corners = NDArray[np.int64]


@dataclass(frozen=True)
class PatchStride:
    """Patch size and stride for averaging.

    Attributes:
        patch_px: side of a patch, a multiple of 8 from 16.
        stride_px: distance between neighbouring patches, 1 to `patch_px`; the paper's is 1.
    """

    patch_px: int = PAPER_PATCH_PX
    stride_px: int = 1

    def __post_init__(self) -> None:
        if self.patch_px < 16 or self.patch_px > 4096 or self.patch_px % _SIZE_MULTIPLE:
            raise ConfigError(
                f"the patch is {self.patch_px} px", "give a multiple of 8 from 16 to 4096"
            )
        if not 1 <= self.stride_px <= self.patch_px:
            raise ConfigError(
                f"the stride is {self.stride_px} px",
                f"give 1 to {self.patch_px} px, so that patches of {self.patch_px} px leave no gap",
            )


def axis_starts(length: int, patch: int, stride: int) -> Corners:
    """Where patches begin along one axis: every `stride`-th position and the last one.

    Args:
        length: the axis in pixels, at least `patch`.
        patch: side of a patch in pixels.
        stride: distance in pixels.

    Returns:
        int64 [n], rising from 0 to `length - patch`.
    """
    starts = np.arange(0, length - patch + 1, stride, dtype=np.int64)
    if starts[-1] != length - patch:
        starts = np.append(starts, length - patch)
    return starts


@dataclass(frozen=True, eq=False)
class PatchGrid:
    """The patches of one image size.

    Attributes:
        frame_hw: the image's height and width.
        padded_hw: the same, with each side at least as long as a patch.
        patch_px: side of a patch.
        starts_y: int64 [rows], the patches' first rows.
        starts_x: int64 [columns], the patches' first columns.
    """

    frame_hw: tuple[int, int]
    padded_hw: tuple[int, int]
    patch_px: int
    starts_y: Corners
    starts_x: Corners

    def __len__(self) -> int:
        """Number of patches."""
        return len(self.starts_y) * len(self.starts_x)

    def pad(self, prepared: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image, mirrored outwards at its bottom and right where a patch would not fit."""
        missing = [whole - own for whole, own in zip(self.padded_hw, prepared.shape, strict=True)]
        return np.pad(prepared, [(0, pixels) for pixels in missing], mode="symmetric")

    def coverage(self) -> NDArray[np.int64]:
        """How many patches cover each pixel: int64 [H, W] of the padded size, at least 1."""
        inside = np.arange(self.patch_px)
        along = [
            np.bincount((starts[:, None] + inside).ravel(), minlength=length)
            for starts, length in zip((self.starts_y, self.starts_x), self.padded_hw, strict=True)
        ]
        return np.outer(*along).astype(np.int64)

    def batches(self, pixels: int = _BATCH_PX) -> Iterator[tuple[Corners, Corners]]:
        """First rows and columns of the patches, row by row, in batches of `pixels` in total."""
        size = max(1, pixels // self.patch_px**2)
        for first in range(0, len(self), size):
            number = np.arange(first, min(first + size, len(self)))
            row, column = np.divmod(number, len(self.starts_x))
            yield self.starts_y[row], self.starts_x[column]

    def pixel_numbers(self) -> Corners:
        """Offsets of a patch's pixels from its corner in the flat padded image, int64 [P * P]."""
        inside = np.arange(self.patch_px)
        return np.add.outer(inside * self.padded_hw[1], inside).ravel().astype(np.int64)


def plan_patches(frame_hw: tuple[int, int], config: PatchStride) -> PatchGrid:
    """The patches of an image."""
    patch, stride = config.patch_px, config.stride_px
    height, width = (max(length, patch) for length in frame_hw)
    starts = [axis_starts(length, patch, stride) for length in (height, width)]
    return PatchGrid(frame_hw, (height, width), patch, *starts)


def average_patches(
    prepared: NDArray[np.uint8],
    config: PatchStride,
    infer: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """Mean over all patches that cover a pixel of a runner's output.

    Args:
        prepared: uint8 [H, W], preprocessed as a whole.
        config: the patches.
        infer: from uint8 [N, 1, P, P] to uint8 [N, 1, P, P], 255 = certain crack.

    Returns:
        uint8 [H, W].
    """
    grid = plan_patches((prepared.shape[0], prepared.shape[1]), config)
    padded = grid.pad(prepared)
    windows = sliding_window_view(padded, (config.patch_px, config.patch_px))
    inside = grid.pixel_numbers()
    sums = np.zeros(padded.size, np.int64)  # integers: exact in any order
    for rows, columns in grid.batches():
        outputs = infer(np.ascontiguousarray(windows[rows, columns][:, None]))
        places = (rows * padded.shape[1] + columns)[:, None] + inside
        np.add.at(sums, places.ravel(), outputs.ravel().astype(np.int64))
    mean = np.rint(sums.reshape(padded.shape) / grid.coverage())
    height, width = grid.frame_hw
    return np.ascontiguousarray(mean[:height, :width].astype(np.uint8))


_ORDER_STREAM = 1  # separates the order of patches from the draws for each patch


@dataclass(frozen=True)
class PatchCount:
    """Patches that an epoch takes from one source (one dataset of the run).

    Attributes:
        source: name of the source.
        per_image: patches from each of its images; or
        total: patches from all of them together, shared out in proportion to crack pixels.
    """

    source: str
    per_image: int = 0
    total: int = 0

    def __post_init__(self) -> None:
        if not self.source:
            raise ConfigError("a patch count names no source", "name the dataset that it is for")
        given = (self.per_image, self.total)
        if min(given) != 0 or not 1 <= max(given) <= 100_000_000:
            raise ConfigError(
                f"the patch count of {self.source} has per_image {self.per_image} and total "
                f"{self.total}",
                "give one of the two, 1 to 100000000",
            )


PAPER_COUNTS = (
    PatchCount("cfd", per_image=2000),
    PatchCount("cracktree", per_image=3000),
    PatchCount("aiglern", total=72_000),
)


@dataclass(frozen=True)
class EpochSlots:
    """Every patch of an epoch, unordered: its image, and whether it shows crack.

    Attributes:
        image: int32 [N], index of the image.
        with_crack: bool [N].
    """

    image: NDArray[np.int32]
    with_crack: NDArray[np.bool_]

    def __len__(self) -> int:
        """Patches of an epoch."""
        return len(self.image)

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """The order of an epoch: a permutation, int64 [N], determined by seed and epoch alone."""
        return np.random.default_rng((seed, _ORDER_STREAM, epoch)).permutation(len(self.image))


@dataclass(frozen=True)
class EpochPlan:
    """The number of patches per source in an epoch.

    Attributes:
        counts: one per source; the position of a count is the number of its source.
    """

    counts: tuple[PatchCount, ...]

    def __post_init__(self) -> None:
        names = [count.source for count in self.counts]
        if not names:
            raise ConfigError("the plan of an epoch is empty", "give a patch count per dataset")
        if len(set(names)) < len(names):
            raise ConfigError(f"the plan names a source twice: {names}", "name each source once")

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain lists and dicts, for YAML and JSON."""
        return {"counts": [asdict(count) for count in self.counts]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> EpochPlan:
        """The plan from `to_dict`.

        Raises:
            ConfigError: a key is missing or unknown, or a value is out of range.
        """
        try:
            return cls(tuple(PatchCount(**count) for count in document["counts"]))
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"{dict(document)} is not an epoch plan ({error})",
                "give counts, each with source and per_image or total",
            ) from error

    def ordered(self, sources: Sequence[str]) -> EpochPlan:
        """The same plan with its counts in the order of a run's sources.

        Args:
            sources: names of the sources, by number.

        Raises:
            ConfigError: a source has no count, or a count no source.
        """
        counts = {count.source: count for count in self.counts}
        missing = [name for name in sources if name not in counts]
        unknown = sorted(counts.keys() - set(sources))
        if missing or unknown:
            raise ConfigError(
                f"the plan names {', '.join(counts)}, but the sources are {', '.join(sources)}",
                "give one patch count per source",
            )
        return EpochPlan(tuple(counts[name] for name in sources))

    def slots(
        self, source_of: Sequence[int], crack_pixels: Sequence[int], crack_share: float
    ) -> EpochSlots:
        """Every patch of an epoch.

        Args:
            source_of: number of each image's source.
            crack_pixels: crack pixels of each image.
            crack_share: share of each image's patches that show crack, rounded to whole patches.
                All patches of an image without crack are of the other kind.

        Raises:
            ConfigError: an image's source is not in the plan, or a planned source has no image.
            DataError: a total cannot be distributed, since no image shows crack.
        """
        source, cracks = np.asarray(source_of, np.int64), np.asarray(crack_pixels, np.int64)
        self._check_sources(source)
        per_image = np.zeros(len(source), np.int64)
        for number, count in enumerate(self.counts):
            own = source == number
            per_image[own] = count.per_image or _share_out(count, cracks[own])
        with_crack = np.where(cracks > 0, np.rint(crack_share * per_image), 0).astype(np.int64)
        pairs = np.stack([with_crack, per_image - with_crack], axis=1).ravel()
        image = np.repeat(np.arange(len(source), dtype=np.int32), 2)
        kind = np.tile([True, False], len(source))
        return EpochSlots(np.repeat(image, pairs), np.repeat(kind, pairs))

    def _check_sources(self, source: NDArray[np.int64]) -> None:
        present = set(source.tolist())
        unplanned = sorted(number for number in present if not 0 <= number < len(self.counts))
        if unplanned:
            raise ConfigError(
                f"there are images of source {unplanned[0]}, but the plan has "
                f"{len(self.counts)} sources",
                "give a patch count per source",
            )
        for number, count in enumerate(self.counts):
            if number not in present:
                raise ConfigError(
                    f"the plan names {count.source}, which has no images",
                    "remove it from the plan",
                )


def _share_out(count: PatchCount, crack_pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Largest-remainder rounding, so that the parts sum up exactly."""
    every = int(crack_pixels.sum())
    if every == 0:
        raise DataError(
            f"no image of {count.source} shows crack, so {count.total} patches cannot be "
            "distributed",
            "check its masks, or give per_image instead of total",
        )
    # In integers remainders are exact; if they are equal, the earlier image comes first.
    parts, remainders = np.divmod(crack_pixels * count.total, every)
    left_over = count.total - int(parts.sum())
    parts[np.argsort(-remainders, kind="stable")[:left_over]] += 1
    return parts
