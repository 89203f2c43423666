"""What `ros2 bag record --compression-format zstd` packs: each message, or the whole file.

Both are apart from the compression of MCAP's own chunks, and no MCAP reader knows of them. A packed
message begins with the mark of zstd where CDR has a zero. A packed file, `run.mcap.zstd`, is
unpacked into a temporary one, for what an MCAP holds stands at its end. Knows bytes and files;
must not know what messages mean.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, cast

from edgecrack.errors import SourceError
from edgecrack.extras import require
from edgecrack.mcap.format import MAGIC, DamagedRecordError

_LOG = logging.getLogger("edgecrack")

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LZ4_MAGIC = b"\x04\x22\x4d\x18"

# A picture of 170 megapixels in three colours; a damaged or hostile length never takes more memory.
_LARGEST_MESSAGE_BYTES = 2**29
# A file may always grow to so many bytes, and otherwise to so many times its packed size, which
# nothing but films of a single colour exceeds.
_ALWAYS_BYTES = 2**30
_LARGEST_RATIO = 1000
# What zstd needs in memory at most, unless a file was packed with --long.
_LARGEST_WINDOW_BYTES = 2**27
_LONGEST_ZSTD_HEAD_BYTES = 18
# Where the library finds damage, what it has unpacked of the same piece is lost.
_PIECE_BYTES = 8 * 2**10
# What is left free on the disk, and how often that is looked at: every 16 MiB.
_RESERVE_BYTES = 64 * 2**20
_LOOK_EVERY_PIECES = 2048
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unpack_message(data: memoryview) -> memoryview:
    """A message's bytes; one that is not packed comes back as it is.

    Raises:
        DamagedRecordError: it is packed, and cannot be unpacked or would be larger than 512 MiB.
        MissingDependencyError: what unpacks it is not installed.
    """
    if data[: len(_ZSTD_MAGIC)] != _ZSTD_MAGIC:
        return data
    library = _library("zstandard")
    try:
        # The library believes a size in the frame rather than a limit that it is given.
        size = library.get_frame_parameters(data).content_size
        if size > _LARGEST_MESSAGE_BYTES and size != library.CONTENTSIZE_UNKNOWN:
            raise DamagedRecordError(f"it would be {size} bytes")
        content = library.ZstdDecompressor().decompress(
            data, max_output_size=_LARGEST_MESSAGE_BYTES, allow_extra_data=False
        )
    except library.ZstdError as error:
        raise DamagedRecordError(f"it cannot be unpacked: {error}") from error
    return memoryview(content)


def open_unpacked(path: Path) -> BinaryIO:
    """Open an MCAP file; one that is packed as a whole is unpacked first.

    What is whole of a damaged one is unpacked. The temporary file has no name and is gone when it
    is closed. It lies in the folder that TMPDIR names; without that, beside the packed one or,
    where that folder may not be written to or has no room, in the system's for temporary files.

    Args:
        path: a packed file is recognised by its content.

    Returns:
        The file, at its beginning.

    Raises:
        SourceError: it is packed, and nothing of it can be unpacked, what is in it is no MCAP or
            grows beyond all measure, or there is no room for that.
        MissingDependencyError: what unpacks it is not installed.
        OSError: it cannot be read.
    """
    with path.open("rb") as packed:
        magic = packed.read(len(_ZSTD_MAGIC))
        packed.seek(0)
        if magic == _ZSTD_MAGIC:
            return _unpacked(path, packed, _zstd_size(path, packed), _zstd_reader(packed))
        if magic == _LZ4_MAGIC:
            return _unpacked(path, packed, 0, _library("lz4.frame").LZ4FrameFile(packed).read1)
    return path.open("rb")


def _unpacked(
    path: Path, packed: BinaryIO, told_bytes: int, read: Callable[[int], bytes]
) -> BinaryIO:
    """What is in a packed file, as a temporary file at its beginning.

    Args:
        path: for messages.
        packed: the packed file.
        told_bytes: its size unpacked as it says; 0 where it does not say.
        read: gives as many unpacked bytes at most, none at the end.
    """
    packed_bytes = os.fstat(packed.fileno()).st_size
    most_bytes = max(_ALWAYS_BYTES, _LARGEST_RATIO * packed_bytes)
    if told_bytes > most_bytes:
        raise _too_large(path, packed_bytes, most_bytes)
    folder = _folder_with_room(path, max(told_bytes, packed_bytes))
    _LOG.info("%s is unpacked into %s", path, folder)
    try:
        with ExitStack() as on_failure:
            file = on_failure.enter_context(tempfile.TemporaryFile(dir=folder))
            written_bytes = 0
            for number, piece in enumerate(_pieces(path, read)):
                if number % _LOOK_EVERY_PIECES == 0 and _free_bytes(folder) < _RESERVE_BYTES:
                    raise _no_room(path, folder)
                written_bytes += len(piece)
                if written_bytes > most_bytes:
                    raise _too_large(path, packed_bytes, most_bytes)
                file.write(piece)
            file.seek(0)
            on_failure.pop_all()
            return cast(BinaryIO, file)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise _no_room(path, folder) from error


def _pieces(path: Path, read: Callable[[int], bytes]) -> Iterator[bytes]:
    """What can be unpacked of an MCAP file, up to its end or to where it is damaged.

    Raises:
        SourceError: nothing can be, or it is no MCAP.
    """
    head, damage = b"", "it is cut short"
    while True:
        try:
            piece = read(_PIECE_BYTES)
        except EOFError:
            break  # cut short: whoever reads what is in it says so
        except (OSError, MemoryError):
            raise
        except Exception as error:  # each library has its own
            damage = str(error)
            if head:
                _LOG.warning("%s is damaged, and read up to there: %s", path, damage)
            break
        if not piece:
            break
        head = head if len(head) >= len(MAGIC) else (head + piece)[: len(MAGIC)]
        if not MAGIC.startswith(head):
            raise SourceError(
                f"{path} is packed, and what is in it is not an MCAP recording",
                "give one that ros2 bag (storage mcap), Foxglove or edgecrack wrote",
            )
        yield piece
    if not head:
        raise _not_unpacked(path, damage)


def _zstd_reader(packed: BinaryIO) -> Callable[[int], bytes]:
    decompressor = _library("zstandard").ZstdDecompressor()
    reader = decompressor.stream_reader(packed, read_across_frames=True)
    return cast("Callable[[int], bytes]", reader.read1)


def _zstd_size(path: Path, packed: BinaryIO) -> int:
    """The size that a packed file tells of its content, 0 for none; leaves the place as it was."""
    library = _library("zstandard")
    head = packed.read(_LONGEST_ZSTD_HEAD_BYTES)
    packed.seek(0)
    try:
        told = library.get_frame_parameters(head)
    except library.ZstdError as error:
        raise _not_unpacked(path, str(error)) from error
    if told.window_size > _LARGEST_WINDOW_BYTES:
        raise SourceError(
            f"{path} takes {_size(told.window_size)} of memory to unpack",
            f"unpack it yourself: zstd -d --long=31 {path}",
        )
    return 0 if told.content_size == library.CONTENTSIZE_UNKNOWN else int(told.content_size)


def _folder_with_room(path: Path, needed_bytes: int) -> Path:
    """Where to unpack a file that takes so much at least.

    Raises:
        SourceError: no folder has so much room.
    """
    given = os.environ.get("TMPDIR")
    folders = [Path(given)] if given else [path.parent, Path(tempfile.gettempdir())]
    writable = [folder for folder in folders if os.access(folder, os.W_OK | os.X_OK)]
    for folder in writable:
        if _free_bytes(folder) >= needed_bytes + _RESERVE_BYTES:
            return folder
    raise _no_room(path, (writable or folders)[0])


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _library(name: str) -> ModuleType:
    return require(name, extra="record", purpose="a packed recording")


def _not_unpacked(path: Path, reason: str) -> SourceError:
    return SourceError(f"nothing of {path} can be unpacked: {reason}", "copy or record it again")


def _too_large(path: Path, packed_bytes: int, most_bytes: int) -> SourceError:
    return SourceError(
        f"{path} grows from {_size(packed_bytes)} to more than {_size(most_bytes)} when it is "
        "unpacked, as no recording does",
        f"if it is one all the same, unpack it yourself: zstd -d {path}",
    )


def _no_room(path: Path, folder: Path) -> SourceError:
    return SourceError(
        f"{path} cannot be unpacked: {folder} has no room for it, or may not be written to",
        "name a folder with more room in TMPDIR, or free some space",
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB" if size_bytes >= 2**20 else f"{size_bytes} bytes"
