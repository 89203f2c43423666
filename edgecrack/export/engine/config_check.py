"""Checks that a network computes in the precision that its file claims.

Reads TensorRT's own network after parsing: what is counted here is what the builder is given.
Knows nothing of files or of GPUs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from edgecrack.artifacts import ModelSpec
from edgecrack.errors import ExportError
from edgecrack.nvidia.tensorrt_module import TensorRT

ISLANDS = "fp32_islands"
_SHOWN_NAMES = 5
_ONNX_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
# Types of whole numbers that shapes, masks, and both ends of the network have.
_NEUTRAL = frozenset({"INT32", "INT64", "BOOL", "UINT8"})
_ALLOWED: Mapping[str, frozenset[str]] = {
    "fp32": frozenset({"FLOAT"}),
    "fp16": frozenset({"HALF"}),
    "int8": frozenset({"HALF", "INT8"}),
}


@dataclass(frozen=True)
class TensorTypes:
    """What a network computes in.

    Attributes:
        layers: number of layers.
        convolutions: convolutions, transposed ones included, by the type they compute in:
            "FLOAT", "HALF" or "INT8".
        tensors: outputs of layers by type; without scales and zero points of Q/DQ pairs.
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
    """Count the types of a network and hold them against the sidecar.

    FP32 allows FLOAT alone; FP16 HALF alone; INT8 asks for convolutions whose input comes from a
    Q/DQ pair and allows HALF for the rest. Nodes that the sidecar lists as `fp32_islands`
    (names of ONNX nodes, casts included) may give FLOAT in FP16 and INT8.

    Args:
        tensorrt: the TensorRT that parsed.
        network: its strongly typed INetworkDefinition.
        spec: the ONNX file's sidecar.

    Raises:
        ExportError: the network is of another precision; the counts are in the message.
    """
    islands = frozenset(str(name) for name in spec.extra.get(ISLANDS, ()))
    types = count_types(tensorrt, network, _ALLOWED[spec.precision], islands)
    problem = None
    if not types.convolutions:
        problem = "has no convolution"
    elif spec.precision == "int8" and not types.convolutions.get("INT8"):
        problem = "has no convolution behind a Q/DQ pair"
    elif spec.precision == "int8" and types.convolutions["INT8"] != _promised(spec, types):
        problem = (
            f"has not the {_promised(spec, types)} INT8 convolutions that it was calibrated to"
        )
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
    """INT8 convolutions that the sidecar names; as many as there are where it names none."""
    return int((spec.calibration or {}).get("int8_layers", types.convolutions["INT8"]))


def count_types(
    tensorrt: TensorRT, network: Any, allowed: Collection[str], islands: Collection[str]
) -> TensorTypes:
    """Count what a network computes in.

    Args:
        tensorrt: the TensorRT that parsed.
        network: its INetworkDefinition.
        allowed: types that a layer may give, beside whole numbers.
        islands: names of ONNX nodes that may give any type.
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
        Names of scales and zero points, which TensorRT types as it likes; and names of what comes
        out of a dequantization of INT8.
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
