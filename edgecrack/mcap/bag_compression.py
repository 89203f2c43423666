"""Unpacks what `ros2 bag record --compression-format zstd` packs: each message, or the whole file.

Both differ from the compression of MCAP's own chunks, and MCAP readers do not support them. A
packed message begins with the magic bytes of zstd where CDR has a zero. A packed file,
`run.mcap.zstd`, is unpacked into a temporary one, as an MCAP file has its index at its end.
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
# A file may always grow to this many bytes, and otherwise to this many times its packed size, which
# only films of a single colour exceed.
_ALWAYS_BYTES = 2**30
_LARGEST_RATIO = 1000
# The most memory that zstd needs, unless a file was packed with --long.
_LARGEST_WINDOW_BYTES = 2**27
_LONGEST_ZSTD_HEAD_BYTES = 18
# Where the library finds damage, all that it has unpacked of the same piece is lost.
_PIECE_BYTES = 8 * 2**10
# Left free on the disk, which is checked every 16 MiB.
_RESERVE_BYTES = 64 * 2**20
_CHECK_EVERY_PIECES = 2048
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unpack_message(data: memoryview) -> memoryview:
    """A message's bytes; one that is not packed is returned as it is.

    Raises:
        DamagedRecordError: it is packed, and cannot be unpacked or would be larger than 512 MiB.
        MissingDependencyError: the library that unpacks it is not installed.
    """
    if data[: len(_ZSTD_MAGIC)] != _ZSTD_MAGIC:
        return data
    library = _library("zstandard")
    try:
        # The library trusts the size in the frame more than the limit that it is given.
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

    A damaged file is unpacked up to the damage. The temporary file has no name and is gone when it
    is closed. It is in the folder that TMPDIR names; without that, beside the packed file or, if
    that folder is not writable or has no room, in the system's folder for temporary files.

    Args:
        path: a packed file is recognised by its content.

    Returns:
        The file, at its beginning.

    Raises:
        SourceError: it is packed, and nothing of it can be unpacked, its content is not MCAP or
            far too large, or there is no room for it.
        MissingDependencyError: the library that unpacks it is not installed.
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
    path: Path, packed: BinaryIO, stated_bytes: int, read: Callable[[int], bytes]
) -> BinaryIO:
    """The content of a packed file as a temporary file, at its beginning.

    Args:
        path: for messages.
        packed: the packed file.
        stated_bytes: unpacked size by its own head; 0 if not known.
        read: returns at most so many unpacked bytes, none at the end.
    """
    packed_bytes = os.fstat(packed.fileno()).st_size
    most_bytes = max(_ALWAYS_BYTES, _LARGEST_RATIO * packed_bytes)
    if stated_bytes > most_bytes:
        raise _too_large(path, packed_bytes, most_bytes)
    folder = _folder_with_room(path, max(stated_bytes, packed_bytes))
    _LOG.info("%s is unpacked into %s", path, folder)
    try:
        with ExitStack() as on_failure:
            file = on_failure.enter_context(tempfile.TemporaryFile(dir=folder))
            written_bytes = 0
            for number, piece in enumerate(_pieces(path, read)):
                if number % _CHECK_EVERY_PIECES == 0 and _free_bytes(folder) < _RESERVE_BYTES:
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
    """An MCAP file unpacked piece by piece, up to its end or to damage.

    Raises:
        SourceError: nothing can be unpacked, or it is not MCAP.
    """
    head, damage = b"", "it is cut short"
    while True:
        try:
            piece = read(_PIECE_BYTES)
        except EOFError:
            break  # cut short, which the reader of the content reports
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
                f"{path} is packed, but its content is not an MCAP recording",
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
    """Unpacked size by the head of a packed file, 0 if not known; read from its beginning."""
    library = _library("zstandard")
    head = packed.read(_LONGEST_ZSTD_HEAD_BYTES)
    packed.seek(0)
    try:
        found = library.get_frame_parameters(head)
    except library.ZstdError as error:
        raise _not_unpacked(path, str(error)) from error
    if found.window_size > _LARGEST_WINDOW_BYTES:
        raise SourceError(
            f"{path} needs {_size(found.window_size)} of memory to unpack",
            f"unpack it yourself: zstd -d --long=31 {path}",
        )
    return 0 if found.content_size == library.CONTENTSIZE_UNKNOWN else int(found.content_size)


def _folder_with_room(path: Path, needed_bytes: int) -> Path:
    """The folder in which to unpack a file.

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
        "unpacked, which no recording does",
        f"if it is a recording nevertheless, unpack it yourself: zstd -d {path}",
    )


def _no_room(path: Path, folder: Path) -> SourceError:
    return SourceError(
        f"{path} cannot be unpacked: {folder} has no room for it or is not writable",
        "name a folder with more room in TMPDIR, or free some space",
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB" if size_bytes >= 2**20 else f"{size_bytes} bytes"
