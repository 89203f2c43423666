"""Writing files whole or not at all.

Every result is written to a temporary sibling and renamed when complete, so a full disk or a
killed process never leaves half a file under its final name.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import OutputError

_FREE_SPACE = "free some space or give another folder"
_NOT_WRITABLE = "give a folder that you may write to, or change its permissions"
_REMEDIES = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: "free some of your disk quota or give another folder",
    errno.EFBIG: "raise the file size limit (ulimit -f) or give another file system",
    errno.EACCES: _NOT_WRITABLE,
    errno.EPERM: _NOT_WRITABLE,
    errno.EROFS: "give a folder on a file system that is not mounted read-only",
    errno.ENOENT: "create the folder first or give one that exists",
    errno.ENOTDIR: "give a path whose parents are all folders",
    errno.EISDIR: "give the path of a file, not of a folder",
    errno.ENAMETOOLONG: "give a shorter file name",
    errno.EIO: "check the disk and its connection, or give another folder",
}


def output_error(path: Path | str, error: OSError) -> OutputError:
    """The `OutputError` that says why `path` was not written and what to do.

    For writers that cannot go through `replacing` (a growing video, a log); raise it
    `from error`.
    """
    remedy = _REMEDIES.get(error.errno or 0, "give another folder or check the disk")
    return OutputError(f"cannot write {path}: {error.strerror or error}", remedy)


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents.

    Raises:
        OutputError: it cannot be made or written into, or a file has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        problem = NotADirectoryError(errno.ENOTDIR, "it is a file")
        raise output_error(path, problem) from error
    except OSError as error:
        raise output_error(path, error) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise output_error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _target(path: Path | str) -> Path:
    """The file to replace: links followed, and known to be replaceable."""
    target = Path(os.path.realpath(path))
    if not target.parent.exists():
        raise output_error(path, FileNotFoundError(errno.ENOENT, "its folder does not exist"))
    if not target.parent.is_dir():
        raise output_error(path, NotADirectoryError(errno.ENOTDIR, "its folder is a file"))
    if target.is_dir():
        raise output_error(path, IsADirectoryError(errno.EISDIR, "it is a folder"))
    # Replacing /dev/null or a named pipe by a regular file would break the machine.
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise OutputError(f"cannot write {path}: it is not a regular file", "give another path")
    return target


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path | str, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is renamed to `path` if the block succeeds.

        with replacing("model.onnx") as partial:
            save(partial)

    The temporary path does not exist yet and has the same suffix, for writers that choose
    the format by it. If the block raises, the temporary file is removed and an older file
    at `path` stays as it was. A link at `path` stays a link: the file it names is replaced.

    Args:
        path: the file to write; its folder must exist.
        durable: flush to the disk before renaming, so that the file survives a power cut.
            Pass False for one file of many per second.

    Raises:
        OutputError: the folder is missing or not writable, the disk is full, the block wrote
            nothing, or `path` is a folder or a device. An `OSError` that names a file other
            than the temporary one passes through as it is.
    """
    try:
        target = _target(path)
    except OSError as error:
        raise output_error(path, error) from error
    partial = target.with_name(f".edgecrack-{secrets.token_hex(6)}{target.suffix}")
    try:
        yield partial
        if not partial.exists():
            raise OutputError(
                f"cannot write {path}: nothing was written", "check the disk and the file's format"
            )
        if durable:
            _sync(partial)
        partial.replace(target)
    except OSError as error:
        if error.filename is not None and str(error.filename) != str(partial):
            raise
        raise output_error(path, error) from error
    finally:
        # After success the name is gone already; after any failure, Ctrl-C included, it must go.
        with suppress(OSError):
            partial.unlink()


def write_atomic(path: Path | str, data: bytes | str, *, durable: bool = True) -> None:
    """Write `data` to `path` whole or not at all; text is written as UTF-8.

    Surrogates, as in a file name that is not valid UTF-8, are written as JSON escapes.

    Args:
        path: the file to write or replace; its folder must exist.
        data: the whole content.
        durable: as in `replacing`.

    Raises:
        OutputError: as in `replacing`.
    """
    content = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    with replacing(path, durable=durable) as partial, partial.open("xb") as file:
        file.write(content)


def write_png(path: Path | str, image: NDArray[Any], *, durable: bool = True) -> None:
    """Write an image as PNG, whole or not at all.

    Args:
        path: the file to write or replace; its folder must exist.
        image: uint8 or uint16, [H, W] gray, [H, W, 3] BGR or [H, W, 4] BGRA.
        durable: as in `replacing`.

    Raises:
        OutputError: the array is not an image that PNG can hold, or as in `replacing`.
    """
    plausible = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
    if image.dtype not in (np.uint8, np.uint16) or image.size == 0 or not plausible:
        raise OutputError(
            f"cannot write {path}: an image is {image.dtype} of shape {image.shape}",
            "give uint8 or uint16 of shape [H, W], [H, W, 3] or [H, W, 4]",
        )
    encoded, buffer = cv2.imencode(".png", image)
    if not encoded:
        raise OutputError(f"cannot write {path}: encoding failed", "give an ordinary image array")
    write_atomic(path, buffer.tobytes(), durable=durable)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts `frame2` before `frame10`; letters compare without case."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    numbered = tuple(
        (0, int(part), part) if part.isdigit() else (1, 0, part.lower()) for part in parts
    )
    return (*numbered, (2, 0, name))
