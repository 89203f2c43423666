"""A camera, its file, and a wall with a crack of known width for it to see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.artifacts import write_sidecar
from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.scale.camera_file import CameraFile, write_camera
from tests.runtime.fakes import frame, result_of
from tests.runtime.models import spec_of

HW = (120, 240)
FOCAL_PX = 500.0


def camera(**changes: object) -> CameraFile:
    matrix = np.array([[FOCAL_PX, 0, 119.5], [0, FOCAL_PX, 59.5], [0, 0, 1]])
    made = CameraFile(matrix, np.zeros(0), HW[::-1], "bench", 0.002)
    return replace(made, **changes)  # type: ignore[arg-type]


def camera_path(folder: Path, **changes: object) -> Path:
    path = folder / "camera.yaml"
    write_camera(path, camera(**changes))
    return path


def picture(seed: int = 0, hw: tuple[int, int] = HW) -> NDArray[np.uint8]:
    """A dark bar of 4 px along x on a noisy wall."""
    light = np.full(hw, 0.4)
    middle = hw[0] // 2
    light[middle - 2 : middle + 2, 20 : hw[1] - 20] = 0.06
    noise = np.random.default_rng(seed).normal(0, 2, hw)
    gray = 255 * cv2.GaussianBlur(light, (0, 0), 1.0) ** (1 / 2.2) + noise
    return np.dstack([np.clip(gray, 0, 255).astype(np.uint8)] * 3)


def wall(
    index: int = 0,
    *,
    live: bool = False,
    position: Position | None = None,
    hw: tuple[int, int] = HW,
) -> FrameResult:
    """The picture, and the mask of a detector that found the bar."""
    mask = np.zeros(hw, np.uint8)
    middle = hw[0] // 2
    mask[middle - 3 : middle + 3, 20 : hw[1] - 20] = 255
    taken = replace(frame(index, picture(index, hw)), live=live)
    return replace(result_of(taken), probability=mask, mask=mask, position=position)


def ranged(range_m: float | None, deviation_m: float | None = None) -> Position:
    return Position(1, range_m=range_m, range_deviation_m=deviation_m)


def write_dark_model(path: Path) -> Path:
    """A model that calls dark pixels crack, and nothing else."""
    onnx: Any = pytest.importorskip("onnx", reason="the export extra is not installed")
    spec = spec_of((128, 128))
    helper, kinds = onnx.helper, onnx.TensorProto
    shape = ["batch", 1, *spec.tile_hw]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["tiles"], ["light"], to=kinds.FLOAT),
            helper.make_node("Less", ["light", "limit"], ["is_dark"]),
            helper.make_node("Where", ["is_dark", "all", "nothing"], ["crack"]),
        ],
        "dark",
        [helper.make_tensor_value_info("tiles", kinds.UINT8, shape)],
        [helper.make_tensor_value_info("crack", kinds.UINT8, shape)],
        [
            helper.make_tensor("limit", kinds.FLOAT, [], [90.0]),
            helper.make_tensor("all", kinds.UINT8, [], [255]),
            helper.make_tensor("nothing", kinds.UINT8, [], [0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    write_sidecar(path, spec)
    return path
