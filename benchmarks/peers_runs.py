"""The peers of `peers.py`: each a way from a prepared frame to a crack map.

Those with the same weights get the same sizes of the same frames as edgecrack does, with the same
overlap, and merge their maps as it does. Each imports what it needs inside its own functions, so
that the memory of one process is that of one peer.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers_frames import Frame, Image
from edgecrack.artifacts import INPUT_NAME, read_model_file
from edgecrack.constants import OVERLAP_PX
from edgecrack.data.patches import PAPER_PATCH_PX, PatchStride, average_patches, plan_patches
from edgecrack.runtime.backends.onnx_runtime import default_threads
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.runtime.backends.openvino_runner import import_openvino
from edgecrack.runtime.detector import open_detector
from edgecrack.runtime.scales import (
    ScaledPlan,
    ScalesConfig,
    merged,
    parse_merge,
    plan_scales,
    resized,
)
from edgecrack.runtime.tiling import TilingConfig

# isort: split
import onnxruntime

BATCH = 4  # tiles per call of what runs them as it comes
CHECKPOINT, PAPER_MODEL, UNET_MODEL = "checkpoint.safetensors", "paper.onnx", "unet-{}x{}.onnx"
_STRIDE_1 = PatchStride(PAPER_PATCH_PX, 1)
SIZE_MULTIPLE = 8  # the network halves a frame three times
UNET_MULTIPLE = 32  # it halves a frame five times
_TIMED_PX = 64  # side of the part of a frame on which stride 1 is timed
_COMPARED_PX = 32  # side of the part on which its map is compared: 126 px are computed for it

Tiles = NDArray[np.uint8]
Infer = Callable[[Tiles], Tiles]


def _given(frame: Frame) -> Image:
    return frame.prepared


def _whole(frame: Frame, output: Any) -> tuple[Image, Image]:
    return np.asarray(output, np.uint8), frame.reference


@dataclass(frozen=True)
class OpenPeer:
    """A peer that is ready to run.

    Attributes:
        run: what is timed, on what `ready` gave.
        ready: what is done before the clock starts.
        compared: after the clock, of the frame and what `run` gave: the peer's map and
            edgecrack's, of the same part; None where there is nothing to compare.
        part: of a frame: which share of its work `run` does.
    """

    run: Callable[[Any], Any]
    ready: Callable[[Frame], Any] = _given
    compared: Callable[[Frame, Any], tuple[Image, Image] | None] = _whole
    part: Callable[[Frame], float] = lambda frame: 1.0


def plan_of(prepared: Image) -> ScaledPlan:
    """The bundled model's tiles of a frame, as the detector has them."""
    spec = read_model_file(BUNDLED_MODEL).spec
    scales = ScalesConfig(spec.scales, parse_merge(spec.merge))
    frame_hw = (prepared.shape[0], prepared.shape[1])
    return plan_scales(frame_hw, scales, TilingConfig(spec.tile_hw, OVERLAP_PX))


# edgecrack itself


def edgecrack(work: Path, threads: int, *, backend: str) -> OpenPeer:
    detector = open_detector(BUNDLED_MODEL, threads=threads, backend=backend)
    return OpenPeer(detector.infer)


def tiles_alone(work: Path, threads: int) -> OpenPeer:
    def run(prepared: Image) -> Image:
        plan = plan_of(prepared)
        return plan.stitch(plan.cut(prepared))

    return OpenPeer(run, compared=lambda frame, output: None)


# The runtimes alone, on tiles that are cut before and blended after the clock


def _on_tiles(infer: Infer) -> OpenPeer:
    return OpenPeer(
        run=lambda tiles: np.concatenate(
            [infer(tiles[first : first + BATCH]) for first in range(0, len(tiles), BATCH)]
        ),
        ready=lambda frame: plan_of(frame.prepared).cut(frame.prepared),
        compared=lambda frame, output: _whole(frame, plan_of(frame.prepared).stitch(output)),
    )


def _session(model: Path, threads: int) -> Infer:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return lambda tiles: np.asarray(session.run(None, {INPUT_NAME: tiles})[0])


def _compiled(model: Path, threads: int, **settings: str) -> Infer:
    core = import_openvino().Core()
    options = {"INFERENCE_NUM_THREADS": str(threads), **settings}
    compiled = core.compile_model(core.read_model(model.read_bytes()), "CPU", options)
    return lambda tiles: np.array(compiled([tiles])[0])


def bare_onnxruntime(work: Path, threads: int) -> OpenPeer:
    return _on_tiles(_session(BUNDLED_MODEL, threads))


def bare_openvino(work: Path, threads: int, **settings: str) -> OpenPeer:
    return _on_tiles(_compiled(BUNDLED_MODEL, threads, **settings))


# MONAI's sliding windows


def sliding_windows(work: Path, threads: int, *, network: str, **settings: str) -> OpenPeer:
    """`sliding_window_inference` at each size that edgecrack takes, merged as edgecrack does."""
    import torch

    torch.set_num_threads(threads)
    window = importlib.import_module("monai.inferers").sliding_window_inference
    tile_hw = read_model_file(BUNDLED_MODEL).spec.tile_hw
    infer = _session(BUNDLED_MODEL, threads) if network == "onnxruntime" else _eager(work, threads)

    def predict(batch: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(infer(batch.to(torch.uint8).numpy())).float()

    def run(prepared: Image) -> Image:
        plan = plan_of(prepared)
        maps = []
        for level in plan.levels:
            pixels = torch.from_numpy(resized(prepared, level.frame_hw))[None, None].float()
            with torch.inference_mode():
                found = window(
                    pixels, tile_hw, BATCH, predict, overlap=OVERLAP_PX / tile_hw[0], **settings
                )
            maps.append(found[0, 0].round().to(torch.uint8).numpy())
        return merged(maps, plan.frame_hw, plan.merge)

    return OpenPeer(run)


# edgecrack's network in torch, with edgecrack's tiles


def _eager(work: Path, threads: int, tile_hw: tuple[int, int] = (256, 256), *,
           compiled: bool = False, border: str = "fused") -> Infer:  # fmt: skip
    """The network in the form of the model file, in the batches that `evaluate` takes."""
    import torch

    from edgecrack.export.border import parse_border
    from edgecrack.export.lowering import network_with_border
    from edgecrack.training.predictor import CheckpointNetwork, CheckpointRunner

    torch.set_num_threads(threads)
    network = CheckpointNetwork(work / CHECKPOINT, device="cpu")
    network.network = network_with_border(network.network, parse_border(border))
    if compiled:
        network.network = torch.compile(network.network)
    return CheckpointRunner(network, tile_hw).infer


def network_in_torch(work: Path, threads: int, *, compiled: bool) -> OpenPeer:
    infer = _eager(work, threads, compiled=compiled)

    def run(prepared: Image) -> Image:
        plan = plan_of(prepared)
        return plan.stitch(infer(plan.cut(prepared)))

    return OpenPeer(run)


def seamless_network(work: Path) -> Callable[[Image], Image]:
    """The network on whole frames at each size that edgecrack takes, merged as edgecrack does.

    Without tiles there are no seams, so it favours no way of blending them.
    """

    def map_of(prepared: Image) -> Image:
        plan = plan_of(prepared)
        maps = []
        for level in plan.levels:
            height, width = level.frame_hw
            missing = [(0, -side % SIZE_MULTIPLE) for side in level.frame_hw]
            pixels = np.pad(resized(prepared, level.frame_hw), missing, mode="symmetric")
            infer = _eager(work, default_threads(), (pixels.shape[0], pixels.shape[1]))
            maps.append(np.ascontiguousarray(infer(pixels[None, None])[0, 0, :height, :width]))
        return merged(maps, plan.frame_hw, plan.merge)

    return map_of


# The paper's test: the mean over patches of 48 px at every position, at full size


def mean_of_patches(infer: Infer, *, is_compared: bool = True) -> OpenPeer:
    """On a part of each frame; its map is compared with edgecrack's at the frame's own size."""
    margin = PAPER_PATCH_PX - 1

    def compared(frame: Frame, output: Any) -> tuple[Image, Image] | None:
        # Of the inner part, every patch that covers a pixel lies within the crop.
        side = _COMPARED_PX + 2 * margin
        if not is_compared or min(frame.prepared.shape) < side:
            return None
        rows, columns = frame.part(side)
        found = average_patches(frame.prepared[rows, columns], _STRIDE_1, infer)
        inner = slice(margin, margin + _COMPARED_PX)
        return found[inner, inner], frame.full_size[rows, columns][inner, inner]

    def part(frame: Frame) -> float:
        shape = (frame.prepared.shape[0], frame.prepared.shape[1])
        whole = plan_patches(shape, _STRIDE_1)
        return len(plan_patches((_TIMED_PX, _TIMED_PX), _STRIDE_1)) / len(whole)

    return OpenPeer(
        run=lambda crop: average_patches(crop, _STRIDE_1, infer),
        ready=lambda frame: np.ascontiguousarray(frame.prepared[frame.part(_TIMED_PX)]),
        compared=compared,
        part=part,
    )


def mean_at_stride_1(work: Path, threads: int, *, network: str) -> OpenPeer:
    if network == "onnxruntime":
        return mean_of_patches(_session(work / PAPER_MODEL, threads))
    patch_hw = (PAPER_PATCH_PX, PAPER_PATCH_PX)
    # The file was compared with this network when it was exported; comparing takes it minutes.
    return mean_of_patches(_eager(work, threads, patch_hw, border="exact"), is_compared=False)


# A plain U-Net of another size, on the whole frame at once


def unet_shape(frame_hw: tuple[int, ...]) -> tuple[int, int]:
    """A frame's height and width, each filled up to a multiple of what the network halves."""
    height, width = (-(-side // UNET_MULTIPLE) * UNET_MULTIPLE for side in frame_hw)
    return height, width


def _unet_in_torch(threads: int) -> Infer:
    import torch

    from benchmarks.plain_unet import plain_unet

    torch.set_num_threads(threads)
    network = plain_unet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def infer(tiles: Tiles) -> Tiles:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(tiles)).numpy())

    return infer


def unet(work: Path, threads: int, *, network: str) -> OpenPeer:
    opened: dict[tuple[int, int], Infer] = {}

    eager = _unet_in_torch(threads) if network == "torch" else None

    def infer_of(shape: tuple[int, int]) -> Infer:
        if eager is not None:
            return eager
        if shape not in opened:
            opening = _session if network == "onnxruntime" else _compiled
            opened[shape] = opening(work / UNET_MODEL.format(*shape), threads)
        return opened[shape]

    def run(prepared: Image) -> Image:
        shape = unet_shape(prepared.shape)
        missing = [(0, whole - own) for whole, own in zip(shape, prepared.shape, strict=True)]
        output = infer_of(shape)(np.pad(prepared, missing, mode="symmetric")[None, None])
        return output[0, 0, : prepared.shape[0], : prepared.shape[1]]

    return OpenPeer(run, compared=lambda frame, output: None)
