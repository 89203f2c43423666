"""Memory, threads and open files of a process, and whether they grow.

Linux with glibc. The C heap is read by `mallinfo2`, which separates what is in use from what the
allocator keeps for later: a leak is growth of the first, fragmentation is growth of the second.
"""

from __future__ import annotations

import ctypes
import gc
import math
import sys
from collections.abc import Sequence
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import Any

import numpy as np
import psutil

Figures = dict[str, float]

_MB = 1e6
# Of a normal distribution: 95 % lie within so many standard deviations.
_SPREAD = 1.96


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc's malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def process_figures(*, objects: bool = False) -> Figures:
    """What this process holds now.

    Args:
        objects: count the objects that the garbage collector knows, too, which takes tens of
            milliseconds.

    Returns:
        Megabytes (1e6 bytes) of resident and anonymous memory, of the C heap in use and kept free,
        the arenas of the C heap, memory blocks of Python, threads, open files, child processes, and
        entries in the caches of functions.
    """
    process = psutil.Process()
    heap = _heap()
    figures: Figures = {
        "resident_mb": round(process.memory_info().rss / _MB, 2),
        "anonymous_mb": round(_anonymous_bytes() / _MB, 2),
        "heap_used_mb": round((heap.uordblks + heap.hblkhd) / _MB, 2),
        "heap_free_mb": round(heap.fordblks / _MB, 2),
        "heap_arenas": _arenas(),
        "python_blocks": sys.getallocatedblocks(),
        "threads": process.num_threads(),
        "open_files": process.num_fds(),
        "children": len(process.children()),
        "cached_calls": cached_calls(),
    }
    if objects:
        figures["objects"] = len(gc.get_objects())
    return figures


def trim() -> None:
    """Collect garbage, and give what the C heap keeps free back to the system."""
    gc.collect()
    _libc().malloc_trim(0)


def cached_calls(package: str = "edgecrack") -> int:
    """Entries in all `lru_cache`s of a package's modules."""
    caches: dict[int, Any] = {}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == package and module is not None:
            found = [each for each in vars(module).values() if isinstance(each, _lru_cache_wrapper)]
            caches.update((id(each), each) for each in found)
    return sum(each.cache_info().currsize for each in caches.values())


def trend(samples: Sequence[Figures], key: str, per_frames: int = 10_000) -> Figures:
    """How a figure goes over the frames: a straight line through the samples.

    Args:
        samples: each with `frame` and `key`; three or more.
        key: which figure.
        per_frames: the slope is reported per this many frames.

    Returns:
        First, last, mean and highest value; the slope, and the half width of its 95 % interval.
        Samples that follow each other are alike, so they count as fewer: n (1 - r) / (1 + r), where
        r is the correlation of each residual with the next (Santer et al. 2000, doi
        10.1029/1999JD901105).
    """
    frames = np.array([sample["frame"] for sample in samples], float)
    values = np.array([sample[key] for sample in samples], float)
    away = frames - frames.mean()
    slope = float(away @ values / (away @ away))
    rest = values - values.mean() - slope * away
    count = len(values)
    square = float(rest @ rest)
    alike = min(max(float(rest[:-1] @ rest[1:]) / square, 0.0), 0.99) if square > 0 else 0.0
    independent = max(count * (1 - alike) / (1 + alike), 3.0)
    deviation = math.sqrt(square / (independent - 2) / float(away @ away))
    return {
        "first": float(values[0]),
        "last": float(values[-1]),
        "mean": round(float(values.mean()), 3),
        "highest": float(values.max()),
        "slope": round(slope * per_frames, 4),
        "slope_spread": round(_SPREAD * deviation * per_frames, 4),
    }


def verdict(figures: Figures, tolerance: float) -> str:
    """Whether a figure is flat: "flat", "grows", "shrinks" or "undecided".

    Args:
        figures: as `trend` gives them.
        tolerance: a slope whose whole interval lies within this of zero is flat; one whose whole
            interval lies beyond is not; an interval that reaches across is undecided.
    """
    low = figures["slope"] - figures["slope_spread"]
    high = figures["slope"] + figures["slope_spread"]
    if -tolerance <= low and high <= tolerance:
        return "flat"
    if low > tolerance:
        return "grows"
    return "shrinks" if high < -tolerance else "undecided"


def _anonymous_bytes() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/smaps_rollup has no line `Anonymous:`")


def _heap() -> _MallInfo:
    libc = _libc()
    libc.mallinfo2.restype = _MallInfo
    found = libc.mallinfo2()
    assert isinstance(found, _MallInfo)
    return found


def _arenas() -> int:
    """How many arenas the C heap has: `malloc_info` writes a `<heap nr=...>` of each."""
    libc = _libc()
    libc.open_memstream.restype = ctypes.c_void_p
    text, length = ctypes.c_void_p(), ctypes.c_size_t()
    stream = ctypes.c_void_p(libc.open_memstream(ctypes.byref(text), ctypes.byref(length)))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    try:
        return ctypes.string_at(text, length.value).count(b"<heap nr=")
    finally:
        libc.free(text)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
