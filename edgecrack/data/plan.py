"""How many patches an epoch takes from each image, as the paper counts them.

The paper cuts a fixed number of patches: so many from each image of a dataset, or so many from
the whole dataset, shared out by how much crack each image shows. numpy only; knows nothing of
pixels or tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, DataError

_ORDER_STREAM = 1  # keeps the order of patches apart from what is drawn for each of them


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
    """Every patch of an epoch, not yet in order: of which image, and with crack or without.

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
        """The order of an epoch: a permutation, int64 [N], decided by seed and epoch alone."""
        return np.random.default_rng((seed, _ORDER_STREAM, epoch)).permutation(len(self.image))


@dataclass(frozen=True)
class EpochPlan:
    """What an epoch is made of.

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
        """The plan that `to_dict` gave.

        Raises:
            ConfigError: a key is missing or unknown, or a value is out of range.
        """
        try:
            return cls(tuple(PatchCount(**count) for count in document["counts"]))
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"{dict(document)} is no plan of an epoch ({error})",
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
                An image without any crack gives all of its patches to the other kind.

        Raises:
            ConfigError: an image's source is not in the plan, or a planned source has no image.
            DataError: a total is to be shared out over images that show no crack.
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
                    f"the plan names {count.source}, of which there is no image",
                    "leave it out of the plan",
                )


def _share_out(count: PatchCount, crack_pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Largest-remainder rounding, so that the parts sum up exactly."""
    every = int(crack_pixels.sum())
    if every == 0:
        raise DataError(
            f"no image of {count.source} shows crack to share {count.total} patches out by",
            "check its masks, or give per_image in place of total",
        )
    # In whole numbers: a remainder is exact, and equal ones go to the earlier image.
    parts, remainders = np.divmod(crack_pixels * count.total, every)
    left_over = count.total - int(parts.sum())
    parts[np.argsort(-remainders, kind="stable")[:left_over]] += 1
    return parts
