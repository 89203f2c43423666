"""The files of a build: the ONNX file that goes in, the engine and sidecar that come out.

Knows paths and sidecars; must not import TensorRT.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from edgecrack.artifacts import ModelFile, read_model_file
from edgecrack.errors import ConfigError, ModelFileError
from edgecrack.files import output_error

_OTHER_KINDS = (".onnx", ".json", ".safetensors")


def read_onnx_file(path: Path | ModelFile) -> ModelFile:
    """Read an ONNX file and its sidecar.

    Raises:
        ModelFileError: a file is missing, they do not match, or it is no ONNX file.
    """
    model = read_model_file(path)
    if model.spec.kind != "onnx":
        raise ModelFileError(
            f"{model.path} is of kind {model.spec.kind!r}, and an engine is built from an ONNX "
            "file",
            "give a file made by `edgecrack export` or `edgecrack calibrate`",
        )
    return model


def check_output(output: Path, timing_cache: Path | None) -> None:
    """Refuse a place that cannot be written before minutes are spent on building.

    Args:
        output: the engine.
        timing_cache: the timing cache, where the user named one.

    Raises:
        ConfigError: the engine has the name of another kind of file.
        OutputError: a folder is missing or may not be written to.
    """
    if output.suffix.lower() in _OTHER_KINDS:
        raise ConfigError(
            f"the engine's file is {output.name}, the name of another kind of file",
            "give a name that ends in .engine",
        )
    for path in filter(None, (output, timing_cache)):
        folder = Path(os.path.realpath(path)).parent
        if path.is_dir():
            raise output_error(path, IsADirectoryError(errno.EISDIR, "it is a folder"))
        if not folder.exists():
            problem = FileNotFoundError(errno.ENOENT, "its folder does not exist")
            raise output_error(path, problem)
        if not folder.is_dir():
            raise output_error(path, NotADirectoryError(errno.ENOTDIR, "its folder is a file"))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise output_error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
