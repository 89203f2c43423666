"""The records of a stream: a frame, its result, and the robot's position.

All are immutable. Arrays are shared between threads without copies, so do not write to them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecrack.images.encodings import Encodings
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.images.photo_facts import PhotoFacts
from edgecrack.measurement.centre_lines import BoundedSkeleton, bounded_skeleton, lines_of
from edgecrack.measurement.cracks import Crack, trace_cracks
from edgecrack.measurement.regions import Region

TimeSource = Literal["driver", "sender", "arrival", "recording", "unknown"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from a source.

        >>> from edgecrack import open_source
        >>> with open_source("demo?frames=1") as source:
        ...     frame = source.read()
        >>> frame.name, frame.image.dtype.name, frame.time_source
        ('000000', 'uint8', 'unknown')

    Attributes:
        image: uint8 [H, W, 3] in BGR order.
        index: 0-based; counts every frame that the source delivered, so that frames dropped
            later show as gaps.
        capture_time_ns: when the picture was taken, in ns of `time.time_ns`; None where unknown, as
            for most files. For a live source the best available (`time_source`); for a recording
            of ours or of ROS 2 the picture's own stamp; for a video the start time in its
            container plus `media_time_ms`.
        source: the source's name, without credentials.
        name: the file's stem for a folder of images, otherwise the zero-padded index; unique
            within a source and fit for a file name.
        media_time_ms: position in a recording, None where there is none or it is not known.
        live: from a live source, so `capture_time_ns` is the moment that the picture shows.
        monotonic_ns: `time.monotonic_ns` at the moment of capture, or of reading for a recording.
            Latency is measured with it, since a robot's wall clock jumps when it first reaches a
            time server.
        read_time_ns: `time.time_ns` when this program received it.
        time_source: where `capture_time_ns` comes from: the camera's driver ("driver"), the clock
            of a network camera ("sender"), the moment at which it arrived here less the delay that
            the user gave ("arrival"), the recording ("recording"), or nowhere ("unknown").
        path: of an image file, None for other sources.
        photo: metadata in a photo's file, None without any.
        time_uncertainty_ms: how far `capture_time_ns` may be off, None where unknown.
        jpeg: the source's own JPEG of exactly this image, if any; recorded as it is.
    """

    image: NDArray[np.uint8] = field(repr=False)
    index: int
    capture_time_ns: int | None
    source: str
    name: str
    media_time_ms: float | None = None
    live: bool = False
    monotonic_ns: int = field(default_factory=time.monotonic_ns)
    jpeg: bytes | None = field(default=None, repr=False)
    read_time_ns: int = field(default_factory=time.time_ns)
    time_source: TimeSource = "unknown"
    time_uncertainty_ms: float | None = None
    photo: PhotoFacts | None = field(default=None, repr=False)
    path: Path | None = None

    @property
    def stamp_ns(self) -> int:
        """The capture time, or the time of reading where that is unknown."""
        return self.read_time_ns if self.capture_time_ns is None else self.capture_time_ns

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]

    def is_older_than(self, limit_ms: float | None) -> bool:
        """Whether a live frame is older than the limit; None is no limit."""
        if limit_ms is None or not self.live:
            return False
        return time.monotonic_ns() - self.monotonic_ns > limit_ms * 1e6


@dataclass(frozen=True, slots=True)
class Position:
    """Where the robot was at one moment; unknown values are None.

    Attributes:
        time_ns: wall clock of the moment, as in `Frame.capture_time_ns`.
        gap_ms: to the nearest measured sample; 0 at a sample.
        xyz_m: position in the odometry's frame.
        quaternion_xyzw: orientation in that frame, of length 1.
        latitude_deg: WGS 84, -90 to 90.
        longitude_deg: WGS 84, -180 to 180.
        altitude_m: above the ellipsoid.
        distance_m: length of the path driven since the first sample.
        range_m: from the camera to the surface, as a range finder beside it measures it.
        range_deviation_m: its standard uncertainty, where the sensor reports it.
    """

    time_ns: int
    gap_ms: float = 0.0
    xyz_m: tuple[float, float, float] | None = None
    quaternion_xyzw: tuple[float, float, float, float] | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float | None = None
    distance_m: float | None = None
    range_m: float | None = None
    range_deviation_m: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


class CentreLines:
    """A mask's skeleton and centre lines, each computed on first use, from any thread."""

    __slots__ = ("_lines", "_lock", "_skeleton")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._skeleton: BoundedSkeleton | None = None
        self._lines: tuple[NDArray[np.float64], ...] | None = None

    def of(self, mask: NDArray[np.uint8]) -> tuple[NDArray[np.float64], ...]:
        """Centre lines of a mask, which is always the same one."""
        with self._lock:
            if self._lines is None:
                self._lines = lines_of(mask, self.skeleton(mask))
            return self._lines

    def skeleton(self, mask: NDArray[np.uint8]) -> BoundedSkeleton:
        """Skeleton of a mask, which is always the same one."""
        with self._lock:
            if self._skeleton is None:
                self._skeleton = bounded_skeleton(mask)
            return self._skeleton


@dataclass(frozen=True, slots=True)
class FrameResult:
    """The findings in one frame; each sink of `run_pipeline` is given these.

        >>> from edgecrack import open_detector, open_source, run_pipeline
        >>> found = []
        >>> with open_source("demo?frames=1") as source, open_detector(threads=1) as detector:
        ...     _ = run_pipeline(source, detector, [found.append])
        >>> found[0].mask.shape == found[0].frame.hw, found[0].inspected_ratio
        (True, 1.0)

    Attributes:
        frame: the frame as captured.
        probability: uint8 [H, W], 255 = certain crack.
        mask: uint8 [H, W], 255 on crack and 0 elsewhere, specks removed.
        crack_pixels: number of crack pixels in `mask`.
        regions: connected groups of crack pixels, largest first.
        latency_ms: from the capture to this result. A recording is read ahead, so there it is the
            time of preparing, inferring and measuring, without waiting in queues.
        inference_ms: time in the detector's `infer`.
        threshold: the decision threshold for `mask`; it may change while a stream runs.
        inspected_ratio: share of the frame's pixels that the network saw, 0 to 1; below 1 where
            a part is ignored, and where an overloaded stream leaves tiles out. The rest of `mask`
            is 0.
        position: where the robot was, if known.
        encodings: the frame and mask as bytes, made once for all outputs.
        ignored: the pixels ignored on purpose; None for none.
        lines: the centre lines, computed once for all outputs.
    """

    frame: Frame
    probability: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    crack_pixels: int
    regions: tuple[Region, ...]
    latency_ms: float
    inference_ms: float
    threshold: float = 0.5
    inspected_ratio: float = 1.0
    position: Position | None = None
    encodings: Encodings = field(default_factory=Encodings, repr=False, compare=False)
    ignored: IgnoredPixels | None = field(default=None, repr=False)
    lines: CentreLines = field(default_factory=CentreLines, repr=False, compare=False)

    @property
    def ignored_ratio(self) -> float:
        """Share of the frame's pixels that was ignored on purpose, 0 to 1."""
        return 0.0 if self.ignored is None else self.ignored.ratio

    @property
    def missed_ratio(self) -> float:
        """Share of the frame's pixels that should have been inspected and were not, 0 to 1."""
        return max(0.0, 1.0 - self.inspected_ratio - self.ignored_ratio)

    @property
    def crack_ratio(self) -> float:
        """Share of the frame's pixels that are crack, 0 to 1."""
        return self.crack_pixels / self.mask.size

    def centre_lines(self) -> tuple[NDArray[np.float64], ...]:
        """Along the middle of the cracks in `mask`; see `measurement.centre_lines.lines_of`."""
        return self.lines.of(self.mask)

    def cracks(self) -> list[Crack]:
        """The cracks in `mask` without their widths; see `measurement.cracks.trace_cracks`."""
        return trace_cracks(self.mask, self.probability, self.lines.skeleton(self.mask))

    def jpeg(self) -> bytes:
        """The frame, without drawings, as JPEG."""
        return self.frame.jpeg or self.encodings.jpeg(self.frame.image)

    def mask_png(self) -> bytes:
        """The mask as PNG."""
        return self.encodings.mask_png(self.mask)


def describe_position(position: Position | None) -> str:
    """A position as a short text for a caption; empty where unknown.

    Latitude and longitude if known, otherwise the distance driven, otherwise the position in the
    odometry's frame.
    """
    if position is None:
        return ""
    if position.latitude_deg is not None and position.longitude_deg is not None:
        # Plus zero, to avoid a minus before zeros.
        latitude, longitude = (
            round(angle, 6) + 0.0 for angle in (position.latitude_deg, position.longitude_deg)
        )
        return f"{latitude:.6f}, {longitude:.6f}"
    if position.distance_m is not None:
        return f"distance {round(position.distance_m, 1) + 0.0:.1f} m"
    if position.xyz_m is not None:
        x, y, z = (round(value, 1) + 0.0 for value in position.xyz_m)
        return f"x {x:.1f} y {y:.1f} z {z:.1f} m"
    return ""
