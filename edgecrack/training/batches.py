"""What a training step and a validation step are given, in every process its share.

Batches are made on the training device, in the process that trains: the images lie there, and a
worker process would have to copy them. Knows which process this is, nothing of networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from edgecrack.data.plan import EpochPlan
from edgecrack.data.training_set import ImageSet, TrainingSet
from edgecrack.training.config import TrainingConfig
from edgecrack.training.patch_sampler import DevicePatchSampler
from edgecrack.training.process_rank import ProcessRank


class Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """One epoch of batches: patches and masks, uint8 [N, 1, P, P] each on the training device.

    Args:
        data: what is trained on.
        config: the run.
        place: this process's; the batches of all processes together are those of a single one.
        device: the training device.
        steps_taken: tells how many steps were taken so far, from which the next batch follows;
            a resumed run therefore draws what it would have drawn.

    Raises:
        DataError: the images do not go with the patches that are asked for.
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

    A process for which none is left gets one empty item, so that it takes part in validation.
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
