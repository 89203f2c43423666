"""Opens a model file with the right backend, after checking its sidecar."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgecrack.artifacts import ModelFile, ModelSpec, read_model_file
from edgecrack.errors import ConfigError, ModelFileError
from edgecrack.extras import origin
from edgecrack.runtime.backends.base import Runner

BACKEND_VARIABLE = "EDGECRACK_BACKEND"
BUNDLED_MODEL = Path(__file__).resolve().parents[2] / "models" / "edgecrack-bundled.onnx"


def check_runnable(path: Path, spec: ModelSpec) -> None:
    """Refuse sidecar settings that this version does not support.

    Args:
        path: the model file, for the message.
        spec: its description.

    Raises:
        ModelFileError: other channels, layout or temperature than the defaults.
    """
    usual = ModelSpec(kind="checkpoint", pooling=spec.pooling, width=spec.width)
    for name in ("channels", "layout", "temperature"):
        asked, known = getattr(spec, name), getattr(usual, name)
        if asked != known:
            raise ModelFileError(
                f"the sidecar of {path} asks for {name} {_words(asked)}, and this version runs "
                f"{name} {_words(known)} only",
                origin().update(),
            )


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def open_runner(
    model: Path | ModelFile | None = None,
    *,
    threads: int | None = None,
    backend: str | None = None,
    on_told: Callable[[str], None] = lambda text: None,
) -> Runner:
    """Open a model file: an ONNX file on the CPU, an engine on the first GPU.

    Args:
        model: `*.onnx` or `*.engine` with its sidecar; None opens the bundled model.
        threads: CPU threads of an ONNX file; None leaves the choice to the backend.
        backend: "auto", "onnxruntime", "openvino" or "openvino-bf16", for an ONNX file; None takes
            what EDGECRACK_BACKEND says, or "auto".
        on_told: told which backend was chosen and why, and what runs an engine, as a sentence.

    Raises:
        ModelFileError: the file is missing, is not ours, does not match its sidecar, is of a
            kind that this program cannot run, is to be run as `check_runnable` refuses, or is
            an engine for another machine.
        ConfigError: the number of threads is not positive, or it or a backend was given for an
            engine; the backend is unknown, or cannot run on this processor.
        DeviceError: the file is an engine and there is no GPU, or it fails.
        MissingDependencyError: the file is an engine, and TensorRT or access to CUDA is missing;
            or the backend is not installed.
    """
    model = read_model_file(BUNDLED_MODEL if model is None else model)
    path, spec = model.path, model.spec
    if spec.kind == "checkpoint":
        raise ModelFileError(
            f"{path} is a checkpoint, which needs PyTorch to run",
            f"export it first: edgecrack export {path} -o model.onnx",
        )
    check_runnable(path, spec)
    if spec.kind == "engine":
        if backend is not None:
            raise ConfigError(
                f"the backend {backend} was asked for, and {path} is an engine, for TensorRT",
                "leave the backend out",
            )
        return _open_engine(model, threads, on_told)
    return _open_onnx(
        model, threads, backend or os.environ.get(BACKEND_VARIABLE) or "auto", on_told
    )


def check_it_runs(model: Path | ModelFile) -> None:
    """Open a model file and run a blank tile; a graph may load and then fail.

    Raises:
        EdgecrackError: as `open_runner` and `Runner.infer`.
    """
    with open_runner(model) as runner:
        runner.infer(np.zeros((1, 1, *runner.spec.tile_hw), np.uint8))


def _open_onnx(
    model: ModelFile, threads: int | None, backend: str, on_told: Callable[[str], None]
) -> Runner:
    from edgecrack.runtime.backends.backend_choice import open_chosen
    from edgecrack.runtime.backends.onnx_runtime import checked_threads

    runner = open_chosen(model, checked_threads(threads), backend, on_told)
    if note := _made_for_another(model):
        on_told(note)
    return runner


def _made_for_another(model: ModelFile) -> str:
    """A note that a file's FP16 or INT8 is meant for TensorRT; "" if a CPU runs it well."""
    spec = model.spec
    if spec.precision not in ("fp16", "int8") or (spec.calibration or {}).get("made_for") == "cpu":
        return ""
    return (
        f"{model.path.name} is in {spec.precision.upper()} for TensorRT, and slower than its FP32 "
        "file on a CPU: stream with that one, or calibrate with `for` cpu"
    )


def _open_engine(model: ModelFile, threads: int | None, on_told: Callable[[str], None]) -> Runner:
    if threads is not None:
        raise ConfigError(
            f"{threads} CPU threads were asked for, and {model.path} is an engine, which runs on "
            "the GPU",
            "leave the threads out",
        )
    from edgecrack.runtime.backends.preflight import check_engine

    check_engine(model.path, model.spec)
    from edgecrack.runtime.backends.tensorrt_runner import TensorRTRunner

    return TensorRTRunner(model, on_told=on_told)
