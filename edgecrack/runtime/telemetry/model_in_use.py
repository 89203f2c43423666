"""Which model a run uses and why that one, for its summary, page and recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Origin = Literal["given", "installed", "bundled"]


@dataclass(frozen=True)
class ModelInUse:
    """The model of a run.

    Attributes:
        name: its file's.
        sha256: its hash, hexadecimal.
        origin: "given" by whoever started the run, "installed" on this machine, or "bundled".
        fallback: why it is not the one that is installed, as a sentence without a full stop; ""
            where it is the one that was meant.
    """

    name: str = ""
    sha256: str = ""
    origin: Origin = "given"
    fallback: str = ""
