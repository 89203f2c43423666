"""What a live stream leaves out when the machine is too slow for the rate asked for.

In a stated order: frames above the rate are skipped; then neighbouring tiles overlap less (a
larger stride); then only a share of the tiles is inspected in each frame, another share in the
next. Each step is taken when the frames inspected last could not keep up, and taken back when
they could. Knows times and numbers of tiles; must not know frames or models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecrack.errors import ConfigError

TOO_SLOW = 1.05
FAST_ENOUGH = 0.85
PATIENCE_FRAMES = 5
_SMOOTHING = 0.3


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of a frame is inspected.

    Attributes:
        overlap_px: smallest overlap of tiles; None is the stream's own.
        share: 1 inspects all tiles, 2 every second one in turn, 3 every third.
    """

    overlap_px: int | None = None
    share: int = 1

    @property
    def name(self) -> str:
        """What is left out of a frame, in words."""
        if self.share == 2:
            return "every second tile"
        if self.share > 2:
            return f"{self.share - 1} of {self.share} tiles"
        return "nothing" if self.overlap_px is None else "the overlap of tiles"


FULL = Effort()
_STEPS = (FULL, Effort(0), Effort(0, 2), Effort(0, 3), Effort(0, 4))


class Pacer:
    """Decides which frames of a live source are taken, so that a rate is not exceeded.

    Args:
        rate_hz: frames per second to take.
    """

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = 1e9 / rate_hz
        self._due_ns = 0.0

    def takes(self, time_ns: int) -> bool:
        """Whether to take the frame of this moment; moments must not go backwards."""
        # A tenth of a period early is on time: cameras jitter.
        if time_ns < self._due_ns - 0.1 * self._period_ns:
            return False
        self._due_ns = max(self._due_ns + self._period_ns, time_ns + 0.5 * self._period_ns)
        return True


class Governor:
    """Chooses the effort for the next frame from how long the last ones took.

    Args:
        rate_hz: frames per second to keep to.
        tiles_of: number of tiles that an effort inspects in one frame of the present size.

    Raises:
        ConfigError: the rate is not a rate.
    """

    def __init__(self, rate_hz: float, tiles_of: Callable[[Effort], float]) -> None:
        if not 0 < rate_hz <= 1000:
            raise ConfigError(
                f"the target rate is {rate_hz} frames/s", "give a number above 0, at most 1000"
            )
        self._period_ms = 1000.0 / rate_hz
        self._tiles_of = tiles_of
        self._step = 0
        self._mean_ms: float | None = None
        self._slow = self._fast = 0

    @property
    def effort(self) -> Effort:
        """The effort for the next frame."""
        return _STEPS[self._step]

    def note(self, busy_ms: float) -> bool:
        """Take the time that the last frame kept the network busy.

        Returns:
            Whether the effort changed.
        """
        mean = self._mean_ms
        self._mean_ms = busy_ms if mean is None else mean + _SMOOTHING * (busy_ms - mean)
        steps = self._useful_steps()
        if self._step not in steps:  # useful at the frame size before, and not at this one
            return self._go_to(max(step for step in steps if step <= self._step))
        position = steps.index(self._step)
        self._slow = self._slow + 1 if self._mean_ms > TOO_SLOW * self._period_ms else 0
        if self._slow >= PATIENCE_FRAMES and position + 1 < len(steps):
            return self._go_to(steps[position + 1])
        if position > 0:
            fuller = steps[position - 1]
            expected_ms = self._mean_ms * self._cost(fuller) / max(self._cost(self._step), 1e-9)
            fits = expected_ms < FAST_ENOUGH * self._period_ms
            self._fast = self._fast + 1 if fits else 0
            if self._fast >= 2 * PATIENCE_FRAMES:
                return self._go_to(fuller)
        return False

    def _useful_steps(self) -> Sequence[int]:
        """The steps that inspect fewer tiles than the one before, at this frame size."""
        useful = [0]
        for step in range(1, len(_STEPS)):
            if self._cost(step) < self._cost(useful[-1]):
                useful.append(step)
        return useful

    def _cost(self, step: int) -> float:
        return self._tiles_of(_STEPS[step])

    def _go_to(self, step: int) -> bool:
        if self._mean_ms is not None:
            self._mean_ms *= self._cost(step) / max(self._cost(self._step), 1e-9)
        self._step = step
        self._slow = self._fast = 0
        return True
