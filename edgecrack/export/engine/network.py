"""From an ONNX file's bytes to a TensorRT network, strongly typed, and its input shapes.

Strong typing makes TensorRT keep every tensor's type as the file has it, on every version. Knows
nothing of precision or of files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME, ModelSpec
from edgecrack.errors import ExportError
from edgecrack.nvidia.tensorrt_module import BuildLog, TensorRT

_REMEDY = "export the model again with `edgecrack export`, with a single file and no custom nodes"


@dataclass(frozen=True)
class ParsedNetwork:
    """A network and what must live as long as it.

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

    Weights must be inside the file: what lies beside it is covered by no hash and is not read.

    Args:
        tensorrt: the TensorRT that parses.
        builder: its Builder.
        logger: its logger, which fills `log`.
        log: what TensorRT said.
        model: the file's bytes.

    Raises:
        ExportError: TensorRT cannot parse it; all nodes that it objects to are named.
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
    """Check that a network takes and gives what the sidecar and the contract say.

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
    """Fix the batch of a network, or give TensorRT the range that it must serve.

    Args:
        builder: TensorRT's Builder.
        builder_config: its IBuilderConfig.
        network: its INetworkDefinition, whose input has a dynamic or a fixed batch.
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
