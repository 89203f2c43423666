"""Checks where a model file may be written, before any work, so that no file of a user is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from edgecrack.artifacts import sidecar_path
from edgecrack.errors import ConfigError, OutputError
from edgecrack.files import output_error


def check_model_target(
    target: Path,
    suffixes: Sequence[str],
    inputs: Sequence[Path] = (),
    *,
    implied: bool = False,
) -> None:
    """Refuse a path that a model file must not be written to.

    Args:
        target: the model file; its sidecar is written beside it.
        suffixes: allowed suffixes, as in (".onnx",).
        inputs: model files that the command reads.
        implied: the user did not name the file; then a file that edgecrack did not write is kept.

    Raises:
        ConfigError: the name has another suffix, or is that of an input or its sidecar.
        OutputError: its folder is missing, it is a folder, or it is a file of another program.
    """
    written = {os.path.realpath(target), os.path.realpath(sidecar_path(target))}
    for path in inputs:
        if written & {os.path.realpath(path), os.path.realpath(sidecar_path(path))}:
            raise ConfigError(f"writing {target} would overwrite {path}", "give another name")
    if target.is_dir():
        raise output_error(target, IsADirectoryError(errno.EISDIR, "it is a folder"))
    if target.suffix not in suffixes:
        raise ConfigError(
            f"the output file is {target.name!r}",
            f"give a name that ends in {' or '.join(suffixes)}",
        )
    if not target.parent.is_dir():
        raise output_error(target, FileNotFoundError(errno.ENOENT, "its folder does not exist"))
    if implied and target.exists() and not sidecar_path(target).exists():
        raise OutputError(
            f"{target} would be an intermediate file, and is a file that edgecrack did not write",
            "move it away, or give the engine another name",
        )
