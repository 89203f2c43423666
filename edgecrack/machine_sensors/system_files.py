"""Files of the kernel: one value each, that may be missing, unreadable or nonsense at any time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def read_text(path: Path) -> str | None:
    """A file's text without what surrounds it; None where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # a Jetson's GPU zone while the GPU is switched off, a core that went offline
        return None


def read_number(path: Path, base: int = 10) -> int | None:
    """A file's whole number; None where it cannot be read or is none."""
    text = read_text(path)
    try:
        return None if text is None else int(text, base)
    except ValueError:
        return None


def read_numbers(paths: Iterable[Path]) -> dict[Path, int]:
    """The whole numbers of those files that have one."""
    found = {path: read_number(path) for path in paths}
    return {path: value for path, value in found.items() if value is not None}
