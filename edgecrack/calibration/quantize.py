"""From an FP32 graph and ranges to a Q/DQ graph: INT8 convolutions, the rest typed FP16.

Symmetric, per channel for weights and per tensor for activations, biases not quantized, as TensorRT
requires. ONNX Runtime's quantizer writes the graph.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from edgecrack.calibration.ranges import LEVELS
from edgecrack.errors import ExportError
from edgecrack.onnx_graph.precision import half_scale, to_half

QUANTIZED_OPERATORS = ("Conv",)
_PAIR = ("QuantizeLinear", "DequantizeLinear")


def quantizable_layers(model: onnx.ModelProto) -> list[str]:
    """Names of the layers that can run in INT8, in the order of the graph.

    Always left in FP16: transposed convolutions, since TensorRT's kernels expect their weight
    scales by input channel and silently give wrong results with scales by output channel
    (NVIDIA/TensorRT issue 2380); and depthwise convolutions and those with a single channel on one
    side, which do 0.2 % of the work and gain nothing.
    """
    shapes = {value.name: tuple(value.dims) for value in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in QUANTIZED_OPERATORS and min(shapes[node.input[1]][:2]) > 1
    ]


def layers_after_concat(model: onnx.ModelProto) -> list[str]:
    """Names of the quantizable layers that read a concatenation, in the order of the graph.

    OpenVINO 2026.4 computes wrong sums for them in INT8 (benchmarks/int8_backends.py). They are a
    hundredth of the work, so a file for CPUs keeps them in FP32.
    """
    joined = {node.output[0] for node in model.graph.node if node.op_type == "Concat"}
    return [name for name, tensor in layer_inputs(model).items() if tensor in joined]


def layer_inputs(model: onnx.ModelProto) -> dict[str, str]:
    """The tensor that feeds each quantizable layer."""
    layers = set(quantizable_layers(model))
    return {node.name: node.input[0] for node in model.graph.node if node.name in layers}


def quantize(
    model: onnx.ModelProto,
    ranges: Mapping[str, float],
    keep: Collection[str] = (),
    *,
    half: bool = True,
) -> onnx.ModelProto:
    """Quantize the convolutions of a graph.

    Args:
        model: the FP32 graph.
        ranges: for each input tensor of a convolution, the magnitude that INT8 covers.
        keep: names of layers that stay in floating point.
        half: type everything else as FP16; False keeps it FP32.

    Returns:
        A new graph.

    Raises:
        ExportError: every layer is kept, or a constant exceeds FP16's range.
    """
    layers = [name for name in quantizable_layers(model) if name not in set(keep)]
    if not layers:
        raise ExportError("no layer is left in INT8", "export with `precision` fp16 instead")
    quantized = _insert_pairs(model, ranges, layers)
    _spare_others(quantized, set(layers))
    _round_scales(quantized, model)
    return to_half(quantized) if half else quantized


def _insert_pairs(
    model: onnx.ModelProto, ranges: Mapping[str, float], layers: list[str]
) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    work = onnx.ModelProto()
    work.CopyFrom(model)
    spans = {
        name: TensorData(lowest=np.float32(-value), highest=np.float32(value))
        for name, value in ranges.items()
    }
    logging.getLogger().disabled, before = True, logging.getLogger().disabled
    try:
        quantizer = QDQQuantizer(
            work,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, spans),
            nodes_to_quantize=layers,
            nodes_to_exclude=[],
            op_types_to_quantize=list(QUANTIZED_OPERATORS),
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": list(QUANTIZED_OPERATORS),
            },
        )
        quantizer.quantize_model()
    finally:
        logging.getLogger().disabled = before
    quantizer.model.topological_sort()
    result: onnx.ModelProto = quantizer.model.model
    return result


def _spare_others(model: onnx.ModelProto, layers: Collection[str]) -> None:
    """Let only the INT8 layers read quantized tensors.

    ONNX Runtime rewires every reader. Shortcuts, skips, poolings and kept layers would lose
    accuracy without any gain.
    """
    producers = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        if node.name in layers or node.op_type in _PAIR:
            continue
        for index, name in enumerate(node.input):
            restore = producers.get(name)
            if restore is not None and restore.op_type == "DequantizeLinear":
                node.input[index] = producers[restore.input[0]].input[0]


def _round_scales(model: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Round scales to FP16 before anything runs, so that FP32 and FP16 files agree.

    A weight is then divided by the scale that it will be multiplied by. Otherwise a scale below
    FP16's normal range, as of tiny weights, would be raised into it later.
    """
    constants = {value.name: value for value in model.graph.initializer}
    weights = {value.name: value for value in original.graph.initializer}
    layers = {node.name: node for node in original.graph.node}
    producers = {node.output[0]: node for node in model.graph.node}
    for name in {node.input[1] for node in model.graph.node if node.op_type in _PAIR}:
        rounded = half_scale(numpy_helper.to_array(constants[name]))
        constants[name].CopyFrom(numpy_helper.from_array(rounded, name))
    for node in model.graph.node:
        restore = producers.get(node.input[1]) if node.op_type in QUANTIZED_OPERATORS else None
        if restore is not None:
            weight = numpy_helper.to_array(weights[layers[node.name].input[1]])
            steps = numpy_helper.to_array(constants[restore.input[1]])
            steps = np.expand_dims(steps, list(range(1, weight.ndim)))  # by output channel
            levels = np.clip(np.rint(weight / steps), -LEVELS, LEVELS).astype(np.int8)
            constants[restore.input[0]].CopyFrom(numpy_helper.from_array(levels, restore.input[0]))


def layer_work(model: onnx.ModelProto) -> dict[str, float]:
    """Multiplications of each convolution, transposed ones included, for one tile."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    shapes = {
        info.name: [item.dim_value for item in info.type.tensor_type.shape.dim]
        for info in (*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info)
    }
    weights = {item.name: list(item.dims) for item in model.graph.initializer}
    work = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            # Every weight is used once for each position of the smaller of the two maps.
            side = node.output[0] if node.op_type == "Conv" else node.input[0]
            work[node.name] = float(np.prod(weights[node.input[1]]) * np.prod(shapes[side][2:]))
    return work
