"""Opens a model file as a function from a frame to a probability map; maps are cached on disk.

The model runs by one of the protocols of `protocols.py`. torch is imported only for checkpoints.
Maps are cached because examples are drawn after scoring, and they may not all fit into memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import ModelFile, ModelSpec, read_model_file
from edgecrack.data.patches import PAPER_PATCH_PX, PatchStride, average_patches
from edgecrack.errors import ConfigError
from edgecrack.evaluation.image_results import Predict
from edgecrack.evaluation.protocols import PredictionConfig, Protocol
from edgecrack.extras import require
from edgecrack.files import write_png
from edgecrack.images.nodata import masked_pixels
from edgecrack.preprocess import without_nodata
from edgecrack.runtime.detector import CrackDetector, open_detector


class CachedPredictor:
    """Calls another predictor once per image and caches its result.

    Args:
        predict: the other predictor.
        folder: an existing, empty folder for the maps; the caller removes it.
    """

    def __init__(self, predict: Predict, folder: Path) -> None:
        self._predict = predict
        self._folder = folder

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] BGR -> uint8 [H, W], 255 = certain crack."""
        content = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=20)
        hidden = masked_pixels(image)
        if hidden is not None:
            content.update(np.packbits(hidden).data)
        path = self._folder / f"{content.hexdigest()}-{image.shape[1]}x{image.shape[0]}.png"
        if path.exists():
            found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if found is not None and found.shape == image.shape[:2]:
                return np.asarray(found, np.uint8)
        probability = self._predict(image)
        if probability.dtype == np.uint8 and probability.shape == image.shape[:2]:
            write_png(path, probability, durable=False)  # the caller refuses anything else
        return probability


@dataclass(frozen=True)
class OpenModel:
    """A model ready to predict.

    Attributes:
        predict: from a BGR frame to a probability map.
        spec: the model's description.
        protocol: how it is run, in words for a report.
    """

    predict: Predict
    spec: ModelSpec
    protocol: str


def open_model(model: Path, config: PredictionConfig, stack: ExitStack) -> OpenModel:
    """Open a checkpoint, an ONNX file or an engine.

    Args:
        model: the file, with its sidecar.
        config: how to run it.
        stack: closes the model.

    Raises:
        ModelFileError: the file cannot be used.
        ConfigError: the model cannot be run in this way.
        MissingDependencyError: a checkpoint needs packages that are not installed.
    """
    file = read_model_file(model)  # once, so that the report names the model that is scored
    opener = _open_checkpoint if file.spec.kind == "checkpoint" else _open_onnx
    return opener(file, config, stack)


def _open_checkpoint(file: ModelFile, config: PredictionConfig, stack: ExitStack) -> OpenModel:
    spec = file.spec
    for module in ("torch", "lightning", "safetensors"):
        require(module, extra="train", purpose="evaluating a checkpoint")
    from edgecrack.training import predictor

    network = predictor.CheckpointNetwork(file, device=config.device, precision=config.precision)
    where = "torch" if network.device.type == "cpu" else f"torch, {network.device.type}"
    where += f", {config.precision}" if config.precision != "32" else ""
    protocol = config.protocol or Protocol("whole")
    if protocol.name == "whole":
        return OpenModel(predictor.CheckpointPredictor(network), spec, f"whole image, {where}")
    if protocol.name == "tiled":
        runner = predictor.CheckpointRunner(network)
        detector = stack.enter_context(CrackDetector(runner, file.path.name))
        return OpenModel(_detect(detector), spec, f"{_tiles(runner.spec)}, {where}")
    patches = _patches(spec, protocol, config)
    predict = predictor.PatchPredictor(network, patches)
    return OpenModel(predict, spec, f"{_describe(patches)}, {where}")


def _open_onnx(file: ModelFile, config: PredictionConfig, stack: ExitStack) -> OpenModel:
    model, spec = file.path, file.spec
    for option, value, usual in (
        ("device", config.device, ("auto", "cpu")),
        ("precision", config.precision, ("32",)),
    ):
        if value not in usual:
            raise ConfigError(
                f"`{option}` {value} is for checkpoints, and {model} is a model of kind"
                f" {spec.kind!r}",
                f"leave out `{option}`, or evaluate the checkpoint",
            )
    protocol = config.protocol or Protocol("tiled")
    if protocol.name == "whole":
        raise ConfigError(
            f"{model} cannot see whole images: it takes tiles of {_size(spec)} px",
            "give `protocol` tiled, or evaluate the checkpoint",
        )
    if protocol.name == "tiled":
        detector = stack.enter_context(open_detector(file))
        return OpenModel(_detect(detector), spec, _tiles(spec))
    patches = _patches(spec, protocol, config)
    side = patches.patch_px
    if spec.tile_hw != (side, side):
        raise ConfigError(
            f"{model} takes tiles of {_size(spec)} px and the patches are {side}x{side} px",
            f"export it with `tile_hw` {side}, evaluate the checkpoint, or give another `patch_px`",
        )
    detector = stack.enter_context(open_detector(file))

    def predict(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        prepared = detector.prepare(image)
        mean = average_patches(np.asarray(prepared), patches, detector.runner.infer)
        return without_nodata(mean, prepared)

    return OpenModel(predict, spec, _describe(patches))


def _detect(detector: CrackDetector) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    return lambda image: detector.probability_of(image)


def _patches(spec: ModelSpec, protocol: Protocol, config: PredictionConfig) -> PatchStride:
    side = config.patch_px or _trained_patch_px(spec) or PAPER_PATCH_PX
    return PatchStride(side, protocol.stride_px or PatchStride.stride_px)


def _trained_patch_px(spec: ModelSpec) -> int | None:
    """The side of a model's training patches, if its sidecar has it."""
    recipe = spec.extra.get("training")
    patches = recipe.get("patches") if isinstance(recipe, Mapping) else None
    side = patches.get("patch_px") if isinstance(patches, Mapping) else None
    return side if isinstance(side, int) else None


def _size(spec: ModelSpec) -> str:
    return f"{spec.tile_hw[1]}x{spec.tile_hw[0]}"


def _tiles(spec: ModelSpec) -> str:
    scales = ""
    if spec.scales != (1.0,):
        scales = f" at scales {', '.join(f'{scale:g}' for scale in spec.scales)} ({spec.merge})"
    return f"{_size(spec)} px tiles{scales}, preprocessed once per frame"


def _describe(patches: PatchStride) -> str:
    side, stride = patches.patch_px, patches.stride_px
    return f"mean over {side}x{side} px patches at stride {stride} px"
