"""The tiles that judge an INT8 file, with FP32's output on them, and OpenVINO's verdict.

Where layers have to be kept in FP16, the tiles are split into two parts without a common image: a
choice looks better on the tiles it was made on, so one part chooses and the other confirms.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import ModelFile, ModelSpec
from edgecrack.calibration.accuracy import (
    LEAST_IMAGES,
    Accuracy,
    ImageCounts,
    accuracy_of,
    count_images,
    largest_difference,
)
from edgecrack.calibration.gate import Gate, Kind, Verdict
from edgecrack.calibration.sampler import TileSet
from edgecrack.errors import DataError, EdgecrackError
from edgecrack.runtime.backends.onnx_runtime import default_threads
from edgecrack.runtime.backends.openvino_runner import (
    OpenVINORunner,
    OpenVINOSettings,
    has_openvino,
)

_MOST_CRACK = 0.5  # of all pixels; cracks cover a few percent, an inverted mask nearly all
_LEAST_ODS = 10.0  # points; below, a loss cannot be measured


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out tiles and FP32's output on them.

    Attributes:
        name: of the data.
        kind: the gate to use.
        tiles: the tiles.
        expected: FP32's output on them, uint8 [N, H, W].
        threshold: the model's own, 0 to 1.
    """

    name: str
    kind: Kind
    tiles: TileSet
    expected: NDArray[np.uint8]
    threshold: float

    @cached_property
    def reference(self) -> ImageCounts:
        """Counts of the FP32 file."""
        return self._counts(self.expected)

    def judge(self, gate: Gate, output: NDArray[np.uint8], seed: int) -> Verdict:
        """The gate's verdict on an INT8 file.

        Args:
            gate: what it may lose.
            output: its output on the tiles, uint8 [N, H, W].
            seed: draws the images of the bootstrap.
        """
        counts = self._counts(output)
        return gate.judge(self.kind, self.reference, counts, seed, len(self.tiles))

    def accuracy(self, output: NDArray[np.uint8]) -> Accuracy:
        """The scores of an output, uint8 [N, H, W]."""
        return accuracy_of(self._counts(output), largest_difference(output, self.expected))

    def require_judgeable(self) -> None:
        """Refuse tiles that cannot judge a file.

        Raises:
            DataError: there are too few images, the labels cover nearly everything, or FP32 itself
                finds next to nothing.
        """
        covered = float(self.tiles.truth.mean())
        if self.kind == "labels" and covered > _MOST_CRACK:
            raise DataError(
                f"the labels of {self.name} call {100 * covered:.0f} % of the held-out tiles crack",
                "check whether the masks are inverted: 255 is crack, 0 is not",
            )
        images = self.tiles.images
        if images < LEAST_IMAGES:
            raise DataError(
                f"the held-out tiles of {self.name} are of {images} "
                f"image{'s' if images != 1 else ''}, too few to bound the loss of INT8",
                f"give {LEAST_IMAGES} or more for the held-out part, which is a third of the "
                "images where no val split names it; each frame of a video counts as one",
            )
        found = self.accuracy(self.expected).ods
        if self.kind == "labels" and found < _LEAST_ODS:
            raise DataError(
                f"the FP32 model has an ODS of {found:.1f} by the labels of {self.name}, too low "
                "to measure a loss of INT8",
                "check the labels, or train the model on such images first",
            )

    def halves(self, seed: int) -> tuple[HeldOut, HeldOut] | None:
        """Two parts without a common image, each with about half of the tiles with a crack.

        Without labels, the first images by name or time are one part and the last the other, since
        neighbours are nearly the same image; with labels, the seed draws them.

        Returns:
            The part that chooses and the part that confirms; None where there are too few images
            for two, or one would have no crack.
        """
        images = np.unique(self.tiles.frame)
        if len(images) < 2 * LEAST_IMAGES:
            return None
        if self.kind == "labels":
            images = np.random.default_rng([seed, len(images)]).permutation(images)
        holds = self.tiles.has_crack
        cracked = np.array([holds[self.tiles.frame == image].sum() for image in images])
        middle = int(np.searchsorted(np.cumsum(cracked), cracked.sum() / 2)) + 1
        border = min(max(middle, LEAST_IMAGES), len(images) - LEAST_IMAGES)
        parts = [self._of_images(images[:border]), self._of_images(images[border:])]
        return (parts[0], parts[1]) if all(part.tiles.cracked for part in parts) else None

    def _of_images(self, images: NDArray[np.int64]) -> HeldOut:
        chosen = np.isin(self.tiles.frame, images)
        tiles = replace(
            self.tiles,
            pixels=self.tiles.pixels[chosen],
            truth=self.tiles.truth[chosen],
            frame=self.tiles.frame[chosen],
            strata={},
        )
        return HeldOut(self.name, self.kind, tiles, self.expected[chosen], self.threshold)

    def _counts(self, output: NDArray[np.uint8]) -> ImageCounts:
        return count_images(output, self.tiles.truth, self.threshold, self.tiles.frame)


@dataclass(frozen=True)
class OpenVINOVerdict:
    """The gate's verdict on an INT8 file that OpenVINO runs.

    Attributes:
        version: of OpenVINO.
        verdict: the gate's; None where OpenVINO cannot run the file.
        problem: why it cannot; "" where it can.
    """

    version: str
    verdict: Verdict | None
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether OpenVINO may run the file."""
        return self.verdict is not None and self.verdict.passed

    def to_dict(self) -> dict[str, Any]:
        """As a sidecar stores it."""
        return {
            "version": self.version,
            "passed": self.passed,
            "problem": self.problem,
            "gate": self.verdict and self.verdict.to_dict(),
        }

    def __str__(self) -> str:
        name = f"OpenVINO {self.version}"
        if self.verdict is None:
            return f"{name} cannot run it: {self.problem}"
        if self.passed:
            return f"{name} passes the same gate with it"
        exceeded = ", ".join(str(item) for item in self.verdict.judged if item.excess > 0)
        return f"{name} loses too much with it and is not used for it: {exceeded}"


def judge_on_openvino(
    content: bytes, spec: ModelSpec, target: Path, held_out: HeldOut, gate: Gate, seed: int
) -> OpenVINOVerdict | None:
    """Judge an INT8 file as OpenVINO runs it, on the tiles that judged it before.

    Quantized values are on steps, and a different rounding moves one to the next step, so no two
    programs agree exactly. OpenVINO's output is therefore judged like the file itself.

    Args:
        content: the file's bytes.
        spec: its description.
        target: its path, for messages; need not exist.
        held_out: the tiles of the final verdict.
        gate: what may be lost.
        seed: draws the images of the bootstrap.

    Returns:
        The verdict; None where this machine has no OpenVINO.
    """
    if not has_openvino():
        return None
    model = ModelFile(target, replace(spec, sha256=hashlib.sha256(content).hexdigest()), content)
    threads = default_threads()
    settings = OpenVINOSettings("f32", threads, 1 if spec.batch is None else None)
    found = version("openvino")
    try:
        with OpenVINORunner(model, settings, threads=threads) as runner:
            output = runner.infer(held_out.tiles.pixels)[:, 0]
    except EdgecrackError as error:
        return OpenVINOVerdict(found, None, error.problem)
    return OpenVINOVerdict(found, held_out.judge(gate, output, seed))
