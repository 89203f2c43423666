"""The files of a build: the ONNX file that goes in, the engine and sidecar that come out.

Knows paths and sidecars; must not import TensorRT.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from edgecrack.artifacts import ModelSpec, read_verified_spec
from edgecrack.errors import ConfigError, ModelFileError
from edgecrack.files import output_error

_OTHER_KINDS = (".onnx", ".json", ".safetensors")


def read_model(onnx_file: Path) -> tuple[ModelSpec, bytes]:
    """Read an ONNX file and its sidecar.

    Returns:
        The file's description and the very bytes that it describes.

    Raises:
        ModelFileError: a file is missing, they do not match, or it is no ONNX file.
    """
    spec = read_verified_spec(onnx_file)
    if spec.kind != "onnx":
        raise ModelFileError(
            f"{onnx_file} is of kind {spec.kind!r}, and an engine is built from an ONNX file",
            "give a file made by `edgecrack export` or `edgecrack calibrate`",
        )
    model = onnx_file.read_bytes()
    if hashlib.sha256(model).hexdigest() != spec.sha256:
        raise ModelFileError(f"{onnx_file} changed while it was read", "start again")
    return spec, model


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
