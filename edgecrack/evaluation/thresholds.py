"""The source of a report's operating threshold.

The model's own, a number, the best on a validation split, or the best on the scored images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgecrack import metrics
from edgecrack.data.datasets import CrackDataset, Sample
from edgecrack.errors import ConfigError, DataError
from edgecrack.evaluation.image_results import Choice
from edgecrack.terminal.wording import counted

VALIDATION_SPLIT = "val"
_HOW_TO_GIVE = "give model, val, test, or a number from 0.01 to 0.99"


@dataclass(frozen=True)
class ThresholdSource:
    """Where the operating threshold comes from.

    Attributes:
        name: "model" (its sidecar), "val", "test" or "number".
        value: the number, a multiple of 0.01 from 0.01 to 0.99, or None.
    """

    name: Literal["model", "val", "test", "number"] = "model"
    value: float | None = None

    def given(self, of_model: float) -> float:
        """The threshold known before scoring, rounded to hundredths."""
        return min(0.99, max(0.01, round(of_model, 2))) if self.value is None else self.value

    @property
    def given_name(self) -> str:
        """The name of the threshold from `given` in a report."""
        return "the model's own" if self.value is None else "given"

    @property
    def choice(self) -> Choice:
        """What an `Evaluation` calls the operating threshold."""
        choices: dict[str, Choice] = {"val": "validation", "test": "test"}
        return choices.get(self.name, "given")

    def sentence(self, validation_images: int) -> str:
        """The source in words for a report."""
        return {
            "model": "the model's own",
            "val": f"best strict F1 on {counted(validation_images, 'validation image')}",
            "test": "best tolerant F1 on the scored images themselves: optimistic, for no user has "
            "it in advance",
            "number": "given",
        }[self.name]


def parse_threshold_source(text: str) -> ThresholdSource:
    """Parse a threshold source.

    Raises:
        ConfigError: the text is not a threshold source.
    """
    if text in ("model", "val", "test"):
        return ThresholdSource(text)  # type: ignore[arg-type]
    try:
        value = float(text)
        metrics.threshold_index(value)
    except (ValueError, ConfigError):
        raise ConfigError(f"`threshold_from` is {text!r}", _HOW_TO_GIVE) from None
    return ThresholdSource("number", round(value, 2))


def validation_samples(dataset: CrackDataset, scored: Sequence[Sample]) -> list[Sample]:
    """The validation split, checked to share no image with the scored ones.

    Raises:
        ConfigError: the dataset has no validation split, or an empty one.
        DataError: an image is in both, by its name or by its file's content.
    """
    if not dataset.splits.get(VALIDATION_SPLIT):
        splits = ", ".join(dataset.splits) or "none at all"
        raise ConfigError(
            f"{dataset.folder} has no images in a split {VALIDATION_SPLIT!r} to choose a threshold "
            f"on (its splits: {splits})",
            "add one to its splits.json, or leave out `threshold_from` val",
        )
    samples = dataset.samples(VALIDATION_SPLIT)
    names = {sample.name: sample for sample in scored}
    contents = {_content(sample): sample for sample in scored}
    for sample in samples:
        twin = names.get(sample.name) or contents.get(_content(sample))
        if twin is not None:
            same = "" if twin.name == sample.name else f" as {twin.name}"
            raise DataError(
                f"the validation image {sample.name} is among the scored images, too{same}",
                "score another split with `split`, or fix splits.json",
            )
    return samples


def _content(sample: Sample) -> bytes:
    try:
        return hashlib.sha256(sample.image_path.read_bytes()).digest()
    except OSError as error:
        raise DataError(
            f"cannot read image {sample.image_path}: {error.strerror}",
            "check the path and its permissions",
        ) from error
