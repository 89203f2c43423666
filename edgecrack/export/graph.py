"""From a checkpoint to ONNX with standard operators, checked against torch.

Input and output are bytes: `tiles` uint8 [N, 1, H, W] (preprocessed) and `crack` uint8
[N, 1, H, W], 255 = certain crack. Scaling, softmax and rounding are inside the graph, so whatever
runs the file needs no mean, scale or threshold. The check uses random tiles, and real ones from a
user's images.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME, Merge, ModelSpec, write_model
from edgecrack.data.datasets import read_image
from edgecrack.errors import ConfigError, ExportError
from edgecrack.export.border import Border, BorderDifference, border_difference
from edgecrack.export.lowering import LoweredNetwork, network_with_border
from edgecrack.model.unet import SIZE_MULTIPLE, CrackUNet
from edgecrack.model_target import check_model_target
from edgecrack.onnx_graph.graph_file import OPSET
from edgecrack.onnx_graph.precision import checked_half
from edgecrack.onnx_graph.tidy import check_operators, tidy
from edgecrack.prediction.inputs import find_images
from edgecrack.preprocess import PreprocessConfig, preprocess
from edgecrack.runtime.scales import ScalesConfig
from edgecrack.runtime.tiling import TilingConfig, plan_tiles
from edgecrack.settings import settings
from edgecrack.training.checkpoints import load_network

PARITY_LEVELS = 1  # largest difference from torch, of 255
_RANDOM_TILES = 4
_CALIBRATE = "edgecrack calibrate MODEL --data FOLDER -o FILE"


_Side = Annotated[int, Field(ge=16, le=4096, multiple_of=SIZE_MULTIPLE)]


@settings()
class ExportConfig:
    """How a checkpoint is exported.

    Attributes:
        tile_hw: height and width of a tile in pixels, multiples of 8, 16 to 4096. The border
            ratio of partial convolution is a constant of it.
        batch: tiles per call, 1 to 4096, or None for any number.
        precision: "fp32", or "fp16" for a graph that is typed FP16 throughout.
        border: "fused" omits the border ratio on the two finest scales, so that runtimes can fuse
            convolution and ReLU; "exact" computes what was trained.
        scales: frame sizes at which the model runs, see `runtime.scales`; None keeps the
            checkpoint's.
        merge: how the maps of several sizes are merged; None keeps the checkpoint's.
        threshold: crack probability from which a pixel counts, above 0 and below 1; None keeps
            the checkpoint's.
        temperature: divisor of the logits within the graph, 0.05 to 20: above 1, probabilities
            are less certain, in the same order. A kept threshold is adapted, so that the same
            pixels count.
    """

    tile_hw: Annotated[
        tuple[_Side, _Side], Field(description="sides that are multiples of 8, 16 to 4096")
    ] = (256, 256)
    batch: Annotated[int, Field(ge=1, le=4096, description='1 to 4096, or "dynamic"')] | None = None
    precision: Annotated[
        Literal["fp32", "fp16"],
        Field(description=f"fp32 or fp16; INT8 needs images: {_CALIBRATE}"),
    ] = "fp32"
    border: Border = "fused"
    scales: tuple[float, ...] | None = None
    merge: Merge | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    temperature: Annotated[float, Field(ge=0.05, le=20)] = 1.0

    def __post_init__(self) -> None:
        ScalesConfig(
            (1.0,) if self.scales is None else self.scales,
            "max" if self.merge is None else self.merge,
        )


def export_checkpoint(
    checkpoint: Path,
    target: Path,
    config: ExportConfig | None = None,
    real_tiles: Sequence[NDArray[np.uint8]] = (),
) -> ModelSpec:
    """Export a checkpoint, check the graph against torch, and write it with its sidecar.

    Args:
        checkpoint: `*.safetensors` with its sidecar.
        target: the ONNX file to write.
        config: tile, batch, precision and border.
        real_tiles: preprocessed uint8 [H, W] tiles for the check, in addition to random ones.

    Returns:
        The description in the sidecar.

    Raises:
        ConfigError: the target is the checkpoint itself, or does not end in .onnx.
        ModelFileError: the checkpoint is missing or damaged.
        ExportError: the graph has a foreign operator, or differs by more than 1/255 from torch in
            the same form.
        OutputError: the file cannot be written.
    """
    config = config or ExportConfig()
    check_model_target(target, (".onnx",), [checkpoint])
    network, spec = load_network(checkpoint)
    network = _at_temperature(network, config.temperature)
    model = build_onnx(network, config)
    check_operators(model)
    serialised = model.SerializeToString()
    meant = network_with_border(network, config.border)
    largest = measure_parity(meant, serialised, config, real_tiles)
    if largest > PARITY_LEVELS:
        raise ExportError(
            f"the graph differs from torch by {largest}/255", "report this with the checkpoint"
        )
    if config.temperature != 1:
        earlier = spec.extra.get("folded_temperature", 1.0)
        spec = dataclasses.replace(
            spec, extra={**spec.extra, "folded_temperature": earlier * config.temperature}
        )
    extra = {**spec.extra, "parity_levels": largest, "opset": OPSET, "border": config.border}
    tiles = _stack(_random_tiles(config.tile_hw), real_tiles)
    if config.border != "exact":
        extra["border_difference"] = _compare(meant, network, tiles).to_dict()
    if config.precision == "fp16":
        half = checked_half(model, tiles, config.batch)
        serialised = half.model.SerializeToString()
        extra["fp16"] = half.to_dict()
    return write_model(
        target,
        serialised,
        dataclasses.replace(
            spec,
            kind="onnx",
            tile_hw=config.tile_hw,
            batch=config.batch,
            precision=config.precision,
            scales=spec.scales if config.scales is None else config.scales,
            merge=spec.merge if config.merge is None else config.merge,
            threshold=_threshold(spec.threshold, config),
            parent_sha256=spec.sha256,
            extra=extra,
        ),
    )


def _threshold(own: float, config: ExportConfig) -> float:
    """The configured threshold, or the checkpoint's own, adapted to the temperature."""
    if config.threshold is not None or config.temperature == 1:
        return own if config.threshold is None else config.threshold
    logit = math.log(own / (1 - own)) / config.temperature
    return round(min(0.99, max(0.01, 1 / (1 + math.exp(-logit)))), 4)


def _at_temperature(network: CrackUNet, temperature: float) -> CrackUNet:
    """The network with its logits divided, by way of the fusion's weights."""
    if temperature == 1:
        return network
    result = copy.deepcopy(network)
    with torch.no_grad():
        for value in result.fuse.parameters():
            value.div_(temperature)
    return result


def _random_tiles(tile_hw: tuple[int, int]) -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng()
    return [generator.integers(0, 256, tile_hw, dtype=np.uint8) for _ in range(_RANDOM_TILES)]


def _compare(own: nn.Module, exact: nn.Module, tiles: NDArray[np.uint8]) -> BorderDifference:
    """The effect of omitting the border ratio on tiles, uint8 [N, 1, H, W]."""
    # One by one, so that memory use does not grow with their number.
    outputs = [
        np.concatenate([reference_output(item, torch.from_numpy(tile[None])) for tile in tiles])
        for item in (own, exact)
    ]
    return border_difference(outputs[0][:, 0], outputs[1][:, 0])


def _stack(
    random: Sequence[NDArray[np.uint8]], real: Sequence[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    return np.stack([*random, *real])[:, None]


def build_onnx(network: CrackUNet, config: ExportConfig) -> onnx.ModelProto:
    """The ONNX graph of a network for one tile size, with the border that is configured.

    Raises:
        ExportError: the exporter cannot express the network.
    """
    height, width = config.tile_hw
    meant = network_with_border(network.eval(), config.border)
    lowered = LoweredNetwork(meant, config.tile_hw).eval()
    # The exporter specialises a dimension of 1, so a dynamic batch is traced with 2.
    tiles = torch.zeros(config.batch or 2, 1, height, width, dtype=torch.uint8)
    dynamic = None if config.batch else {INPUT_NAME: {0: torch.export.Dim("batch", min=1)}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # meant for the exporter's developers
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            lowered,
            (tiles,),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            opset_version=OPSET,
            dynamic_shapes=dynamic,
            dynamo=True,
            optimize=True,
            verbose=False,
            external_data=False,
        )
    if program is None:
        raise ExportError("torch exported nothing", "install the versions in constraints.txt")
    return tidy(program.model_proto, config.batch)


def measure_parity(
    network: nn.Module,
    serialised: bytes,
    config: ExportConfig,
    real_tiles: Sequence[NDArray[np.uint8]] = (),
) -> int:
    """Largest difference between the graph in ONNX Runtime and the network in torch.

    Args:
        network: the reference, float in and logits out.
        serialised: the ONNX file's bytes.
        config: tile and batch of the graph.
        real_tiles: uint8 [H, W] tiles, in addition to new random ones.

    Returns:
        Difference in levels of 255.

    Raises:
        ConfigError: a real tile has another size.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(serialised, providers=["CPUExecutionProvider"])
    tiles = _random_tiles(config.tile_hw)
    for tile in real_tiles:
        if tile.shape != config.tile_hw:
            raise ConfigError(f"a real tile has shape {tile.shape}", f"give {config.tile_hw}")
        tiles.append(tile)
    batch = config.batch or 1
    largest = 0
    for tile in tiles:
        stack = np.repeat(tile[None, None], batch, axis=0)
        (found,) = session.run([OUTPUT_NAME], {INPUT_NAME: stack})
        expected = reference_output(network, torch.from_numpy(stack))
        largest = max(largest, int(np.abs(found.astype(int) - expected.astype(int)).max()))
    return largest


def reference_output(network: nn.Module, tiles: Tensor) -> NDArray[Any]:
    """The expected output of a graph, computed by its network: uint8 [N, 1, H, W]."""
    with torch.no_grad():
        logits = network(tiles.float() / 255.0)
        crack = torch.softmax(logits, dim=1)[:, 1:2]
    return np.asarray(torch.round(crack * 255.0).to(torch.uint8).numpy())


MAX_TILES = 8


def tiles_of_images(
    path: Path, config: PreprocessConfig, tile_hw: tuple[int, int], count: int = MAX_TILES
) -> list[NDArray[np.uint8]]:
    """The middle tile of up to `count` images, taken at even steps.

    Args:
        path: an image or a folder of images.
        config: how the model's frames are prepared.
        tile_hw: height and width of a tile in pixels.
        count: largest number of tiles, at least 1.

    Returns:
        Preprocessed tiles, uint8 [H, W] each.

    Raises:
        SourceError: the path does not exist or has no images.
        DataError: an image cannot be read.
    """
    found, _ = find_images([str(path)], out=path)
    files = [one.path for one in found if one.path is not None]
    tiles = []
    for file in files[:: -(-len(files) // count)]:
        frame = preprocess(read_image(file), config)
        plan = plan_tiles((frame.shape[0], frame.shape[1]), TilingConfig(tile_hw, 0))
        tiles.append(plan.cut(frame)[len(plan) // 2, 0])
    return tiles
