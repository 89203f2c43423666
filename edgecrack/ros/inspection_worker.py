"""Runs the network in a thread, always on the newest image, without importing ROS.

The node's executor never waits, and latency stays bounded: an image replaces one that waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.images.decoding import UnreadableImageError
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.measurement.regions import measure_cracks
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.handoff import Worker
from edgecrack.runtime.installed_models.opening import open_model_in_use
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask, Ignoring, read_ignore_mask
from edgecrack.runtime.scales import parse_scales
from edgecrack.runtime.sources.ros_images import UnsupportedEncodingError
from edgecrack.runtime.telemetry.events import RepeatLimiter

WARN_AGAIN_S = 10.0
_JOIN_S = 5.0


class ClosableDetector(Protocol):
    """The methods of `CrackDetector` that are used here."""

    @property
    def threshold(self) -> float:
        """Decision threshold, 0 to 1."""
        ...

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Network input uint8 [H, W] from uint8 [H, W, 3] BGR."""
        ...

    def infer(self, prepared: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crack probability uint8 [H, W]."""
        ...

    def ignoring(self, ignored: IgnoredPixels | None) -> ClosableDetector:
        """The same detector for frames of which a part is ignored."""
        ...

    def close(self) -> None:
        """Close the model."""
        ...


class NewestImageWorker:
    """Turns messages into results, one at a time, in a thread that starts immediately.

    A result's age is counted from the stamp in its message's header, if that is set, to now on
    `clock_ns`; so the camera's clock and this machine's must agree.

    Args:
        detector: the network; closed with the worker.
        to_bgr: a message's picture, uint8 [H, W, 3] BGR.
        publish: called with each result and its message's header, in the worker's thread.
        clock_ns: now, on the clock of the stamps.
        warn: called with a sentence for the log; of one kind at most every ten seconds.
        min_area_px: groups of crack pixels smaller than this are dropped.
        max_age_ms: results older than this are not published; None publishes all.
        ignore: where nothing is inspected; None inspects everything.

    Raises:
        ConfigError: `min_area_px` or `max_age_ms` is out of range. The detector is closed.
    """

    def __init__(
        self,
        detector: ClosableDetector,
        to_bgr: Callable[[Any], NDArray[np.uint8]],
        publish: Callable[[FrameResult, Any], None],
        *,
        clock_ns: Callable[[], int],
        warn: Callable[[str], object],
        min_area_px: int,
        max_age_ms: float | None,
        ignore: IgnoreMask | None = None,
    ) -> None:
        if min_area_px < 0 or (max_age_ms is not None and not max_age_ms > 0):
            detector.close()
            raise ConfigError(
                f"min_area is {min_area_px} px and max_age_ms {max_age_ms}", "give 0 or more"
            )
        self._detector, self._to_bgr, self._publish = detector, to_bgr, publish
        self._clock_ns, self._warn = clock_ns, warn
        self._min_area_px, self._max_age_ms = min_area_px, max_age_ms
        self._warnings = RepeatLimiter(WARN_AGAIN_S, is_episode=False)
        self._ignoring = Ignoring(ignore, lambda kind, text, level: self._warn_once(kind, text))
        self._index = 0
        self._worker = Worker[tuple[Any, int, int]](
            "edgecrack-ros", self._take, keep_newest=True, at_end=detector.close
        )
        self._worker.start()

    @property
    def replaced(self) -> int:
        """Images that newer ones replaced before the network was free."""
        return self._worker.replaced

    def put(self, message: Any) -> None:
        """Queue a message; returns immediately.

        Raises:
            BaseException: the error that ended the thread.
        """
        self._worker.put((message, self._clock_ns(), time.monotonic_ns()))

    def check(self) -> None:
        """Raise the error that ended the thread, if there was one."""
        self._worker.raise_error()

    def close(self) -> None:
        """Finish the current image and close the detector; may be called twice."""
        self._worker.finish()
        self._worker.join(_JOIN_S)

    def _take(self, item: tuple[Any, int, int]) -> None:
        try:
            self._process(*item)
        except BaseException:
            self._detector.close()
            raise

    def _process(self, message: Any, arrival_ns: int, arrival_monotonic_ns: int) -> None:
        stamp = message.header.stamp
        captured_ns = stamp.sec * 10**9 + stamp.nanosec or arrival_ns
        if self._is_stale(captured_ns):
            return
        try:
            image = self._to_bgr(message)
        except (UnreadableImageError, UnsupportedEncodingError) as error:
            self._warn_once(type(error).__name__, f"an image {error}; it is left out")
            return
        frame = Frame(
            image=image,
            index=self._index,
            capture_time_ns=captured_ns,
            source="ROS 2",
            name=f"{self._index:06d}",
            live=True,
            monotonic_ns=arrival_monotonic_ns,
            read_time_ns=arrival_ns,
            time_source="arrival" if captured_ns == arrival_ns else "sender",
        )
        self._index += 1
        result = self._inspect(frame)
        if not self._is_stale(captured_ns):
            self._publish(result, message.header)

    def _inspect(self, frame: Frame) -> FrameResult:
        started_ns = time.monotonic_ns()
        ignored = self._ignoring.of(frame)
        detector = self._detector if ignored is None else self._detector.ignoring(ignored)
        probability = detector.infer(detector.prepare(frame.image))
        inferred_ns = time.monotonic_ns()
        found = measure_cracks(probability, self._detector.threshold, self._min_area_px)
        return FrameResult(
            frame=frame,
            probability=probability,
            mask=found.mask,
            crack_pixels=found.crack_pixels,
            regions=found.regions,
            latency_ms=(time.monotonic_ns() - frame.monotonic_ns) / 1e6,
            inference_ms=(inferred_ns - started_ns) / 1e6,
            threshold=self._detector.threshold,
            inspected_ratio=1.0 if ignored is None else 1.0 - ignored.ratio,
            ignored=ignored,
        )

    def _is_stale(self, captured_ns: int) -> bool:
        if self._max_age_ms is None:
            return False
        age_ms = (self._clock_ns() - captured_ns) / 1e6
        if age_ms <= self._max_age_ms:
            return False
        self._warn_once(
            "stale",
            f"an image is {age_ms:.0f} ms old, so its result is not published (max_age_ms is "
            f"{self._max_age_ms:g}); the network is too slow, or the clocks do not agree",
        )
        return True

    def _warn_once(self, kind: str, sentence: str) -> None:
        if self._warnings.is_due(kind):
            self._warn(sentence)


def open_worker(
    given: Mapping[str, Any],
    to_bgr: Callable[[Any], NDArray[np.uint8]],
    publish: Callable[[FrameResult, Any], None],
    **more: Any,
) -> NewestImageWorker:
    """A worker with a node's parameters.

    Args:
        given: the parameters, as in `node.PARAMETERS`.
        to_bgr: see `NewestImageWorker`.
        publish: see `NewestImageWorker`.
        more: see `NewestImageWorker`.

    Raises:
        EdgecrackError: the model cannot be used, or a parameter is out of range.
    """
    model, ignore = (
        Path(given[name]).expanduser() if given[name] else None for name in ("model", "ignore")
    )
    mask = None if ignore is None else read_ignore_mask(ignore)
    scales = parse_scales(given["scales"]) if given["scales"] else None
    detector, _ = open_model_in_use(
        model,
        on_fallback=more["warn"],
        threshold=given["threshold"] or None,
        scales=scales,
    )
    return NewestImageWorker(
        detector,
        to_bgr,
        publish,
        min_area_px=given["min_area"],
        max_age_ms=given["max_age_ms"] or None,
        ignore=mask,
        **more,
    )
