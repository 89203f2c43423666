"""What a pipeline is given besides its source: the detector's interface and the settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.runtime.defaults import MIN_AREA_PX
from edgecrack.runtime.stats import StatsSnapshot


class Detector(Protocol):
    """Finds cracks in two stages, so that one thread prepares while another infers.

    Attributes:
        threshold: decision threshold, 0 to 1.
        model_name: what to call the model in results.
    """

    @property
    def threshold(self) -> float:
        """Decision threshold, 0 to 1."""
        ...

    @property
    def model_name(self) -> str:
        """What to call the model in results."""
        ...

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Network input uint8 [H, W] from uint8 [H, W, 3] BGR; called in its own thread."""
        ...

    def infer(self, prepared: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crack probability uint8 [H, W] of what `prepare` gave, 255 = certain."""
        ...


@dataclass(frozen=True)
class PipelineConfig:
    """How a stream runs.

    Attributes:
        max_frames: stop after this many processed frames; None goes on to the end.
        min_area_px: groups of crack pixels smaller than this are specks and dropped.
        queue_size: frames that may wait between two threads of a recording; memory for speed.
        stop: set it from anywhere to end the run after the frame in flight.
        on_progress: called in the calling thread, at most twice a second and once at the end.
        summary_path: where `summary.json` goes, also after a failure; None writes none.
        stall_timeout_s: a live source that delivers nothing for so long is an error.
        drain_timeout_s: longest wait at the end for results that still have to be written.
        join_timeout_s: longest wait at the end for a read that is under way.
    """

    max_frames: int | None = None
    min_area_px: int = MIN_AREA_PX
    queue_size: int = 4
    stop: threading.Event = field(default_factory=threading.Event)
    on_progress: Callable[[StatsSnapshot], None] | None = None
    summary_path: Path | None = None
    stall_timeout_s: float = 15.0
    drain_timeout_s: float = 60.0
    join_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        if self.max_frames is not None and self.max_frames < 1:
            raise ConfigError(f"max_frames is {self.max_frames}", "give 1 or more, or leave it out")
        if self.min_area_px < 0:
            raise ConfigError(f"min_area_px is {self.min_area_px}", "give 0 or more")
        if not 1 <= self.queue_size <= 1024:
            raise ConfigError(f"queue_size is {self.queue_size}", "give 1 to 1024")
