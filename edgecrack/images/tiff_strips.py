"""Whether the compressed pieces of a TIFF are whole, which its decoders do not ask.

libtiff takes what a piece gives and fills the rest; JPEG and deflate know better. Knows bytes only.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import IO, Any

import simplejpeg

from edgecrack.images.tiff_tags import directories

_SUBFILE, _COMPRESSION, _TABLES = 254, 259, 347
_MASK = 4
_PIECES = ((273, 279), (324, 325))  # places and lengths of strips, or of tiles
_JPEG, _DEFLATE = 7, (8, 32946)
_END = b"\xff\xd9"
_READ_BYTES = 1 << 20


def are_strips_sound(file: IO[bytes]) -> bool:
    """Whether each strip or tile of a TIFF's first picture and of its mask is whole.

    As far as that can be told.

    Args:
        file: open, seekable; read piece by piece.
    """
    return all(
        _are_pieces_sound(file, tags)
        for number, tags in enumerate(directories(file))
        if number == 0 or _int(tags.get(_SUBFILE, 0)) & _MASK
    )


def _are_pieces_sound(file: IO[bytes], tags: Mapping[int, Any]) -> bool:
    compression = tags.get(_COMPRESSION, 1)
    if compression != _JPEG and compression not in _DEFLATE:
        return True
    tables = bytes(tags.get(_TABLES, b""))
    for place_tag, length_tag in _PIECES:
        pairs = zip(_list(tags.get(place_tag)), _list(tags.get(length_tag)), strict=False)
        for place, length in pairs:
            if not length:  # nothing was written there
                continue
            file.seek(place)
            if compression in _DEFLATE:
                is_sound = _is_deflate_sound(file, length)
            else:
                is_sound = _is_jpeg_sound(file.read(length), tables)
            if not is_sound:
                return False
    return True


def _int(value: Any) -> int:
    return int(value[0] if isinstance(value, (tuple, list)) else value)


def _list(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (tuple, list)) else (int(value),)


def _is_deflate_sound(file: IO[bytes], length: int) -> bool:
    """Whether so many bytes from here on are one whole stream, its checksum included."""
    decoder = zlib.decompressobj()
    try:
        while length > 0 and not decoder.eof:
            piece = file.read(min(length, _READ_BYTES))
            if not piece:
                return False
            length -= len(piece)
            while piece:
                decoder.decompress(piece, _READ_BYTES)
                piece = decoder.unconsumed_tail
    except zlib.error:
        return False
    return decoder.eof


def _is_jpeg_sound(piece: bytes, tables: bytes) -> bool:
    whole = tables.removesuffix(_END) + piece[2:] if tables else piece
    try:
        simplejpeg.decode_jpeg(whole, colorspace="GRAY", strict=True)
    except ValueError as error:
        # Of a colour space or sampling that this interface has no name for; then nobody can tell.
        return not any(word in str(error) for word in ("premature", "Premature", "orrupt"))
    return True
