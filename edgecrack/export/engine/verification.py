"""Verifies a finished engine: whether it is complete and loads, and what it computes in.

How much can be checked depends on the machine. Without a GPU, TensorRT for RTX checks only the
engine's header; with a GPU that the engine is for, it is loaded and its layers are inspected.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME, ModelSpec
from edgecrack.errors import ExportError
from edgecrack.nvidia.engine_info import EngineInfo
from edgecrack.nvidia.gpu import gpu_devices
from edgecrack.nvidia.tensorrt_module import TensorRT, construct, make_logger
from edgecrack.outside_text import parse_json

_UNCHECKED = "the precision of the finished engine could not be checked"
_REMEDY = "build it again; if that does not help, build from another export or TensorRT"
# Type names of the inspector; "UInt8", of input and output, is not "Int8".
_TYPES = {
    "INT8": re.compile(r"(?<![a-z])int8", re.IGNORECASE),
    "HALF": re.compile(r"fp16|half|float16", re.IGNORECASE),
    "FLOAT": re.compile(r"fp32|float(?!16)", re.IGNORECASE),
}


@dataclass(frozen=True)
class Verified:
    """Findings about a finished engine.

    Attributes:
        types: outputs of its layers by type; None if it was not loaded or reports none.
        warnings: checks that failed to run although the engine is for this machine, as sentences.
    """

    types: Mapping[str, int] | None = None
    warnings: tuple[str, ...] = ()


def verify_engine(tensorrt: TensorRT, content: bytes, spec: ModelSpec) -> Verified:
    """Verify a finished engine as far as this machine can.

    Args:
        tensorrt: the TensorRT that built it.
        content: its bytes, just built: they are loaded, which runs code in them.
        spec: its description, `engine` included.

    Returns:
        The types of its layers, if this machine has a GPU that it is for; a warning if TensorRT
        does not report them.

    Raises:
        ExportError: it is damaged, cannot be loaded, has other inputs or outputs than the contract,
            or computes in another precision.
    """
    info = EngineInfo.from_dict(spec.engine)
    logger, log = make_logger(tensorrt.module)
    try:
        runtime = construct(tensorrt.module.Runtime, logger)
    except (TypeError, RuntimeError) as error:  # how the bindings report a null pointer
        raise ExportError(f"TensorRT's runtime does not start: {log.reason()}", _REMEDY) from error
    if "MALFORMED_ENGINE" in engine_problems(tensorrt, runtime, content):
        raise ExportError("TensorRT calls the engine that it built malformed", _REMEDY)
    devices = gpu_devices()
    if not devices or devices[0].compute_capability not in info.compute_capabilities:
        return Verified()
    if info.version_compatible:
        runtime.engine_host_code_allowed = True
    if info.dla_core is not None:
        runtime.DLA_core = info.dla_core
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise ExportError(f"the engine was built and does not load: {log.reason()}", _REMEDY)
    _check_interface(tensorrt.module, engine, spec)
    try:
        types = inspected_types(_inspect(tensorrt.module, engine, spec, info))
    except _NotInspectedError as error:
        return Verified(None, (f"{_UNCHECKED}: {error} ({log.reason()})",))
    problem = contradiction(spec.precision, types)
    if problem:
        raise ExportError(f"the engine was built for {spec.precision} and {problem}", _REMEDY)
    if not types:
        return Verified(None, (f"{_UNCHECKED}: TensorRT's inspector names no type of its layers",))
    return Verified(types)


def engine_problems(tensorrt: TensorRT, runtime: Any, content: bytes) -> frozenset[str]:
    """TensorRT's objections to an engine, without loading it.

    Without a GPU, only a damaged header is reported, as "MALFORMED_ENGINE": a truncated file
    passes, and every engine counts as unusable.

    Args:
        tensorrt: the TensorRT to ask.
        runtime: its Runtime.
        content: the engine's bytes.

    Returns:
        Names of `EngineInvalidityDiagnostics`; empty if TensorRT lacks the query.
    """
    if not (
        tensorrt.has("Runtime.get_engine_validity") and tensorrt.has("EngineInvalidityDiagnostics")
    ):
        return frozenset()
    _, diagnostics = runtime.get_engine_validity(content)
    members = tensorrt.module.EngineInvalidityDiagnostics.__members__
    return frozenset(name for name, member in members.items() if int(diagnostics) & int(member))


def inspected_types(text: str) -> dict[str, int]:
    """Count the types of layer outputs in the text of TensorRT's engine inspector.

    Args:
        text: its JSON; a layer without details is not counted.
    """
    counts: Counter[str] = Counter()
    try:
        layers = parse_json(text).get("Layers", [])
    except (ValueError, AttributeError):
        return {}
    outputs = [
        output
        for entry in layers
        if isinstance(entry, dict)
        for output in entry.get("Outputs", ())
        if isinstance(output, dict)
    ]
    for output in outputs:
        written = " ".join(str(value) for key, value in output.items() if "ype" in key)
        counts.update(name for name, pattern in _TYPES.items() if pattern.search(written))
    return dict(counts)


def contradiction(precision: str, types: Mapping[str, int]) -> str | None:
    """How an engine's types contradict its precision, as a clause; None if they do not.

    A missing type is not a contradiction: TensorRT may fuse a whole network into one layer, whose
    input and output alone are visible.
    """
    counts = ", ".join(f"{count} {name}" for name, count in sorted(types.items()))
    lower = {"fp32": ("HALF", "INT8"), "fp16": ("INT8",), "int8": ()}[precision]
    if any(types.get(name) for name in lower):
        return f"has tensors of lower precision: {counts}"
    if precision != "fp32" and set(types) == {"FLOAT"}:
        return f"computes in FP32 alone: {counts}"
    return None


def _check_interface(trt: Any, engine: Any, spec: ModelSpec) -> None:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    tile = (1, *spec.tile_hw)
    fits = sorted(names) == sorted((INPUT_NAME, OUTPUT_NAME)) and all(
        engine.get_tensor_dtype(name) == trt.DataType.UINT8
        and tuple(engine.get_tensor_shape(name))[1:] == tile
        for name in names
    )
    if not fits:
        raise ExportError(f"the engine was built with tensors {names} of another kind", _REMEDY)


class _NotInspectedError(Exception):
    """The inspector cannot be used; the message is the reason."""


def _inspect(trt: Any, engine: Any, spec: ModelSpec, info: EngineInfo) -> str:
    """The inspector's description of a loaded engine.

    Without a context whose inputs have shapes, every type of an engine with a dynamic batch is "N/A
    due to dynamic shapes".
    """
    context = engine.create_execution_context()
    if context is None:
        raise _NotInspectedError("TensorRT cannot prepare the engine to run")
    least, best, most = info.batch
    shape = (best, 1, *spec.tile_hw)
    if least != most and not context.set_input_shape(INPUT_NAME, shape):
        raise _NotInspectedError(f"TensorRT refuses {best} tiles per call")
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
