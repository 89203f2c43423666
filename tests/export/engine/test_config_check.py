"""A file whose sidecar and graph disagree about the precision is refused, with the counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgecrack.errors import ExportError
from edgecrack.export.engine.builder import build_engine
from edgecrack.export.engine.config import EngineConfig
from edgecrack.export.engine.network import TensorTypes
from edgecrack.export.engine.target_machines import parse_targets
from edgecrack.export.engine.verification import contradiction, engine_problems, inspected_types
from edgecrack.nvidia.tensorrt_module import find_tensorrt, make_logger
from tests.export.engine.graphs import save, small_graph

SM86 = EngineConfig(parse_targets("sm86"), "tensorrt_rtx")


@pytest.fixture(autouse=True)
def _needs_tensorrt() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")


def build(model: onnx.ModelProto, folder: Path, **spec: Any) -> TensorTypes:
    source = save(model, folder / "m.onnx", **spec)
    return build_engine(source, folder / "m.engine", SM86).types


@pytest.mark.parametrize(
    ("claimed", "true"),
    [
        (claimed, true)
        for claimed in ("fp32", "fp16", "int8")
        for true in ("fp32", "fp16", "int8")
        if claimed != true
    ],
)
def test_a_sidecar_that_lies_is_refused(claimed: str, true: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"the sidecar says {claimed}") as refusal:
        build(small_graph(true), tmp_path, precision=claimed)
    kind = {"fp32": "FLOAT", "fp16": "HALF", "int8": "INT8"}[true]
    assert f"2 convolutions: 2 {kind}" in refusal.value.problem
    assert not (tmp_path / "m.engine").exists()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_layer_in_fp32_must_be_declared(precision: str, tmp_path: Path) -> None:
    model = small_graph(precision, foreign="precise")
    with pytest.raises(ExportError, match="widen, precise"):
        build(model, tmp_path, precision=precision)
    islands = {"fp32_islands": ["widen", "precise"]}
    types = build(model, tmp_path, precision=precision, extra=islands)
    assert types.tensors["FLOAT"] == 2


def test_one_of_the_islands_is_not_all(tmp_path: Path) -> None:
    model = small_graph("fp16", foreign="precise")
    with pytest.raises(ExportError, match=r"another type \(widen\)"):
        build(model, tmp_path, precision="fp16", extra={"fp32_islands": ["precise"]})


def test_scales_of_int8_are_no_tensors_of_another_type(tmp_path: Path) -> None:
    types = build(small_graph("int8"), tmp_path, precision="int8")
    assert set(types.tensors) == {"HALF", "INT8", "UINT8"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tile_hw": (64, 32)}, "[-1, 1, 64, 32]"),
        ({"batch": 2}, "[2, 1, 32, 32]"),
    ],
)
def test_a_sidecar_of_another_shape_is_refused(
    change: Mapping[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="tiles UINT8") as refusal:
        build(small_graph("fp32"), tmp_path, **change)
    assert words in refusal.value.problem
    assert "[-1, 1, 32, 32]" in refusal.value.problem


@pytest.mark.parametrize(("old", "new"), [("tiles", "input"), ("crack", "result")])
def test_other_names_of_inputs_and_outputs_are_refused(old: str, new: str, tmp_path: Path) -> None:
    model = small_graph("fp32")
    for value in (*model.graph.input, *model.graph.output):
        value.name = value.name.replace(old, new)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [name.replace(old, new) for name in names]
    with pytest.raises(ExportError, match=f"{new} UINT8.*{old} UINT8"):
        build(model, tmp_path)


def test_types_read_as_a_sentence() -> None:
    types = TensorTypes(9, {"INT8": 3, "HALF": 1}, {"HALF": 7})
    assert types.summary() == "4 convolutions: 1 HALF, 3 INT8; 7 tensors: 7 HALF"


@pytest.mark.parametrize("engine", [b"", b"vt", b"not an engine" * 100])
def test_tensorrt_calls_junk_malformed_even_without_a_gpu(engine: bytes) -> None:
    rtx = find_tensorrt("tensorrt_rtx")
    logger, _ = make_logger(rtx.module)
    assert "MALFORMED_ENGINE" in engine_problems(rtx, rtx.module.Runtime(logger), engine)


def test_tensorrt_does_not_call_a_built_engine_malformed(tmp_path: Path) -> None:
    build(small_graph("fp32"), tmp_path)
    rtx = find_tensorrt("tensorrt_rtx")
    logger, _ = make_logger(rtx.module)
    engine = (tmp_path / "m.engine").read_bytes()
    assert "MALFORMED_ENGINE" not in engine_problems(rtx, rtx.module.Runtime(logger), engine)


def inspected(*types: str) -> str:
    layers = [{"Name": "a", "Outputs": [{"Name": "out", "Format/Datatype": t}]} for t in types]
    return json.dumps({"Layers": [*layers, "a layer by its name alone"], "Bindings": ["tiles"]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (inspected("Row major linear FP32", "Row major linear FP32"), {"FLOAT": 2}),
        (inspected("Row major Int8 format", "Channel major FP16 format"), {"INT8": 1, "HALF": 1}),
        (inspected("Row major UInt8 format"), {}),
        (inspected(), {}),
        (json.dumps({"Layers": [{"Outputs": [{"Datatype": "Half"}]}]}), {"HALF": 1}),
        ("no JSON", {}),
        ("[]", {}),
    ],
)
def test_types_in_what_the_inspector_writes(text: str, expected: dict[str, int]) -> None:
    assert inspected_types(text) == expected


@pytest.mark.parametrize(
    ("precision", "types", "speaks"),
    [
        ("fp32", {"FLOAT": 9}, False),
        ("fp32", {"FLOAT": 9, "HALF": 1}, True),
        ("fp32", {}, False),
        ("fp16", {"HALF": 9, "FLOAT": 1}, False),
        ("fp16", {"FLOAT": 9}, True),
        ("fp16", {"HALF": 9, "INT8": 1}, True),
        ("int8", {"INT8": 9, "HALF": 3}, False),
        ("int8", {"FLOAT": 3}, True),
        ("int8", {}, False),
    ],
)
def test_what_speaks_against_a_precision(
    precision: str, types: dict[str, int], speaks: bool
) -> None:
    assert (contradiction(precision, types) is not None) == speaks


@pytest.mark.gpu
def test_an_engine_for_this_gpu_loads_and_shows_its_types(tmp_path: Path) -> None:
    source = save(small_graph("fp16"), tmp_path / "m.onnx", precision="fp16")
    result = build_engine(source, tmp_path / "m.engine", EngineConfig(parse_targets("auto")))
    assert result.engine_types is None or "INT8" not in result.engine_types
