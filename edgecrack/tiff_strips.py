"""Whether the compressed pieces of a TIFF are whole, which its decoders do not ask.

libtiff takes what a piece gives and fills the rest; JPEG and deflate know better. Knows bytes only.
"""

from __future__ import annotations

import io
import zlib
from typing import Any

import simplejpeg

from edgecrack.tiff_tags import read_tags

_COMPRESSION, _TABLES = 259, 347
_PIECES = ((273, 279), (324, 325))  # places and lengths of strips, or of tiles
_JPEG, _DEFLATE = 7, (8, 32946)
_END = b"\xff\xd9"


def are_strips_sound(data: bytes) -> bool:
    """Whether each strip or tile of a TIFF's first picture is whole, as far as that can be told."""
    tags = read_tags(io.BytesIO(data))
    compression = tags.get(_COMPRESSION, 1)
    if compression != _JPEG and compression not in _DEFLATE:
        return True
    for place_tag, length_tag in _PIECES:
        pairs = zip(_list(tags.get(place_tag)), _list(tags.get(length_tag)), strict=False)
        for place, length in pairs:
            piece = data[place : place + length]
            if piece and not _is_sound(piece, compression, bytes(tags.get(_TABLES, b""))):
                return False
    return True


def _list(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (tuple, list)) else (int(value),)


def _is_sound(piece: bytes, compression: int, tables: bytes) -> bool:
    if compression in _DEFLATE:
        decoder = zlib.decompressobj()
        try:
            while piece:
                decoder.decompress(piece, 1 << 20)
                piece = decoder.unconsumed_tail
        except zlib.error:
            return False
        return decoder.eof
    whole = tables.removesuffix(_END) + piece[2:] if tables else piece
    try:
        simplejpeg.decode_jpeg(whole, colorspace="GRAY", strict=True)
    except ValueError as error:
        # Of a colour space or sampling that this interface has no name for; then nobody can tell.
        return not any(word in str(error) for word in ("premature", "Premature", "orrupt"))
    return True
