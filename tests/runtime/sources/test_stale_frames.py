"""A reader slower than its camera, with clocks that drift, over an hour of simulated time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from edgecrack.runtime.sources.stale_frames import StaleFrames

INTERVAL_S = 0.04
GRAB_S = 0.003


@dataclass
class Camera:
    """Frame n is here at n intervals and its jitter; its own clock gains `drift`."""

    drift: float = 0.0
    jitter_s: float = 0.0
    late_from_s: float = float("inf")
    late_s: float = 0.0
    now_s: float = 1000.0
    next_number: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def grab(self) -> tuple[float, float, float]:
        """How long it took, when it was taken, its time by the camera's clock; and go on."""
        began_s = self.now_s
        made_s = 1000.0 + self.next_number * INTERVAL_S
        delay_s = self.rng.uniform(0, self.jitter_s) if self.jitter_s else 0.0
        delay_s += self.late_s if made_s > self.late_from_s else 0.0
        self.now_s = max(self.now_s, made_s + delay_s) + GRAB_S
        self.next_number += 1
        return self.now_s - began_s, self.now_s, (made_s - 1000.0) * (1 + self.drift)

    @property
    def age_s(self) -> float:
        """Of the last frame grabbed."""
        return self.now_s - 1000.0 - (self.next_number - 1) * INTERVAL_S


def ages(camera: Camera, work_s: float, for_s: float, rate_hz: float | None = 25) -> list[float]:
    """Ages of what a reader takes that works `work_s` on each frame."""
    backlog = StaleFrames(rate_hz)
    taken = []
    while camera.now_s < 1000.0 + for_s:
        for _ in range(64):
            if not backlog.hides_newer(*camera.grab()):
                break
        taken.append(camera.age_s)
        camera.now_s += work_s
    return taken


@pytest.mark.parametrize("drift", [-5e-5, 0.0, 5e-5])
@pytest.mark.parametrize("work_s", [0.045, 0.08, 0.15])
def test_the_age_stays_below_two_frame_times_for_an_hour(drift: float, work_s: float) -> None:
    """In which the clocks drift apart by more than four frame times."""
    taken = ages(Camera(drift), work_s, 3600)
    # At the beginning nothing has been waited for yet.
    assert max(taken[50:]) < 2 * INTERVAL_S + GRAB_S
    assert np.mean(taken[50:]) < 1.5 * INTERVAL_S


@pytest.mark.parametrize("drift", [-5e-5, 5e-5])
@pytest.mark.parametrize("work_s", [0.0, 0.02, 0.034])
@pytest.mark.parametrize("jitter_s", [0.0, 0.02])
def test_who_keeps_up_loses_almost_no_frame(drift: float, work_s: float, jitter_s: float) -> None:
    camera = Camera(drift, jitter_s)
    taken = ages(camera, work_s, 1800)
    assert len(taken) > 0.97 * camera.next_number


def test_a_network_that_became_slower_for_good_does_not_cost_frames_for_good() -> None:
    camera = Camera(late_from_s=1060.0, late_s=0.3)
    taken = ages(camera, 0.02, 1800)
    assert len(taken) > 0.97 * camera.next_number


@pytest.mark.parametrize("rate_hz", [None, 15.0, 50.0])
def test_a_wrong_or_missing_frame_rate_does_no_harm(rate_hz: float | None) -> None:
    assert max(ages(Camera(), 0.08, 600, rate_hz)[50:]) < 0.16
    camera = Camera()
    assert len(ages(camera, 0.01, 600, rate_hz)) > 0.97 * camera.next_number


@pytest.mark.parametrize("media_s", [None, 0.0])
def test_a_stream_without_times_never_hides_frames(media_s: float | None) -> None:
    backlog = StaleFrames(25)
    backlog.hides_newer(0.0, 0.0, media_s)
    assert not any(backlog.hides_newer(0.0, taken_s, media_s) for taken_s in range(1, 100))


def test_when_the_cameras_clock_is_set_it_begins_anew() -> None:
    backlog = StaleFrames(25)
    for number in range(100):
        backlog.hides_newer(0.035, number * INTERVAL_S, number * INTERVAL_S)
    assert not backlog.hides_newer(0.0, 4.0, 4.0 - 3600)
    assert backlog.hides_newer(0.0, 4.2, 4.04 - 3600)
