"""Engines that cannot run here are refused in one sentence, before anything is loaded."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from edgecrack.artifacts import ModelSpec, write_sidecar
from edgecrack.errors import (
    DeviceError,
    EdgecrackError,
    MissingDependencyError,
    ModelFileError,
)
from edgecrack.extras import origin
from edgecrack.nvidia.engine_info import EngineInfo, current_platform, rebuild_command
from edgecrack.runtime.backends import preflight
from edgecrack.runtime.backends.open import open_runner
from edgecrack.runtime.backends.preflight import (
    RunningMachine,
    check_engine,
    check_version,
    this_machine,
)
from tests.runtime.models import spec_of

ENGINE = Path("robot/crack.engine")
ORIN = EngineInfo(
    flavour="tensorrt",
    version="10.3.0",
    compute_capabilities=("8.7",),
    platform="linux-aarch64",
    batch=(1, 8, 8),
    source="crack.onnx",
)
RTX = EngineInfo(
    flavour="tensorrt_rtx",
    version="1.7.1.116",
    compute_capabilities=("8.6", "8.9"),
    platform="linux-x86_64",
    batch=(1, 8, 8),
    source="my crack.onnx",
)
JETSON = RunningMachine("linux-aarch64", {"tensorrt": "10.3.0"}, "8.7")
DESKTOP = RunningMachine("linux-x86_64", {"tensorrt_rtx": "1.7.1.116"}, "8.9")
REBUILD = "edgecrack build-engine crack.onnx --target auto -o robot/crack.engine"
REBUILD_RTX = "edgecrack build-engine 'my crack.onnx' --target auto -o robot/crack.engine"


def described(info: EngineInfo | dict[str, Any] | None) -> ModelSpec:
    engine = info.to_dict() if isinstance(info, EngineInfo) else info
    return dataclasses.replace(spec_of((256, 256), kind="engine"), engine=engine)


REFUSED: list[tuple[str, EngineInfo, RunningMachine, type[EdgecrackError], str]] = [
    (
        "another platform",
        ORIN,
        DESKTOP,
        ModelFileError,
        "robot/crack.engine is an engine for linux-aarch64, and this machine is linux-x86_64; "
        f"build it here: {REBUILD}.",
    ),
    (
        "no GPU",
        RTX,
        RunningMachine(
            "linux-x86_64", {"tensorrt_rtx": "1.7.1.116"}, None, "the CUDA driver sees no GPU"
        ),
        DeviceError,
        "robot/crack.engine is an engine for a GPU of compute capability 8.6 or 8.9, and the CUDA "
        "driver sees no GPU; run the ONNX file itself, or build the engine where there is a GPU: "
        f"{REBUILD_RTX}.",
    ),
    (
        "another GPU",
        RTX,
        dataclasses.replace(DESKTOP, compute_capability="12.0"),
        ModelFileError,
        "robot/crack.engine is an engine for compute capability 8.6 or 8.9, and this GPU has 12.0; "
        f"build it for this GPU: {REBUILD_RTX}.",
    ),
    (
        "a later GPU of the same generation",
        dataclasses.replace(RTX, compute_capabilities=("8.6",)),
        DESKTOP,
        ModelFileError,
        "robot/crack.engine is an engine for compute capability 8.6, and this GPU has 8.9; "
        f"build it for this GPU: {REBUILD_RTX}.",
    ),
    (
        "a GPU too old for a hardware-compatible engine",
        dataclasses.replace(RTX, hardware_compatible=True),
        dataclasses.replace(DESKTOP, compute_capability="7.5"),
        ModelFileError,
        "robot/crack.engine is an engine for compute capability 8.0 or later, and this GPU has "
        f"7.5; build it for this GPU: {REBUILD_RTX}.",
    ),
    (
        "another TensorRT",
        RTX,
        dataclasses.replace(DESKTOP, tensorrt={"tensorrt": "10.7.0"}),
        MissingDependencyError,
        "robot/crack.engine is an engine of tensorrt_rtx 1.7.1.116, and this machine has tensorrt "
        f"10.7.0; build it with what is here: {REBUILD_RTX}.",
    ),
    (
        "no TensorRT",
        ORIN,
        dataclasses.replace(JETSON, tensorrt={}),
        MissingDependencyError,
        "robot/crack.engine is an engine of tensorrt 10.3.0, and this machine has no TensorRT; on "
        "a Jetson it comes with JetPack (sudo apt-get install python3-libnvinfer); for desktop "
        f"RTX GPUs run: {origin().install('rtx')}; if that is another version, build the engine "
        f"again: {REBUILD}.",
    ),
    (
        "a later version",
        ORIN,
        dataclasses.replace(JETSON, tensorrt={"tensorrt": "10.7.0"}),
        ModelFileError,
        "robot/crack.engine is an engine of tensorrt 10.3.0, and this machine has 10.7.0; build "
        f"it with the version that is here: {REBUILD}.",
    ),
    (
        "another build of the same version",
        RTX,
        dataclasses.replace(DESKTOP, tensorrt={"tensorrt_rtx": "1.7.1.120"}),
        ModelFileError,
        "robot/crack.engine is an engine of tensorrt_rtx 1.7.1.116, and this machine has "
        f"1.7.1.120; build it with the version that is here: {REBUILD_RTX}.",
    ),
    (
        "an older version than a version-compatible engine",
        dataclasses.replace(ORIN, version="10.7.0", version_compatible=True),
        JETSON,
        ModelFileError,
        "robot/crack.engine is an engine of tensorrt 10.7.0 or a later 10.x, and this machine has "
        f"10.3.0; build it with the version that is here: {REBUILD}.",
    ),
    (
        "a later major version than a version-compatible engine",
        dataclasses.replace(ORIN, version_compatible=True),
        dataclasses.replace(JETSON, tensorrt={"tensorrt": "11.4.0"}),
        ModelFileError,
        "robot/crack.engine is an engine of tensorrt 10.3.0 or a later 10.x, and this machine has "
        f"11.4.0; build it with the version that is here: {REBUILD}.",
    ),
]


@pytest.mark.parametrize(
    ("info", "machine", "kind", "words"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_refused(
    info: EngineInfo, machine: RunningMachine, kind: type[EdgecrackError], words: str
) -> None:
    with pytest.raises(EdgecrackError) as caught:
        check_engine(ENGINE, described(info), machine)
    assert str(caught.value) == words
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("info", "machine"),
    [
        (ORIN, JETSON),
        (RTX, DESKTOP),
        (RTX, dataclasses.replace(DESKTOP, compute_capability="8.6")),
        (RTX, dataclasses.replace(DESKTOP, tensorrt={"tensorrt": "11.0", **DESKTOP.tensorrt})),
        # Packages of one version differ in how many numbers they tell.
        (ORIN, dataclasses.replace(JETSON, tensorrt={"tensorrt": "10.3.0.30"})),
        (RTX, dataclasses.replace(DESKTOP, tensorrt={"tensorrt_rtx": "1.7.1"})),
        (
            dataclasses.replace(ORIN, version_compatible=True),
            dataclasses.replace(JETSON, tensorrt={"tensorrt": "10.13.0.35"}),
        ),
        (
            dataclasses.replace(RTX, hardware_compatible=True),
            dataclasses.replace(DESKTOP, compute_capability="12.0"),
        ),
        (
            dataclasses.replace(RTX, hardware_compatible=True),
            dataclasses.replace(DESKTOP, compute_capability="8.0"),
        ),
    ],
)
def test_let_through(info: EngineInfo, machine: RunningMachine) -> None:
    assert check_engine(ENGINE, described(info), machine) == info


@pytest.mark.parametrize(
    ("engine", "named"),
    [(None, "has no engine field"), ({}, "without flavour"), ({"flavour": 3}, "with flavour 3")],
)
def test_a_sidecar_that_does_not_say_where_the_engine_runs(
    engine: dict[str, Any] | None, named: str
) -> None:
    with pytest.raises(ModelFileError) as caught:
        check_engine(ENGINE, described(engine), JETSON)
    assert caught.value.problem.startswith("robot/crack.engine: ")
    assert named in caught.value.problem
    assert REBUILD in caught.value.remedy


def test_a_version_that_is_no_version_does_not_fit() -> None:
    with pytest.raises(ModelFileError, match="this machine has unknown"):
        check_version(ENGINE, ORIN, "unknown")


def test_the_command_names_the_source_where_it_lies(tmp_path: Path) -> None:
    engine = tmp_path / "robot one.engine"
    assert rebuild_command(engine, "crack.onnx") == (
        f"edgecrack build-engine crack.onnx --target auto -o '{engine}'"
    )
    (tmp_path / "crack.onnx").touch()
    assert rebuild_command(engine, "crack.onnx") == (
        f"edgecrack build-engine {tmp_path / 'crack.onnx'} --target auto -o '{engine}'"
    )


def test_a_source_from_a_forged_sidecar_stays_one_word() -> None:
    command = rebuild_command(ENGINE, "a.onnx; rm -rf ~")
    assert "build-engine 'a.onnx; rm -rf ~' --target" in command


class TestThisMachine:
    def test_it_is_this_one(self) -> None:
        machine = this_machine()
        assert machine.platform == current_platform()
        assert (machine.compute_capability is None) == (machine.no_gpu is not None)

    def test_versions_come_from_packages_without_loading_any(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(preflight, "installed_flavours", lambda: ("tensorrt", "tensorrt_rtx"))
        versions = {"tensorrt-cu12": "10.13.0.35", "tensorrt-rtx": "1.7.1.116"}

        def version(name: str) -> str:
            if name in versions:
                return versions[name]
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.setattr(preflight, "find_tensorrt", lambda name: pytest.fail("it was loaded"))
        assert this_machine().tensorrt == {"tensorrt": "10.13.0.35", "tensorrt_rtx": "1.7.1.116"}

    def test_a_package_without_metadata_is_asked_itself(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def version(name: str) -> str:
            raise metadata.PackageNotFoundError(name)

        def find(name: str) -> Any:
            if name == "tensorrt":
                from edgecrack.nvidia.tensorrt_module import TensorRT

                return TensorRT("tensorrt", "10.3.0", None)
            raise MissingDependencyError("it cannot be loaded", "install it")

        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.setattr(preflight, "installed_flavours", lambda: ("tensorrt", "tensorrt_rtx"))
        monkeypatch.setattr(preflight, "find_tensorrt", find)
        assert this_machine().tensorrt == {"tensorrt": "10.3.0"}

    @pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt_rtx"])
    def test_metadata_and_module_agree_where_both_are_here(self, flavour: str) -> None:
        if importlib.util.find_spec(flavour) is None:
            pytest.skip(f"{flavour} is not installed")
        told = preflight._installed_version(flavour)
        assert told == importlib.import_module(flavour).__version__

    def test_it_loads_neither_tensorrt_nor_cuda(self) -> None:
        """Where packages have metadata, as here."""
        code = (
            "import sys; from edgecrack.runtime.backends.preflight import this_machine\n"
            "this_machine(); "
            "print([name for name in ('tensorrt', 'tensorrt_rtx', 'pycuda', 'cuda.bindings', "
            "'torch') if name in sys.modules])"
        )
        if importlib.util.find_spec("tensorrt") is not None:
            pytest.skip("a tensorrt without metadata would be loaded")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "[]", done.stderr


def test_a_foreign_engine_is_refused_before_tensorrt_or_cuda_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "crack.engine"
    path.write_bytes(b"code")
    write_sidecar(path, described(dataclasses.replace(RTX, platform="linux-riscv64")))
    monkeypatch.setitem(sys.modules, "edgecrack.runtime.backends.tensorrt_runner", None)
    with pytest.raises(ModelFileError, match="linux-riscv64"):
        open_runner(path)
