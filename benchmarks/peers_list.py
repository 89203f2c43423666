"""Which peers `peers.py` compares with edgecrack, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.peers_runs import (
    CHECKPOINT,
    PAPER_MODEL,
    UNET_MODEL,
    OpenPeer,
    bare_onnxruntime,
    bare_openvino,
    edgecrack,
    mean_at_stride_1,
    network_in_torch,
    sliding_windows,
    tiles_alone,
    unet,
)
from edgecrack.runtime.backends.openvino_runner import has_openvino, import_openvino


@dataclass(frozen=True)
class Peer:
    """A peer before it is opened.

    Attributes:
        words: what a person calls it.
        imports: imports what it needs, before memory is counted.
        open: from the folder of this run and a number of threads to what runs.
        package: what it needs beside edgecrack's extras, or "".
        made: the file that has to be made for it, one of `MADE`, or "".
    """

    words: str
    imports: Callable[[], object]
    open: Callable[[Path, int], OpenPeer]
    package: str = ""
    made: str = ""


def _nothing() -> None:
    """Everything is imported already."""


def _default_imports() -> None:
    if has_openvino():
        import_openvino()


def _monai_imports() -> None:
    importlib.import_module("monai.inferers")


def _torch_imports() -> None:
    import torch  # noqa: F401

    import edgecrack.training.predictor  # noqa: F401


def _monai_and_torch_imports() -> None:
    _monai_imports()
    _torch_imports()


BASE, SAME_RUNTIME = "edgecrack", "edgecrack-onnxruntime"

PEERS: dict[str, Peer] = {
    BASE: Peer("edgecrack as it comes", _default_imports, partial(edgecrack, backend="auto")),
    SAME_RUNTIME: Peer(
        "edgecrack, ONNX Runtime", _nothing, partial(edgecrack, backend="onnxruntime")
    ),
    "edgecrack-openvino": Peer(
        "edgecrack, OpenVINO", import_openvino, partial(edgecrack, backend="openvino")
    ),
    "edgecrack-openvino-bf16": Peer(
        "edgecrack, OpenVINO bfloat16", import_openvino, partial(edgecrack, backend="openvino-bf16")
    ),
    "edgecrack-tiler": Peer("edgecrack's tiles alone, without a network", _nothing, tiles_alone),
    "bare-onnxruntime": Peer("bare ONNX Runtime, tiles cut beforehand", _nothing, bare_onnxruntime),
    "bare-openvino": Peer(
        "bare OpenVINO as it comes, tiles cut beforehand", import_openvino, bare_openvino
    ),
    "bare-openvino-f32": Peer(
        "bare OpenVINO in float32, tiles cut beforehand",
        import_openvino,
        partial(bare_openvino, INFERENCE_PRECISION_HINT="f32"),
    ),
    "monai-onnxruntime": Peer(
        "MONAI's sliding windows as they come, ONNX Runtime",
        _monai_imports,
        partial(sliding_windows, network="onnxruntime"),
        package="monai",
    ),
    "monai-onnxruntime-gaussian": Peer(
        "MONAI's sliding windows, gaussian and mirrored, ONNX Runtime",
        _monai_imports,
        partial(sliding_windows, network="onnxruntime", mode="gaussian", padding_mode="reflect"),
        package="monai",
    ),
    "monai-torch": Peer(
        "MONAI's sliding windows, gaussian and mirrored, torch",
        _monai_and_torch_imports,
        partial(sliding_windows, network="torch", mode="gaussian", padding_mode="reflect"),
        package="monai",
        made=CHECKPOINT,
    ),
    "torch": Peer(
        "edgecrack's network in torch, its tiles",
        _torch_imports,
        partial(network_in_torch, compiled=False),
        made=CHECKPOINT,
    ),
    "torch-compiled": Peer(
        "the same under `torch.compile`",
        _torch_imports,
        partial(network_in_torch, compiled=True),
        made=CHECKPOINT,
    ),
    "unet-torch": Peer(
        "plain U-Net on ResNet-34, torch", _torch_imports, partial(unet, network="torch")
    ),
    "unet-onnxruntime": Peer(
        "plain U-Net on ResNet-34, ONNX Runtime",
        _nothing,
        partial(unet, network="onnxruntime"),
        made=UNET_MODEL,
    ),
    "unet-openvino": Peer(
        "plain U-Net on ResNet-34, OpenVINO as it comes",
        import_openvino,
        partial(unet, network="openvino"),
        made=UNET_MODEL,
    ),
    "paper-torch": Peer(
        "the paper's mean at stride 1, torch",
        _torch_imports,
        partial(mean_at_stride_1, network="torch"),
        made=CHECKPOINT,
    ),
    "paper-onnxruntime": Peer(
        "the paper's mean at stride 1, ONNX Runtime",
        _nothing,
        partial(mean_at_stride_1, network="onnxruntime"),
        made=PAPER_MODEL,
    ),
}
