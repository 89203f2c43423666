"""Every name of TensorRT that the program uses exists in every TensorRT that it claims to serve.

No machine has them all. `tools/tensorrt_api.py` wrote down what each defines; here the source is
read and held against that. It works by convention: TensorRT's objects go by the names in `ROLES`,
unless they are annotated as something else than Any, and a function that uses what not every
version has asks for it with `TensorRT.has`, in whose table `OPTIONAL` it stands.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgecrack.nvidia.tensorrt_module import OPTIONAL

REPOSITORY = Path(__file__).resolve().parents[2]
VERSIONS: dict[str, dict[str, Any]] = {
    document["version"]: document
    for document in (
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((Path(__file__).parent / "tensorrt_api").glob("*.json"))
    )
}
SOURCES = sorted(
    path
    for pattern in (
        "nvidia/tensorrt_module.py",
        "export/engine/*.py",
        "runtime/backends/*.py",
    )
    for path in (REPOSITORY / "edgecrack").glob(pattern)
)
MODULE = ""
ROLES = {
    "trt": MODULE,
    "builder": "Builder",
    "builder_config": "IBuilderConfig",
    "context": "IExecutionContext",
    "engine": "ICudaEngine",
    "inspector": "EngineInspector",
    "cache": "IRuntimeCache",
    "kinds": "LayerType",
    "layer": "ILayer",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "parser_error": "ParserError",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "runtime_config": "IRuntimeConfig",
    "strategies": "CudaGraphStrategy",
    "tensor": "ITensor",
    "timings": "ITimingCache",
}
RETURNS = {
    "Builder.create_builder_config": "IBuilderConfig",
    "Builder.create_network": "INetworkDefinition",
    "ICudaEngine.create_engine_inspector": "EngineInspector",
    "ICudaEngine.create_execution_context": "IExecutionContext",
    "ICudaEngine.create_runtime_config": "IRuntimeConfig",
    "ILayer.get_input": "ITensor",
    "ILayer.get_output": "ITensor",
    "INetworkDefinition.get_input": "ITensor",
    "INetworkDefinition.get_layer": "ILayer",
    "INetworkDefinition.get_output": "ITensor",
    "OnnxParser.get_error": "ParserError",
    "Runtime.deserialize_cuda_engine": "ICudaEngine",
}


Roles = Mapping[str, str]


@dataclass(frozen=True)
class Use:
    """A use of a name of TensorRT, as in "Runtime.DLA_core", and what its function asks for."""

    name: str
    line: int
    asked: frozenset[str]


def uses_in(source: str) -> list[Use]:
    """Every use of a name of TensorRT in a module's source."""
    return list(_uses(ast.parse(source), frozenset(), ROLES))


def _uses(node: ast.AST, asked: frozenset[str], roles: Roles) -> Iterator[Use]:
    if isinstance(node, ast.FunctionDef):
        asked = frozenset(_asked(node))
        others = set(_annotated(node))
        roles = {name: role for name, role in roles.items() if name not in others}
    if isinstance(node, ast.Attribute) and not node.attr.startswith("_"):
        owner = _class_of(node.value, roles)
        if owner is not None:
            name = f"{owner}.{node.attr}" if owner else node.attr
            yield Use(name, node.lineno, asked)
    for child in ast.iter_child_nodes(node):
        yield from _uses(child, asked, roles)


def _annotated(function: ast.FunctionDef) -> Iterator[str]:
    """Parameters of another type than Any, which TensorRT's untyped objects never have."""
    arguments = function.args
    for item in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if item.annotation is not None and ast.unparse(item.annotation) != "Any":
            yield item.arg


def _asked(function: ast.FunctionDef) -> Iterator[str]:
    """Names that a function passes to `.has(...)`."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        if "has" in (getattr(node.func, "attr", ""), getattr(node.func, "id", "")):
            yield from (str(item.value) for item in node.args if isinstance(item, ast.Constant))


def _class_of(node: ast.expr, roles: Roles) -> str | None:
    """Class of TensorRT that an expression is or is of; MODULE for the module itself."""
    if isinstance(node, ast.Name):
        return roles.get(node.id)
    if isinstance(node, ast.Attribute):
        if node.attr == "module":
            return MODULE
        if ast.unparse(node) in ("loaded.engine", "self._loaded.engine"):
            return "ICudaEngine"
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return ROLES.get(node.attr.lstrip("_"))
        inner = _class_of(node.value, roles)
        return node.attr if inner == MODULE else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = _class_of(node.func.value, roles)
        return RETURNS.get(f"{owner}.{node.func.attr}")
    return None


def exists(name: str, version: str) -> bool:
    document = VERSIONS[version]
    owner, _, member = name.rpartition(".")
    return member in (document["classes"].get(owner, ()) if owner else document["names"])


def could_be_used(use: Use, version: str) -> bool:
    """Whether a version can come to a use: it has the object, and all that was asked for."""
    owner = use.name.rpartition(".")[0]
    if owner and owner not in VERSIONS[version]["names"]:
        return False
    return all(exists(name, version) for name in use.asked)


def faults(source: str) -> list[str]:
    """Uses that some version would answer with an AttributeError."""
    found = []
    for use in uses_in(source):
        reaching = [version for version in VERSIONS if could_be_used(use, version)]
        missing = [version for version in reaching if not exists(use.name, version)]
        if not any(exists(use.name, version) for version in VERSIONS):
            found.append(f"line {use.line}: no TensorRT has {use.name}")
        elif missing:
            found.append(f"line {use.line}: {use.name} is used unasked; {missing} have it not")
    return found


def test_four_versions_are_known() -> None:
    assert {version.split(".")[0] for version in VERSIONS} == {
        "tensorrt 10", "tensorrt 11", "tensorrt_rtx 1"
    }  # fmt: skip
    assert "tensorrt 10.3.0" in VERSIONS


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_name_exists_in_every_version(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


def test_the_sources_are_read() -> None:
    found = {use.name for path in SOURCES for use in uses_in(path.read_text(encoding="utf-8"))}
    assert len(found) > 50
    assert {
        "Builder.build_serialized_network", "IBuilderConfig.set_compute_capability",
        "LayerType.CONVOLUTION", "ParserError.node_operator", "ITensor.dtype",
        "IProgressMonitor", "Runtime.get_engine_validity", "BuilderFlag.GPU_FALLBACK",
    } <= found  # fmt: skip


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(engine: Any): engine.no_such_thing", "ICudaEngine.no_such_thing"),
        ("loaded.engine.no_such_thing", "ICudaEngine.no_such_thing"),
        ("trt.NoSuchClass", "no TensorRT has NoSuchClass"),
        ("trt.BuilderFlag.NO_SUCH_FLAG", "NO_SUCH_FLAG"),
        ("tensorrt.module.BuilderFlag.INT8", "BuilderFlag.INT8 is used unasked"),
        ("self._runtime.no_such_method()", "Runtime.no_such_method"),
        ("layer.get_output(0).no_such_thing", "ITensor.no_such_thing"),
        ("builder_config.int8_calibrator = 1", "IBuilderConfig.int8_calibrator"),
        ("runtime.get_engine_validity(x)", "Runtime.get_engine_validity is used unasked"),
        (
            "def f(): runtime.get_engine_validity(x)\n"
            "def g(): t.has('Runtime.get_engine_validity')",
            "unasked",
        ),
    ],
)
def test_a_name_that_is_not_everywhere_is_found(source: str, fault: str) -> None:
    (found,) = faults(source)
    assert fault in found


@pytest.mark.parametrize(
    "source",
    [
        "trt.BuilderFlag.TF32",
        "def f():\n if t.has('Runtime.get_engine_validity'): runtime.get_engine_validity(x)",
        "config.no_matter.what",
        "def f(engine: Path): engine.with_name('x')",
    ],
)
def test_a_name_that_is_everywhere_or_asked_for_is_none(source: str) -> None:
    assert faults(source) == []


@pytest.mark.parametrize("name", OPTIONAL)
def test_the_table_of_optional_names_is_true(name: str) -> None:
    having = tuple(version for version in VERSIONS if exists(name, version))
    assert tuple(sorted(OPTIONAL[name])) == tuple(sorted(having))
    assert len(having) < len(VERSIONS)


def test_a_name_is_asked_for_that_is_in_the_table() -> None:
    asked = {
        name
        for path in SOURCES
        for use in uses_in(path.read_text(encoding="utf-8"))
        for name in use.asked
    }
    assert asked <= set(OPTIONAL)


def test_the_installed_tensorrt_for_rtx_is_as_written_down() -> None:
    module = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    document = VERSIONS.get(f"tensorrt_rtx {module.__version__}")
    if document is None:
        pytest.skip(f"TensorRT for RTX {module.__version__} is not written down")
    for owner, members in document["classes"].items():
        assert [name for name in members if not hasattr(getattr(module, owner), name)] == []
