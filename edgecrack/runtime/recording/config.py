"""What a person chooses about a recording, and how sizes and durations are written.

Knows no file system and no MCAP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edgecrack.errors import ConfigError

SUFFIX = ".mcap"
MIB = 1024 * 1024

WhenFull = Literal["delete-oldest", "stop"]
WHEN_FULL: tuple[WhenFull, ...] = get_args(WhenFull)

_SMALLEST_PART = 64 * 1024
_QUANTITY = re.compile(
    r"\s*(?P<number>[0-9]{1,12}(?:\.[0-9]+)?)\s*(?P<unit>[a-z]+)\s*", re.IGNORECASE
)
_BYTES = {
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class RecordingConfig:
    """Settings of a recording.

    Attributes:
        path: `NAME.mcap`; parts are `NAME_0001.mcap`, `NAME_0002.mcap` and so on beside it. Its
            folder is made if it does not exist.
        part_bytes: a part that has grown to this size is finished and the next one begun.
        part_s: so is one that is this old.
        when_full: what to do when the disk is nearly full: "delete-oldest" removes the oldest
            finished part of this name, "stop" ends the recording; inspection goes on.
        reserve_bytes: room on the disk that recording never uses.
        flush_s: results reach the disk at least this often.
    """

    path: Path
    part_bytes: int = 512 * MIB
    part_s: float = 600.0
    when_full: WhenFull = "stop"
    reserve_bytes: int = 512 * MIB
    flush_s: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be recorded."""
        if self.path.suffix.lower() != SUFFIX:
            raise ConfigError(
                f"the recording's name is {self.path.name!r}", "give a name that ends in .mcap"
            )
        if self.part_bytes < _SMALLEST_PART:
            raise ConfigError(
                f"a part of the recording is {self.part_bytes} bytes", "give at least 64KiB"
            )
        if not self.part_s >= 1:
            raise ConfigError(f"a part of the recording is {self.part_s} s", "give at least 1 s")
        if self.when_full not in WHEN_FULL:
            raise ConfigError(
                f"when the disk is full: {self.when_full!r}", f"give {' or '.join(WHEN_FULL)}"
            )
        if self.reserve_bytes < 0:
            raise ConfigError(
                f"the room left on the disk is {self.reserve_bytes} bytes", "give 0 or more"
            )
        if not 0 < self.flush_s <= 60:
            raise ConfigError(
                f"results reach the disk every {self.flush_s} s", "give above 0 and at most 60 s"
            )


def parse_bytes(text: str) -> int:
    """A size such as "2GB" (1000s) or "500MiB" (1024s), in bytes.

    Raises:
        ConfigError: no number with a unit.
    """
    return int(_quantity(text, _BYTES, "size", "500MB or 2GiB"))


def parse_seconds(text: str) -> float:
    """A duration such as "600s", "10min", "1.5h" or "1d", in seconds.

    Raises:
        ConfigError: no number with a unit.
    """
    return _quantity(text, _SECONDS, "duration", "600s or 10min")


def _quantity(text: str, units: dict[str, int], what: str, examples: str) -> float:
    match = _QUANTITY.fullmatch(text)
    factor = units.get(match["unit"].lower()) if match else None
    if match is None or factor is None:
        raise ConfigError(f"{text!r} is no {what}", f"give one such as {examples}")
    return float(match["number"]) * factor
