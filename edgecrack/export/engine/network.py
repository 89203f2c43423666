"""From an ONNX file's bytes to a strongly typed TensorRT network, its shapes, and its precision.

Strong typing makes TensorRT keep every tensor's type as in the file, on every version. The types
are counted in TensorRT's own network after parsing, which is what the builder receives.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME, ModelSpec
from edgecrack.errors import ExportError
from edgecrack.nvidia.tensorrt_module import BuildLog, TensorRT

_REMEDY = "export the model again with `edgecrack export`, with a single file and no custom nodes"


@dataclass(frozen=True)
class ParsedNetwork:
    """A network and the parser that must live as long.

    Attributes:
        network: TensorRT's INetworkDefinition.
        parser: the parser, which owns the network's weights.
    """

    network: Any
    parser: Any


def parse_network(
    tensorrt: TensorRT, builder: Any, logger: Any, log: BuildLog, model: bytes
) -> ParsedNetwork:
    """Parse an ONNX model.

    Weights must be inside the file; files beside it are covered by no hash and are not read.

    Args:
        tensorrt: the TensorRT that parses.
        builder: its Builder.
        logger: its logger, which fills `log`.
        log: TensorRT's messages.
        model: the file's bytes.

    Raises:
        ExportError: TensorRT cannot parse it; all refused nodes are named.
    """
    trt = tensorrt.module
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        found = [_describe(parser.get_error(index)) for index in range(parser.num_errors)]
        reason = "; ".join(dict.fromkeys(found)) or log.reason()
        raise ExportError(
            f"{tensorrt.flavour} {tensorrt.version} cannot read the ONNX file: {reason}", _REMEDY
        )
    return ParsedNetwork(network, parser)


def check_interface(tensorrt: TensorRT, network: Any, spec: ModelSpec) -> None:
    """Check that a network's input and output match the sidecar and the contract.

    Raises:
        ExportError: it has other inputs or outputs, or their shapes or types differ.
    """
    uint8 = tensorrt.module.DataType.UINT8
    height, width = spec.tile_hw
    shape = (-1 if spec.batch is None else spec.batch, 1, height, width)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    for what, tensors, name in (("takes", inputs, INPUT_NAME), ("gives", outputs, OUTPUT_NAME)):
        found = [(tensor.name, tensor.dtype, tuple(tensor.shape)) for tensor in tensors]
        if found != [(name, uint8, shape)]:
            raise ExportError(
                f"the ONNX file {what} {_list(found)}, and its sidecar says "
                f"{_list([(name, uint8, shape)])}",
                _REMEDY,
            )


def set_shapes(
    builder: Any, builder_config: Any, network: Any, batch: tuple[int, int, int]
) -> None:
    """Fix the batch of a network, or set the range that TensorRT must support.

    Args:
        builder: TensorRT's Builder.
        builder_config: its IBuilderConfig.
        network: its INetworkDefinition, with a dynamic or a fixed batch.
        batch: least, best and most tiles per call.

    Raises:
        ExportError: TensorRT refuses the range.
    """
    tensor = network.get_input(0)
    tile = tuple(tensor.shape)[1:]
    least, best, most = batch
    if least == most:
        tensor.shape = (most, *tile)
        return
    profile = builder.create_optimization_profile()
    profile.set_shape(tensor.name, (least, *tile), (best, *tile), (most, *tile))
    if builder_config.add_optimization_profile(profile) < 0:
        raise ExportError(f"TensorRT refuses {batch} tiles per call", "give other numbers")


def _describe(parser_error: Any) -> str:
    """One error of the parser: operator, node and message."""
    message = " ".join(parser_error.desc().split())
    if not parser_error.node_operator():
        return message
    return f"{parser_error.node_operator()} {parser_error.node_name()!r} ({message})"


def _list(tensors: list[tuple[str, Any, tuple[int, ...]]]) -> str:
    if not tensors:
        return "nothing"
    return ", ".join(
        f"{name} {getattr(dtype, 'name', dtype)} {list(shape)}" for name, dtype, shape in tensors
    )


ISLANDS = "fp32_islands"
_SHOWN_NAMES = 5
_ONNX_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
# Integer types of shapes, masks, and the network's input and output.
_NEUTRAL = frozenset({"INT32", "INT64", "BOOL", "UINT8"})
_ALLOWED: Mapping[str, frozenset[str]] = {
    "fp32": frozenset({"FLOAT"}),
    "fp16": frozenset({"HALF"}),
    "int8": frozenset({"HALF", "INT8"}),
}


@dataclass(frozen=True)
class TensorTypes:
    """The data types that a network computes in.

    Attributes:
        layers: number of layers.
        convolutions: convolutions, transposed ones included, by the type they compute in:
            "FLOAT", "HALF" or "INT8".
        tensors: outputs of layers by type, without scales and zero points of Q/DQ pairs.
        foreign: names of layers whose output has a type that the precision does not allow.
    """

    layers: int
    convolutions: Mapping[str, int]
    tensors: Mapping[str, int]
    foreign: tuple[str, ...] = ()

    def summary(self) -> str:
        """The counts as a clause, as in "42 convolutions: 40 INT8, 2 HALF; 300 tensors: ..."."""
        parts = []
        for what, counts in (("convolutions", self.convolutions), ("tensors", self.tensors)):
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
            parts.append(f"{sum(counts.values())} {what}" + (f": {kinds}" if kinds else ""))
        return "; ".join(parts)


def check_precision(tensorrt: TensorRT, network: Any, spec: ModelSpec) -> TensorTypes:
    """Count the types of a network and compare them with the sidecar.

    FP32 allows FLOAT alone; FP16 HALF alone; INT8 requires convolutions whose input comes from a
    Q/DQ pair and allows HALF for the rest. Nodes that the sidecar lists as `fp32_islands`
    (names of ONNX nodes, casts included) may output FLOAT in FP16 and INT8.

    Args:
        tensorrt: the TensorRT that parsed.
        network: its strongly typed INetworkDefinition.
        spec: the ONNX file's sidecar.

    Raises:
        ExportError: the network has another precision; the message contains the counts.
    """
    islands = frozenset(str(name) for name in spec.extra.get(ISLANDS, ()))
    types = count_types(tensorrt, network, _ALLOWED[spec.precision], islands)
    problem = None
    if not types.convolutions:
        problem = "has no convolution"
    elif spec.precision == "int8" and not types.convolutions.get("INT8"):
        problem = "has no convolution behind a Q/DQ pair"
    elif spec.precision == "int8" and types.convolutions["INT8"] != _promised(spec, types):
        problem = f"lacks the {_promised(spec, types)} INT8 convolutions that it was calibrated to"
    elif types.foreign:
        shown = ", ".join(types.foreign[:_SHOWN_NAMES])
        more = len(types.foreign) - _SHOWN_NAMES
        problem = "has layers of another type (" + shown + (f", {more} more)" if more > 0 else ")")
    if problem:
        raise ExportError(
            f"the sidecar says {spec.precision}, and the graph {problem}: {types.summary()}",
            "make the file again with `edgecrack export` or `edgecrack calibrate`",
        )
    return types


def _promised(spec: ModelSpec, types: TensorTypes) -> int:
    """Number of INT8 convolutions in the sidecar; the network's own where it names none."""
    return int((spec.calibration or {}).get("int8_layers", types.convolutions["INT8"]))


def count_types(
    tensorrt: TensorRT, network: Any, allowed: Collection[str], islands: Collection[str]
) -> TensorTypes:
    """Count the types that a network computes in.

    Args:
        tensorrt: the TensorRT that parsed.
        network: its INetworkDefinition.
        allowed: types that a layer may output, besides integers.
        islands: names of ONNX nodes that may output any type.
    """
    kinds = tensorrt.module.LayerType
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    scales, restored = _quantization(kinds, layers)
    convolutions: Counter[str] = Counter()
    tensors: Counter[str] = Counter()
    foreign = []
    for layer in layers:
        tensor = layer.get_output(0)
        kind = tensor.dtype.name
        if layer.type in (kinds.CONVOLUTION, kinds.DECONVOLUTION):
            quantized = all(
                tensor is not None and tensor.name in restored
                for tensor in (layer.get_input(0), layer.get_input(1))
            )
            convolutions["INT8" if quantized else kind] += 1
        if tensor.name in scales:
            continue
        tensors[kind] += 1
        is_island = bool({layer.name, *_ONNX_NODE.findall(layer.metadata)} & set(islands))
        if kind not in _NEUTRAL and kind not in allowed and not is_island:
            foreign.append(layer.name)
    return TensorTypes(len(layers), dict(convolutions), dict(tensors), tuple(foreign))


def _quantization(kinds: Any, layers: list[Any]) -> tuple[set[str], set[str]]:
    """Tensors of the Q/DQ pairs.

    Returns:
        Names of scales and zero points, whose types TensorRT chooses, and of the outputs of INT8
        dequantization.
    """
    scales, restored = set(), set()
    for layer in layers:
        if layer.type not in (kinds.QUANTIZE, kinds.DEQUANTIZE):
            continue
        for index in range(1, layer.num_inputs):
            tensor = layer.get_input(index)
            if tensor is not None:
                scales.add(tensor.name)
        if layer.type == kinds.DEQUANTIZE and layer.get_input(0).dtype.name == "INT8":
            restored.add(layer.get_output(0).name)
    return scales, restored
