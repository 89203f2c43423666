"""Settings of a recording, and parsing of sizes and durations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from edgecrack.errors import ConfigError
from edgecrack.settings import settings

SUFFIX = ".mcap"
MIB = 1024 * 1024

WhenFull = Literal["delete-oldest", "stop"]

_QUANTITY = re.compile(
    r"\s*(?P<number>[0-9]{1,12}(?:\.[0-9]+)?)\s*(?P<unit>[a-z]+)\s*", re.IGNORECASE
)
_BYTES = {
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


@settings()
class RecordingConfig:
    """Settings of a recording.

    Attributes:
        path: `NAME.mcap`; parts are `NAME_0001.mcap`, `NAME_0002.mcap` and so on beside it. Its
            folder is created if it does not exist.
        part_bytes: a part that reaches this size is finished and the next one started.
        part_s: the same for a part of this age.
        when_full: what to do when the disk is nearly full: "delete-oldest" removes the oldest
            finished part of this name, "stop" ends the recording; inspection goes on.
        reserve_bytes: disk space that recording never uses.
        flush_s: results reach the disk at least this often.
    """

    path: Path
    part_bytes: Annotated[int, Field(ge=64 * 1024, description="at least 64KiB")] = 512 * MIB
    part_s: Annotated[float, Field(ge=1, description="at least 1 s")] = 600.0
    when_full: WhenFull = "stop"
    reserve_bytes: Annotated[int, Field(ge=0)] = 512 * MIB
    flush_s: Annotated[float, Field(gt=0, le=60)] = 1.0

    def __post_init__(self) -> None:
        if self.path.suffix.lower() != SUFFIX:
            raise ConfigError(
                f"the recording's name is {self.path.name!r}", "give a name that ends in .mcap"
            )


def parse_bytes(text: str) -> int:
    """A size such as "2GB" (1000s) or "500MiB" (1024s), in bytes.

    Raises:
        ConfigError: it is not a number with a unit.
    """
    return int(_quantity(text, _BYTES, "size", "500MB or 2GiB"))


def parse_seconds(text: str) -> float:
    """A duration such as "600s", "10min", "1.5h" or "1d", in seconds.

    Raises:
        ConfigError: it is not a number with a unit.
    """
    return _quantity(text, _SECONDS, "duration", "600s or 10min")


def _quantity(text: str, units: dict[str, int], what: str, examples: str) -> float:
    match = _QUANTITY.fullmatch(text)
    factor = units.get(match["unit"].lower()) if match else None
    if match is None or factor is None:
        raise ConfigError(f"{text!r} is not a {what}", f"give one such as {examples}")
    return float(match["number"]) * factor
