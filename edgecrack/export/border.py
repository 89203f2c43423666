"""The border ratio of partial convolution in an FP32 graph: removed, restored, and its effect.

A partial convolution is Conv -> Mul by a constant that is 1 except on the outermost ring -> Add of
the bias. Runtimes do not fuse across these two, so they compute convolution and ReLU separately.
Without the ratio, the bias is part of Conv and ReLU follows directly. Both forms have the same
weights, so either can be made from the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecrack.constants import OVERLAP_PX
from edgecrack.errors import ConfigError, ExportError

Border = Literal["fused", "exact"]
"""`exact` computes what was trained; `fused` omits the ratio on the two finest scales."""
BORDERS: tuple[Border, ...] = get_args(Border)
FUSED_SCALES = 2
_KERNEL = 3
_Side = tuple[int, ...]


def parse_border(text: str) -> Border:
    """The form of that name.

    Raises:
        ConfigError: there is no such form.
    """
    for border in BORDERS:
        if text == border:
            return border
    raise ConfigError(f"the border is {text!r}", f"give one of: {', '.join(BORDERS)}")


def with_border(model: onnx.ModelProto, border: Border) -> onnx.ModelProto:
    """A copy of a graph in one of the two forms.

    Args:
        model: an FP32 graph as `edgecrack export` makes it, in either form.
        border: the form to make.

    Raises:
        ExportError: the graph has no partial convolution.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if not holds_ratio(result.graph):
        raise ExportError(
            "the graph has no partial convolution", "give an FP32 file of `edgecrack export`"
        )
    maps_hw = _maps_hw(result)
    if border == "fused":
        height, width = maps_hw[result.graph.input[0].name]
        fused_hw = [(height >> scale, width >> scale) for scale in range(FUSED_SCALES)]
        _take_out(result.graph, maps_hw, fused_hw)
    else:
        _put_in(result.graph, maps_hw)
    onnx.checker.check_model(result, full_check=True)
    return result


def holds_ratio(graph: onnx.GraphProto) -> dict[str, bool]:
    """The graph's partial convolutions by name, in order, and whether each has its ratio."""
    kernels = {item.name: tuple(item.dims[2:]) for item in graph.initializer}
    return {
        node.name: len(node.input) == 2
        for node in graph.node
        if node.op_type == "Conv" and kernels.get(node.input[1]) == (_KERNEL, _KERNEL)
    }


def _maps_hw(model: onnx.ModelProto) -> dict[str, _Side]:
    """Height and width of every map."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return {
        info.name: tuple(item.dim_value for item in info.type.tensor_type.shape.dim[2:])
        for info in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    }


def _take_out(
    graph: onnx.GraphProto, maps_hw: Mapping[str, _Side], sides: Collection[_Side]
) -> None:
    """Remove the ratio from the partial convolutions whose maps have one of these sizes."""
    scaled = holds_ratio(graph)
    readers = {name: node for node in graph.node for name in node.input}
    constants = {item.name: item for item in graph.initializer}
    for node in list(graph.node):  # a copy: nodes are removed on the way
        if not scaled.get(node.name) or maps_hw[node.output[0]] not in sides:
            continue
        multiply = readers[node.output[0]]
        add = readers[multiply.output[0]]
        bias = next(constants[name] for name in add.input if name in constants)
        _reshape(bias, (-1,))
        node.input.append(bias.name)
        node.output[0] = add.output[0]
        graph.node.remove(multiply)
        graph.node.remove(add)
    used = {name for node in graph.node for name in node.input}
    for item in [item for item in graph.initializer if item.name not in used]:
        graph.initializer.remove(item)


def _put_in(graph: onnx.GraphProto, maps_hw: Mapping[str, _Side]) -> None:
    """Restore the ratio of every partial convolution."""
    scaled = holds_ratio(graph)
    constants = {item.name: item for item in graph.initializer}
    nodes = []
    for node in graph.node:
        nodes.append(node)
        if scaled.get(node.name, True):
            continue
        height, width = maps_hw[node.output[0]]
        ratio, bias, result = f"border_ratio_{height}x{width}", node.input.pop(), node.output[0]
        if ratio not in constants:
            constants[ratio] = numpy_helper.from_array(border_ratio(height, width), ratio)
            graph.initializer.append(constants[ratio])
        _reshape(constants[bias], (-1, 1, 1))
        convolved, multiplied = f"{result}_convolved", f"{result}_scaled"
        node.output[0] = convolved
        nodes += [
            onnx.helper.make_node("Mul", [convolved, ratio], [multiplied], f"{node.name}.mul"),
            onnx.helper.make_node("Add", [multiplied, bias], [result], f"{node.name}.add"),
        ]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def border_ratio(height: int, width: int) -> NDArray[np.float32]:
    """Kernel size over the taps inside the map, float32 [1, 1, height, width]."""
    taps_y, taps_x = np.full(height, _KERNEL), np.full(width, _KERNEL)
    for taps in (taps_y, taps_x):
        taps[0] -= 1
        taps[-1] -= 1
    ratio = _KERNEL**2 / (taps_y[:, None] * taps_x[None, :])
    return np.asarray(ratio[None, None], dtype=np.float32)


def _reshape(constant: onnx.TensorProto, shape: tuple[int, ...]) -> None:
    values = numpy_helper.to_array(constant).reshape(shape)
    constant.CopyFrom(numpy_helper.from_array(values, constant.name))


IGNORED_PX = OVERLAP_PX // 4  # of a tile's side with a neighbour, which blending ignores
_SAME_LEVELS = 1  # of 255


@dataclass(frozen=True)
class BorderDifference:
    """Two outputs compared on the outermost 8 px of their tiles, and inside.

    Attributes:
        tiles: number of tiles.
        share_at_border: share of the border pixels that differ by more than 1/255, 0 to 1.
        share_inside: the same inside.
        mean_at_border: mean difference at the border, in levels of 255.
        mean_inside: the same inside.
        largest_at_border: largest difference at the border, in levels of 255.
        largest_inside: the same inside.
        reach_px: all pixels that differ by more than 1/255 are closer to the border than this.
    """

    tiles: int
    share_at_border: float
    share_inside: float
    mean_at_border: float
    mean_inside: float
    largest_at_border: int
    largest_inside: int
    reach_px: int

    def to_dict(self) -> dict[str, float]:
        """The figures as a sidecar stores them."""
        return {name: round(value, 5) for name, value in asdict(self).items()}


def depth_px(height: int, width: int) -> NDArray[np.int64]:
    """Distance of each pixel from the nearest side, int64 [height, width], 0 at the border."""
    rows, columns = (np.minimum(np.arange(n), n - 1 - np.arange(n)) for n in (height, width))
    return np.asarray(np.minimum(rows[:, None], columns[None, :]), np.int64)


def border_difference(own: NDArray[np.uint8], exact: NDArray[np.uint8]) -> BorderDifference:
    """Compare two outputs, uint8 [N, H, W] each."""
    levels = np.abs(own.astype(np.int16) - exact.astype(np.int16))
    depth = depth_px(*levels.shape[1:])
    zones = [levels[:, depth < IGNORED_PX], levels[:, depth >= IGNORED_PX]]
    shares = [float((zone > _SAME_LEVELS).mean()) if zone.size else 0.0 for zone in zones]
    means = [float(zone.mean()) if zone.size else 0.0 for zone in zones]
    largest = [int(zone.max(initial=0)) for zone in zones]
    changed = depth[(levels > _SAME_LEVELS).any(axis=0)]
    reach_px = int(changed.max(initial=-1)) + 1
    return BorderDifference(
        len(levels),
        share_at_border=shares[0],
        share_inside=shares[1],
        mean_at_border=means[0],
        mean_inside=means[1],
        largest_at_border=largest[0],
        largest_inside=largest[1],
        reach_px=reach_px,
    )
