"""Mutations of a valid input: bytes in, bytes out, from a seeded generator.

Two kinds of damage: what a bad disk or line does (bits, cuts, pieces twice, pieces of another
input), and what a hand does (absurd numbers, wrong types, nesting, control characters, no UTF-8).
Knows bytes only; what a format's lengths and checksums are is the business of its kind.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

LARGEST_BYTES = 4 << 20
ABSURD_NUMBERS = (
    b"1e400", b"-1e400", b"1e-400", b"-1", b"0", b"-0.0", b"1e308", b"9223372036854775808",
    b"-9223372036854775809", b"18446744073709551616", b"4294967296", b"2147483648", b"65536",
    b"NaN", b"-NaN", b"Infinity", b"-Infinity", b"nan", b"inf", b"0x10", b"1_0", b"1.5",
    b"\xd9\xa3",     b"9" * 5000, b"0." + b"3" * 5000,
)  # fmt: skip
WRONG_TYPES = (
    b"null", b"true", b"false", b'""', b'"8"', b"[]", b"{}", b"[[]]", b'{"":{}}', b"[1,2,3,4,5]",
    b'"\\u0000"', b'"\\ud800"', b'"' + b"a" * 70_000 + b'"',
)  # fmt: skip
ODD_BYTES = (
    b"\0", b"\x1b[31m", b"\x07", b"\x7f", b"\r\n", b"\n\n", b"\t", b"\xff\xfe", b"\xc0\xaf",
    b"\xed\xa0\x80",     b"\xf4\x90\x80\x80", b"\xe2\x80\xae", b"\xef\xbb\xbf", b"%00", b"%s%n",
    b"$(id)", b"'", b'"', b"\\",
)  # fmt: skip
DEPTHS = (90, 101, 1_000, 100_000)
_EXTREMES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_LONG_EXTREMES = (2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_TOKEN = re.compile(
    rb'"(?:[^"\\]|\\.){0,200}"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\btrue\b|\bfalse\b|\bnull\b'
)
# Enough to find a place in; a search through megabytes of pixels would take its time.
_SEARCHED_BYTES = 1 << 16

Mutator = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def _place(rng: random.Random, data: bytes) -> int:
    """A place in the data; half of the time near its begin, where the heads are."""
    most = len(data) if rng.random() < 0.5 else min(len(data), 256)
    return rng.randrange(most + 1)


def flip_bits(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if data else 0):
        changed[min(_place(rng, data), len(data) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut_end(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[: _place(rng, data)]


def cut_out(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    first = _place(rng, data)
    return data[:first] + data[first + rng.choice((1, 2, 4, 16, 256, 4096)) :]


def repeat(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    first = _place(rng, data)
    end = first + rng.choice((1, 4, 16, 256, len(data)))
    return data[:end] + data[first:end] * rng.choice((1, 1, 2, 50)) + data[end:]


def splice(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return data[: _place(rng, data)] + other[_place(rng, other) :]


def odd_bytes(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    place = _place(rng, data)
    return data[:place] + rng.choice(ODD_BYTES) * rng.choice((1, 1, 3, 300)) + data[place:]


def random_bytes(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    place, count = _place(rng, data), rng.choice((1, 4, 64, 1024))
    return data[:place] + rng.randbytes(count) + data[place + count :]


def empty(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return rng.choice((b"", b"\n", b"\0", b" " * 10_000, bytes(65_536)))


def extreme_integer(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """What may be a length, a size or an offset becomes the largest, the smallest or one more."""
    size = rng.choice((1, 2, 4, 8))
    values = _EXTREMES + (_LONG_EXTREMES if size == 8 else ())
    value = rng.choice(values) % (1 << 8 * size)
    place = _place(rng, data)
    coded = value.to_bytes(size, rng.choice(("little", "big")))
    return data[:place] + coded + data[place + size :]


def other_value(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A number or a text of a readable input becomes an implausible one."""
    found = [match.span() for match in _TOKEN.finditer(data, 0, _SEARCHED_BYTES)]
    if not found:
        return extreme_integer(rng, data, others)
    first, end = rng.choice(found)
    value = rng.choice(rng.choice((ABSURD_NUMBERS, WRONG_TYPES)))
    return data[:first] + value + data[end:]


def nest(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A value lies deep in lists or objects; at times they are not closed."""
    found = [match.span() for match in _TOKEN.finditer(data, 0, _SEARCHED_BYTES)]
    first, end = rng.choice(found) if found else (0, len(data))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    depth = rng.choice(DEPTHS)
    inner = opening * depth + data[first:end] + closing * (depth * rng.randrange(2))
    return data[:first] + inner + data[end:]


MUTATORS: tuple[Mutator, ...] = (
    flip_bits, cut_end, cut_out, repeat, splice, odd_bytes, random_bytes, extreme_integer,
    other_value, other_value, other_value, nest,
)  # fmt: skip
BINARY_MUTATORS: tuple[Mutator, ...] = (
    flip_bits, flip_bits, cut_end, cut_out, repeat, splice, odd_bytes, random_bytes,
    extreme_integer, extreme_integer,
)  # fmt: skip


def mutate(
    rng: random.Random,
    data: bytes,
    others: Sequence[bytes],
    mutators: Sequence[Mutator] = MUTATORS,
) -> bytes:
    """One to four mutations of an input, at most `LARGEST_BYTES` long; one in 50 is nothing much.

    Args:
        rng: what is the same gives the same.
        data: a valid input.
        others: valid inputs to take pieces of.
        mutators: to choose from.
    """
    if rng.random() < 0.02:
        return empty(rng, data, others)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(mutators)(rng, data, others)[:LARGEST_BYTES]
    return data
