"""Which GPUs an engine can be built for here, and what a user is told of the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgecrack.errors import ConfigError, MissingDependencyError
from edgecrack.export.engine import target_machines
from edgecrack.export.engine.target_machines import (
    Targets,
    known_capabilities,
    parse_targets,
    resolve_targets,
)
from edgecrack.extras import origin
from edgecrack.nvidia.gpu import Gpu
from edgecrack.nvidia.tensorrt_module import TensorRT

RTX_MEMBERS = {"NONE": 0, "CURRENT": 1, "SM75": 75, "SM86": 86, "SM89": 89, "SM120": 120}
RTX = TensorRT(
    "tensorrt_rtx",
    "1.7.1",
    SimpleNamespace(
        ComputeCapability=SimpleNamespace(__members__=RTX_MEMBERS),
        IBuilderConfig=SimpleNamespace(num_compute_capabilities=0, set_compute_capability=0),
    ),
)
PLAIN = TensorRT("tensorrt", "10.3.0", SimpleNamespace(IBuilderConfig=SimpleNamespace()))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that this machine has a GPU, or none, and some TensorRTs."""

    def pretend(capability: str | None, *installed: TensorRT) -> None:
        gpus = (Gpu(0, "a GPU", capability, 1 << 30),) if capability else ()
        found = {item.flavour: item for item in installed}

        def find(flavour: str | None = None) -> TensorRT:
            for item in installed:
                if flavour in (None, item.flavour):
                    return item
            raise MissingDependencyError(f"{flavour} is not installed", "install it")

        monkeypatch.setattr(target_machines, "gpu_devices", lambda: gpus)
        monkeypatch.setattr(target_machines, "why_no_gpu", lambda: "this machine has no GPU")
        monkeypatch.setattr(target_machines, "installed_flavours", lambda: tuple(found))
        monkeypatch.setattr(target_machines, "find_tensorrt", find)

    return pretend


@pytest.mark.parametrize(
    ("text", "capabilities"),
    [
        ("sm86", ("8.6",)),
        ("8.6", ("8.6",)),
        ("SM_86", ("8.6",)),
        ("86", ("8.6",)),
        ("sm120, sm75 ,sm89", ("7.5", "8.9", "12.0")),
        ("sm86,sm86", ("8.6",)),
        ("orin", ("8.7",)),
        ("agx-orin", ("8.7",)),
        ("orin-nano", ("8.7",)),
        ("orin-nx", ("8.7",)),
        ("Xavier", ("7.2",)),
        ("thor", ("11.0",)),
        ("auto", ()),
        ("rtx", ()),
    ],
)
def test_names_of_gpus(text: str, capabilities: tuple[str, ...]) -> None:
    assert parse_targets(text).compute_capabilities == capabilities


@pytest.mark.parametrize(
    "text", ["", " ", "sm", "sm8", "sm1234", "rtx4090", "auto,sm86", "rtx,sm86", "sm86,", "nano"]
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_targets(text)
    assert repr(text) in refusal.value.problem
    assert "sm86" in refusal.value.remedy


@pytest.mark.parametrize(
    ("here", "installed", "text", "flavour", "capabilities"),
    [
        (None, (RTX,), "sm86", "tensorrt_rtx", ("8.6",)),
        (None, (RTX,), "rtx", "tensorrt_rtx", ("7.5", "8.6", "8.9", "12.0")),
        ("8.9", (RTX,), "auto", "tensorrt_rtx", ("8.9",)),
        ("8.7", (PLAIN,), "auto", "tensorrt", ("8.7",)),
        ("8.7", (PLAIN,), "orin", "tensorrt", ("8.7",)),
        ("8.9", (PLAIN, RTX), "auto", "tensorrt", ("8.9",)),
        ("8.9", (PLAIN, RTX), "sm89", "tensorrt", ("8.9",)),
        ("8.9", (PLAIN, RTX), "sm86", "tensorrt_rtx", ("8.6",)),
        ("8.9", (PLAIN, RTX), "sm86,sm89", "tensorrt_rtx", ("8.6", "8.9")),
        ("9.0", (PLAIN, RTX), "auto", "tensorrt", ("9.0",)),
        ("8.9", (PLAIN, RTX), "rtx", "tensorrt_rtx", ("7.5", "8.6", "8.9", "12.0")),
    ],
)
def test_who_builds(
    machine: Any,
    here: str | None,
    installed: tuple[TensorRT, ...],
    text: str,
    flavour: str,
    capabilities: tuple[str, ...],
) -> None:
    machine(here, *installed)
    resolved = resolve_targets(parse_targets(text))
    assert resolved.tensorrt.flavour == flavour
    assert resolved.compute_capabilities == capabilities


@pytest.mark.parametrize(
    ("here", "installed", "text", "words"),
    [
        (None, (RTX,), "auto", ["no GPU", "`targets` sm86", "robot"]),
        (
            None,
            (RTX,),
            "orin",
            ["8.7", "only be built on one", "edgecrack build-engine model.onnx"],
        ),
        (None, (), "orin-nano", ["Orin", "edgecrack calibrate", "--target auto"]),
        ("8.9", (PLAIN, RTX), "orin", ["8.7", "with its .json"]),
        ("8.7", (PLAIN,), "xavier", ["Xavier", "TensorRT 8.5", "run the ONNX file"]),
        (None, (RTX,), "sm90", ["tensorrt_rtx 1.7.1", "7.5, 8.6, 8.9, 12.0", "not for 9.0"]),
        ("9.0", (RTX,), "auto", ["not for 9.0"]),
        ("8.6", (PLAIN,), "sm89", ["tensorrt 10.3.0", "has compute capability 8.6", "not for 8.9"]),
        ("8.6", (PLAIN,), "rtx", ["GPU of this machine alone", origin().install("rtx")]),
        (None, (PLAIN,), "sm86", ["this machine has no GPU"]),
    ],
)
def test_what_cannot_be_built_is_told_with_the_way_out(
    machine: Any, here: str | None, installed: tuple[TensorRT, ...], text: str, words: list[str]
) -> None:
    machine(here, *installed)
    with pytest.raises(ConfigError) as refusal:
        resolve_targets(parse_targets(text))
    assert [word for word in words if word not in str(refusal.value)] == []


def test_a_flavour_that_is_asked_for_is_the_only_one_tried(machine: Any) -> None:
    machine("8.9", PLAIN, RTX)
    assert resolve_targets(parse_targets("auto"), "tensorrt_rtx").tensorrt is RTX
    with pytest.raises(ConfigError, match=r"not for 8\.6"):
        resolve_targets(parse_targets("sm86"), "tensorrt")


def test_without_any_tensorrt_the_user_is_told_to_install_one(machine: Any) -> None:
    machine("8.9")
    with pytest.raises(MissingDependencyError):
        resolve_targets(parse_targets("sm89"))


def test_a_tensorrt_that_does_not_load_leaves_the_other(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("8.9", RTX)
    monkeypatch.setattr(target_machines, "installed_flavours", lambda: ("tensorrt", "tensorrt_rtx"))
    assert resolve_targets(Targets("auto")).tensorrt is RTX


def test_the_installed_tensorrt_for_rtx_names_its_gpus() -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    known = known_capabilities(TensorRT("tensorrt_rtx", rtx.__version__, rtx))
    assert {"7.5", "8.6", "8.9", "12.0"} <= set(known)
    assert "8.7" not in known
