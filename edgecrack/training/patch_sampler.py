"""Batches of training patches, drawn, cut and augmented on the training device.

All random numbers of a batch are drawn on the host from (seed, step), one row per patch: any step
can be drawn again without those before it, each process draws its share of the rows, and the host
never waits for the device. Batches are made in the process that trains, where the images are; a
worker process would have to copy them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from edgecrack.data.patches import EpochPlan, EpochSlots
from edgecrack.data.training_set import ImageSet, TrainingSet
from edgecrack.errors import ConfigError, DataError
from edgecrack.training.augmentation import APPEARANCE_DRAWS, Appearance
from edgecrack.training.config import PatchConfig, TrainingConfig
from edgecrack.training.patch_windows import (
    PLACEMENT_DRAWS,
    Resampler,
    cut_plain,
    draw_shapes,
    place,
    turn_over,
)
from edgecrack.training.processes import ProcessRank
from edgecrack.training.resident import ResidentImages


def check_sources(
    images: int,
    source_of: Sequence[int] | None,
    source_weights: Sequence[float] | None,
) -> NDArray[np.int64]:
    """Index of each image's source; 0 for all where none are given.

    Raises:
        ConfigError: sources or weights are missing, or out of range.
    """
    if source_of is None:
        if source_weights is not None:
            raise ConfigError(
                "source weights are given, but not the sources of the images", "give source_of"
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
    """Cumulative probability of the images, rising to exactly 1.

    Args:
        sources: int64 [N], index of each image's source.
        eligible: bool [N], which images take part.
        source_weights: how often each source is drawn, divided among its eligible images; None
            draws every eligible image equally often.

    Returns:
        float64 [N]; the first entry above a uniform random number is the image.

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
            "every source with images to draw from has weight 0",
            "give a weight above 0 to a source whose images show crack",
        )
    return np.asarray(risen / risen[-1])


_DRAW_STREAM = 0  # other than that of epoch orders and noise
_IMAGE, _TURN, _OWN_DRAWS = 0, 1, 2


class DevicePatchSampler:
    """Draws batches of patches with a fixed share of cracked ones.

    Without a plan, every batch has its share of cracked patches, rounded to whole patches, from
    images drawn by weight. With a plan, an epoch takes the planned number of patches from each
    image, in an order of its own.

    Args:
        images: preprocessed frames, uint8 [H, W] each.
        masks: the labels of each, uint8 [H, W], above 0 on crack.
        config: patch size, share and augmentation.
        seed: with the step, decides every draw.
        source_of: index of each image's source (its dataset), from 0 on.
        source_weights: how often each source is drawn, in any unit; None draws every image equally
            often. Cracked patches are drawn only from sources and images with crack.
        plan: patches that an epoch takes from each source; weights are then not used.
        device: where the images are stored and patches are made.

    Raises:
        DataError: there are no images, none has any crack, or a mask has another size.
        ConfigError: sources, weights and plan do not match, or every source that could be drawn
            has weight 0.
    """

    def __init__(
        self,
        images: Sequence[NDArray[np.uint8]],
        masks: Sequence[NDArray[np.uint8]],
        config: PatchConfig,
        seed: int = 0,
        *,
        source_of: Sequence[int] | None = None,
        source_weights: Sequence[float] | None = None,
        plan: EpochPlan | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.seed, self.device = config, seed, torch.device(device)
        self._resident = ResidentImages(images, masks, device)
        self._resampler = Resampler(self._resident, config.patch_px, config.augment)
        self._appearance = Appearance(config.augment, config.patch_px, seed, device)
        sources = check_sources(len(images), source_of, source_weights)
        cracks = self._resident.crack_counts
        if not cracks.any() and config.crack_share > 0:
            raise DataError(
                "no training image has any crack pixel", "check the masks, or set crack share to 0"
            )
        self._order: tuple[int, NDArray[np.int64]] | None = None
        self._slots: EpochSlots | None = None
        self._chances: dict[bool, NDArray[np.float64]] = {}
        if plan is not None:
            self._slots = plan.slots(sources.tolist(), cracks.tolist(), config.crack_share)
            return
        if config.crack_share > 0:
            self._chances[True] = cumulative_probabilities(sources, cracks > 0, source_weights)
        if config.crack_share < 1:
            self._chances[False] = cumulative_probabilities(sources, cracks >= 0, source_weights)

    def batch(self, step: int, size: int, rank: int = 0, ranks: int = 1) -> tuple[Tensor, Tensor]:
        """One process's share of a training step.

        The patches of all processes, concatenated, are those of `batch(step, size * ranks)`. With
        a plan, the last batch of an epoch may be smaller; it is then divided as evenly as possible,
        and filled from the start of the epoch where there are fewer patches than processes.

        Args:
            step: index of the training step, from 0 on.
            size: patches per process.
            rank: of this process, from 0 on.
            ranks: number of processes.

        Returns:
            Patches and masks, uint8 [size, 1, patch_px, patch_px] each, on the device; masks are
            0 or 1.

        Raises:
            ConfigError: a number is out of range.
        """
        if step < 0 or size < 1 or not 0 <= rank < ranks:
            raise ConfigError(
                f"a batch is requested with step {step}, size {size}, rank {rank} of {ranks}",
                "give step >= 0, size >= 1 and 0 <= rank < ranks",
            )
        columns = _OWN_DRAWS + PLACEMENT_DRAWS + APPEARANCE_DRAWS
        generator = np.random.default_rng((self.seed, _DRAW_STREAM, step))
        if self._slots is not None:
            slot = self._slots_of(self._slots, step, size * ranks, ranks)
            draws = generator.random((len(slot), columns))
            image = self._slots.image[slot].astype(np.int64)
            with_crack = self._slots.with_crack[slot]
        else:
            draws = generator.random((size * ranks, columns))
            with_crack = self._kinds(step, len(draws))
            image = self._images(with_crack, draws[:, _IMAGE])
        mine = slice(len(draws) * rank // ranks, len(draws) * (rank + 1) // ranks)
        # Gray levels are computed in float32, whatever precision the network is trained in.
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return self._make(image[mine], with_crack[mine], draws[mine])

    def steps_per_epoch(self, batch: int) -> int:
        """Steps in an epoch of the plan.

        Args:
            batch: patches per step over all processes.

        Raises:
            ConfigError: the sampler has no plan.
        """
        if self._slots is None:
            raise ConfigError(
                "without a plan, an epoch has no end", "give `steps_per_epoch`, or a plan"
            )
        return -(-len(self._slots) // batch)

    def _slots_of(self, slots: EpochSlots, step: int, batch: int, ranks: int) -> NDArray[np.int64]:
        """The plan slots of a step."""
        epoch, place_in_epoch = divmod(step, self.steps_per_epoch(batch))
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, slots.order(self.seed, epoch)
        order = self._order[1]
        taken = order[place_in_epoch * batch : (place_in_epoch + 1) * batch]
        if len(taken) < ranks:
            taken = np.concatenate([taken, np.resize(order, ranks - len(taken))])
        return taken

    def _kinds(self, step: int, count: int) -> NDArray[np.bool_]:
        """Which patches of a step show crack: their share in any sequence of patches."""
        position = np.arange(step * count, (step + 1) * count + 1)
        # A millionth more, since 100 * 0.29 is just below 29 in floats.
        return np.asarray(np.diff(np.floor(position * self.config.crack_share + 1e-6)) > 0)

    def _images(
        self, with_crack: NDArray[np.bool_], draws: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        image = np.empty(len(draws), np.int64)
        for kind, risen in self._chances.items():
            of_kind = with_crack == kind
            image[of_kind] = np.searchsorted(risen, draws[of_kind], side="right")
        return image

    def _make(
        self,
        image: NDArray[np.int64],
        with_crack: NDArray[np.bool_],
        draws: NDArray[np.float64],
    ) -> tuple[Tensor, Tensor]:
        augment, side = self.config.augment, self.config.patch_px
        own, where, looks = np.split(draws, (_OWN_DRAWS, _OWN_DRAWS + PLACEMENT_DRAWS), axis=1)
        shapes = draw_shapes(where, side, augment)
        places = place(self._resident, image, with_crack, shapes, where, side)
        if augment.resamples:
            pairs = self._resampler.cut(places, shapes)
            # Shrinking may lose a single pixel; the one that was drawn is kept.
            members = torch.arange(len(pairs), device=self.device)
            drawn = torch.from_numpy(with_crack).to(self.device).to(torch.uint8)
            at = members, 1, places.at_y.long(), places.at_x.long()
            pairs[at] = torch.maximum(pairs[at], drawn)
        else:
            pairs = cut_plain(self._resident, places, side)
        if augment.geometry:
            turn_over(pairs, np.floor(8 * own[:, _TURN]).astype(np.int64))
        patches = self._appearance.change(pairs[:, 0], looks)
        return patches[:, None], pairs[:, 1:].contiguous()


class Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """One epoch of batches: patches and masks, uint8 [N, 1, P, P] each on the training device.

    Args:
        data: the training set.
        config: the run.
        place: of this process; the batches of all processes together are those of a single one.
        device: the training device.
        steps_taken: returns the number of steps so far, which decides the next batch, so that a
            resumed run draws what it would have drawn.

    Raises:
        DataError: the images do not match the patches that the configuration asks for.
    """

    def __init__(
        self,
        data: TrainingSet,
        config: TrainingConfig,
        place: ProcessRank,
        device: torch.device,
        steps_taken: Callable[[], int] = lambda: 0,
    ) -> None:
        self.steps_taken = steps_taken
        names, weights = zip(*data.sources, strict=True)
        plan = EpochPlan(config.plan).ordered(names) if config.plan else None
        self._sampler = DevicePatchSampler(
            data.train.images,
            data.train.masks,
            config.patches,
            config.seed,
            source_of=data.train.sources,
            source_weights=weights,
            plan=plan,
            device=device,
        )
        self._place = place
        self._size = config.batch_size // place.ranks
        self._steps = (
            self._sampler.steps_per_epoch(config.batch_size) if plan else config.steps_per_epoch
        )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        first = self.steps_taken()
        for step in range(first, first + self._steps):
            yield self._sampler.batch(step, self._size, self._place.rank, self._place.ranks)

    def __len__(self) -> int:
        return self._steps


class WholeImages(Dataset[tuple[Tensor, Tensor]]):
    """Every image of a set in exactly one process: image and mask, uint8 [1, 1, H, W] each.

    A process without any gets one empty item, so that it takes part in validation.
    """

    def __init__(self, images: ImageSet, place: ProcessRank) -> None:
        self._set = images
        self._indices = range(place.rank, len(images.images), place.ranks)

    def __len__(self) -> int:
        return max(1, len(self._indices))

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not self._indices:
            empty = torch.empty((1, 1, 0, 0), dtype=torch.uint8)
            return empty, empty
        chosen = self._indices[index]
        return (
            torch.from_numpy(self._set.images[chosen])[None, None],
            torch.from_numpy(self._set.masks[chosen])[None, None],
        )
