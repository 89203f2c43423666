"""Finds the recording that an address names, and refuses recordings of other kinds.

`ros2 bag record` writes a folder, the bag, with one file or several. Files are told apart by their
names and first bytes.
"""

from __future__ import annotations

from pathlib import Path

from edgecrack.errors import SourceError
from edgecrack.files import natural_key
from edgecrack.images.decoding import IMAGE_SUFFIXES

# `.part`: in progress, or left by a kill; the others are packed as a whole.
RECORDING_SUFFIXES = (".mcap", ".mcap.part", ".mcap.zstd", ".mcap.zst", ".mcap.lz4")

_ROS1_SUFFIXES = (".bag", ".bag.active")
_SQLITE_SUFFIXES = (".db3", ".db3.zstd")
_UNPACKERS = {".mcap.gz": "gunzip", ".mcap.bz2": "bunzip2", ".mcap.xz": "unxz"}
_ROS1_MAGIC = b"#ROSBAG"
_SQLITE_MAGIC = b"SQLite format 3\0"
_NAMED_FILES = 8


def recording_at(path: Path) -> Path | None:
    """The recording that an address names.

    Args:
        path: a file, which need not exist, or a folder.

    Returns:
        The file itself, or the only recording in a folder without images; None where there is
        none.

    Raises:
        SourceError: it is a recording of an unsupported kind, or a folder with several.
    """
    if _is_folder(path):
        return _recording_in(path)
    if path.name.lower().endswith(RECORDING_SUFFIXES):
        return path
    if refusal := foreign_recording(path):
        raise refusal
    return None


def foreign_recording(path: Path, head: bytes = b"") -> SourceError | None:
    """The error for a recording of an unsupported kind; None for any other file.

    Args:
        path: the file.
        head: its first bytes, where its name is not enough.
    """
    name = path.name.lower()
    if name.endswith(_ROS1_SUFFIXES) or head.startswith(_ROS1_MAGIC):
        return SourceError(
            f"{path} is a recording of ROS 1, which is not supported",
            "convert it to an MCAP of ROS 2 (pip install rosbags): "
            f"rosbags-convert --src {path} --dst NEW_FOLDER --dst-storage mcap",
        )
    if name.endswith(_SQLITE_SUFFIXES) or head.startswith(_SQLITE_MAGIC):
        return SourceError(
            f"{path} is a ROS 2 recording in SQLite, which is not supported",
            "convert its bag to MCAP with `ros2 bag convert` (storage_id: mcap) or, without ROS "
            f"(pip install rosbags): rosbags-convert --src {path.parent} --dst NEW_FOLDER "
            "--dst-storage mcap",
        )
    for suffix, program in _UNPACKERS.items():
        if name.endswith(suffix):
            return SourceError(f"{path} is packed", f"unpack it first: {program} {path}")
    return None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, as the address of a pipeline
        return False


def _recording_in(folder: Path) -> Path | None:
    try:
        files = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if any(path.suffix.lower() in IMAGE_SUFFIXES for path in files):
            return None
        files = sorted(filter(Path.is_file, files), key=lambda path: natural_key(path.name))
    except OSError:
        return None  # the reader reports why it cannot be read
    found = [path for path in files if path.name.lower().endswith(RECORDING_SUFFIXES)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found[:_NAMED_FILES])
        rest = f" and {len(found) - _NAMED_FILES} more" if len(found) > _NAMED_FILES else ""
        raise SourceError(
            f"{folder} holds {len(found)} recordings: {names}{rest}",
            f"give one of them, as {found[0]}",
        )
    for path in files:
        if refusal := foreign_recording(path):
            raise refusal
    return None
