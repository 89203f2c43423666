"""What an inspection run will see, before anybody goes out: scale, blur, overlap, widths, data.

The camera is a pinhole that looks square at a flat surface. What a crack needs in pixels comes from
measurements of this project; each constant names its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from edgecrack.errors import ConfigError

# Cracks of 1 to 3 px: the bundled network finds 78 % of them in photos and 80 % of those made
# (docs/model-card.md, "Recall by crack width").
FOUND_PX = 1.0
# Widths from which a place along a crack gets a width in at least half of the cases (66 %) and in
# nearly every one (93 %), at a signal of 8 (docs/measurement.md, benchmarks/width_accuracy.py).
HALF_MEASURED_PX = 1.0
MEASURED_PX = 2.0
# Half the 95 % interval of a width at one place, 2 px at a signal of 8 (same table: 3.0 px).
PLACE_UNCERTAINTY_PX = 1.5
# Half the 95 % interval that `measure_image` states for the mean of a whole crack (about 30 places)
# from such a width on: medians of 14 cracks each of 2 to 12 px were 0.38 to 0.57 px at a signal of
# 8, rendered by benchmarks/rough_cracks.py (tests/test_planning.py renders some again). The errors
# are smaller, 0.07 to 0.15 px on average.
MEAN_UNCERTAINTY_PX = ((2.0, 0.5),)
# Sigma of the blur by lens and sensor: the middle of the 0.7 to 2 px that the tables average over.
LENS_BLUR_PX = 1.35
# More is refused: for measuring, and for anything (edgecrack/measurement/fitness.py).
MOST_BLUR_PX = 2.3
HOPELESS_BLUR_PX = 6.0
# A motion of b px smears evenly, and so has a sigma of b / sqrt(12).
_EVEN = math.sqrt(12)
MOST_MOTION_PX = 1.0
# JPEG of quality 95: 42 photos of concrete and roads, stored again, had 0.16 to 0.35 byte a pixel.
JPEG_BYTES_PER_PIXEL = 0.35
DEFAULT_OVERLAP = 0.7
# What is warned of where no width is asked for: the limit of EN 1992-1-1, 7.3.1 for most concrete.
USUAL_WIDTH_MM = 0.3
CERTAIN_MM = 0.1
# A flat picture of more than this comes from few lenses but fisheyes, which are no pinholes.
_WIDEST_FLAT_DEG = 110.0
_SAME = 1 + 1e-9  # what is at a limit is not beyond it

# What each number may be: above the first, at most the second; and how that is said.
_RANGES = {
    "width_px": (15, 100_000, "pixels, 16 to 100,000"),
    "height_px": (15, 100_000, "pixels, 16 to 100,000"),
    "distance_m": (1e-4, 10_000, "metres above 0, such as 1.5"),
    "focal_px": (0.5, 1e6, "pixels above 0, such as 1400"),
    "fov_deg": (0.01, 179, "degrees above 0, at most 179"),
    "focal_mm": (1e-3, 10_000, "millimetres above 0, such as 16"),
    "sensor_mm": (1e-3, 1000, "the sensor's width in millimetres, such as 13.2"),
    "exposure_ms": (0, 60_000, "milliseconds above 0, such as 2"),
    "frames_per_second": (0, 100_000, "frames in a second, above 0"),
    "wanted_width_mm": (1e-4, 1000, "millimetres above 0, such as 0.3"),
    "bytes_per_frame": (0, 1e12, "bytes above 0"),
}
_CAMERA = "give `focal_px`, or `fov_deg`, or `focal_mm` with `sensor_mm`"


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """A camera, where it is and how it moves.

    The camera is given in one of three ways: `focal_px`; `fov_deg`; `focal_mm` and `sensor_mm`.

    Attributes:
        width_px: of its pictures.
        height_px: of its pictures.
        distance_m: from the lens to the surface, in metres.
        focal_px: focal length in pixels, as a calibration gives it.
        fov_deg: horizontal field of view in degrees, of a picture without fisheye.
        focal_mm: focal length in millimetres.
        sensor_mm: width of the sensor in millimetres.
        speed_m_s: metres in a second along the surface; 0 on a tripod.
        along: the side of the picture along which the camera moves.
        exposure_ms: milliseconds; needed where the camera moves.
        frames_per_second: of the pictures that are kept or looked at; None where it is open.
        wanted_overlap: share of a frame that the next one shows again, 0 or more and below 1.
        wanted_width_mm: the smallest crack whose width has to be measured, in millimetres.
        bytes_per_frame: of a recording; None estimates that of a JPEG.

    Raises:
        ConfigError: a value is out of range, there is no camera or more than one, or the values
            contradict each other.
    """

    width_px: int
    height_px: int
    distance_m: float
    focal_px: float | None = None
    fov_deg: float | None = None
    focal_mm: float | None = None
    sensor_mm: float | None = None
    speed_m_s: float = 0.0
    along: Literal["height", "width"] = "height"
    exposure_ms: float | None = None
    frames_per_second: float | None = None
    wanted_overlap: float = DEFAULT_OVERLAP
    wanted_width_mm: float | None = None
    bytes_per_frame: float | None = None

    def __post_init__(self) -> None:
        for name, (above, most, what) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not above < value <= most:
                raise ConfigError(f"`{name}` is {value}", f"give {what}")
        if not 0 <= self.speed_m_s <= 1000:
            raise ConfigError(
                f"`speed_m_s` is {self.speed_m_s}", "give metres in a second; 0 on a tripod"
            )
        if not 0 <= self.wanted_overlap < 1:
            raise ConfigError(
                f"`wanted_overlap` is {self.wanted_overlap}",
                "give a share of 0 or more and below 1, such as 0.7",
            )
        if self.along not in ("height", "width"):
            raise ConfigError(f"`along` is {self.along!r}", "give height or width")
        self._check_camera()
        self._check_exposure()

    def _check_camera(self) -> None:
        in_mm = {"focal_mm": self.focal_mm, "sensor_mm": self.sensor_mm}
        missing = [name for name, value in in_mm.items() if value is None]
        given = {"focal_px": self.focal_px, "fov_deg": self.fov_deg} | in_mm
        named = [f"`{name}` {value:g}" for name, value in given.items() if value is not None]
        if not named:
            raise ConfigError("no camera is given", _CAMERA)
        if len(named) - (not missing) > 1:
            raise ConfigError(f"{' and '.join(named)} are more than one camera", _CAMERA)
        if len(missing) == 1:
            raise ConfigError(f"{named[0]} alone is no camera", f"give `{missing[0]}` as well")

    def _check_exposure(self) -> None:
        if self.speed_m_s and self.exposure_ms is None:
            raise ConfigError(
                f"`speed_m_s` is {self.speed_m_s:g} without an exposure time", "give `exposure_ms`"
            )
        if self.exposure_ms is not None and self.frames_per_second is not None:
            between_ms = 1000 / self.frames_per_second
            if self.exposure_ms > between_ms:
                raise ConfigError(
                    f"{self.exposure_ms:g} ms of exposure are longer than the "
                    f"{figure(between_ms)} ms from frame to frame",
                    "lower `exposure_ms` or `frames_per_second`",
                )

    @property
    def focal_length_px(self) -> float:
        """Focal length in pixels, whichever way the camera was given."""
        if self.focal_px is not None:
            return self.focal_px
        if self.fov_deg is not None:
            return self.width_px / 2 / math.tan(math.radians(self.fov_deg) / 2)
        # Both are there, by _check_camera.
        return (self.focal_mm or math.nan) * self.width_px / (self.sensor_mm or math.nan)


@dataclass(frozen=True)
class Plan:
    """What a run will see.

    Attributes:
        focal_length_px: in pixels.
        mm_per_pixel: millimetres of the surface that a pixel shows.
        footprint_m: width and height of the surface that a frame shows, in metres.
        motion_blur_px: pixels that the picture moves during an exposure.
        blur_px: sigma of what lens and motion blur together, in pixels.
        overlap: share of a frame that the next one shows again; below 0 where surface between them
            is not seen; None without a frame rate.
        lowest_frames_per_second: for the wanted overlap.
        fastest_sharp_m_s: speed at which the motion blur is 1 px; None without an exposure time.
        fastest_overlapping_m_s: speed at the wanted overlap; None without a frame rate.
        found_mm: the smallest width of a crack that is found; None where the blur is hopeless.
        half_measured_mm: width from which at least half of the places along a crack get a width;
            None where the blur is too much to measure.
        measured_mm: width from which nearly all places do; None likewise.
        place_uncertainty_mm: half the 95 % interval of such a width at one place; None likewise.
        mean_uncertainty_mm: of its mean over a whole crack; None likewise.
        certain_mm: width from which the mean's interval is at most +-0.1 mm (k = 2); None where
            it never is.
        certain_within_m: the greatest distance at which that holds for all widths that are
            measured; None where there is none at this speed and exposure time.
        wanted_within_m: the greatest distance at which the wanted width is measured in nearly all
            places; None where none is wanted, or there is none at this speed and exposure time.
        m2_per_hour: surface that one pass shows in an hour, in square metres.
        gb_per_hour: recording in an hour, in 10^9 bytes; None without a frame rate.
        warnings: each a clause with a remedy, without a final full stop.
    """

    focal_length_px: float
    mm_per_pixel: float
    footprint_m: tuple[float, float]
    motion_blur_px: float
    blur_px: float
    overlap: float | None
    lowest_frames_per_second: float
    fastest_sharp_m_s: float | None
    fastest_overlapping_m_s: float | None
    found_mm: float | None
    half_measured_mm: float | None
    measured_mm: float | None
    place_uncertainty_mm: float | None
    mean_uncertainty_mm: float | None
    certain_mm: float | None
    certain_within_m: float | None
    wanted_within_m: float | None
    m2_per_hour: float
    gb_per_hour: float | None
    warnings: tuple[str, ...]


def plan(config: PlanConfig) -> Plan:
    """What a camera sees from a distance, at a speed.

    >>> seen = plan(PlanConfig(width_px=2000, height_px=1000, focal_px=2000, distance_m=1))
    >>> seen.mm_per_pixel, seen.footprint_m, seen.measured_mm
    (0.5, (1.0, 0.5), 1.0)
    """
    scale = 1000 * config.distance_m / config.focal_length_px
    footprint_m = (config.width_px * scale / 1000, config.height_px * scale / 1000)
    along_m, across_m = footprint_m[::-1] if config.along == "height" else footprint_m
    motion_px = _motion_mm(config) / scale
    blur_px = _blur_px(motion_px)

    def measurable(size_px: float) -> float | None:
        return _in_mm(size_px, scale, blur_px) if blur_px <= MOST_BLUR_PX else None

    speed, rate = config.speed_m_s, config.frames_per_second
    fresh_m = (1 - config.wanted_overlap) * along_m
    wanted_mm = config.wanted_width_mm
    seen = Plan(
        focal_length_px=config.focal_length_px,
        mm_per_pixel=scale,
        footprint_m=footprint_m,
        motion_blur_px=motion_px,
        blur_px=blur_px,
        overlap=None if rate is None else 1 - speed / rate / along_m,
        lowest_frames_per_second=speed / fresh_m,
        fastest_sharp_m_s=config.exposure_ms and MOST_MOTION_PX * scale / config.exposure_ms,
        fastest_overlapping_m_s=rate and fresh_m * rate,
        found_mm=_in_mm(FOUND_PX, scale, blur_px) if blur_px <= HOPELESS_BLUR_PX else None,
        half_measured_mm=measurable(HALF_MEASURED_PX),
        measured_mm=measurable(MEASURED_PX),
        place_uncertainty_mm=measurable(PLACE_UNCERTAINTY_PX),
        mean_uncertainty_mm=measurable(MEAN_UNCERTAINTY_PX[0][1]),
        certain_mm=_certain_mm(scale, blur_px),
        certain_within_m=_within_m(config, CERTAIN_MM, MEAN_UNCERTAINTY_PX[0][1]),
        wanted_within_m=wanted_mm and _within_m(config, wanted_mm, MEASURED_PX),
        # Where frames do not touch, what lies between them is not seen.
        m2_per_hour=3600 * across_m * (speed if rate is None else min(speed, along_m * rate)),
        gb_per_hour=rate and 3600 * rate * _bytes_per_frame(config) / 1e9,
        warnings=(),
    )
    return replace(seen, warnings=tuple(filter(None, (look(config, seen) for look in _LOOKS))))


def figure(value: float) -> str:
    """A number with three significant digits, without an exponent: 0.902, 12.3, 1,863."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def _motion_mm(config: PlanConfig) -> float:
    # Metres in a second are millimetres in a millisecond.
    return config.speed_m_s * (config.exposure_ms or 0.0)


def _blur_px(motion_px: float) -> float:
    return math.hypot(LENS_BLUR_PX, motion_px / _EVEN)


def _in_mm(size_px: float, mm_per_pixel: float, blur_px: float) -> float:
    """A size that is so many pixels where only the lens blurs; it grows with the blur."""
    return size_px * mm_per_pixel * blur_px / LENS_BLUR_PX


def _certain_mm(mm_per_pixel: float, blur_px: float) -> float | None:
    if blur_px > MOST_BLUR_PX:
        return None
    for width_px, uncertainty_px in MEAN_UNCERTAINTY_PX:
        if _in_mm(uncertainty_px, mm_per_pixel, blur_px) <= CERTAIN_MM:
            return _in_mm(width_px, mm_per_pixel, blur_px)
    return None


def _within_m(config: PlanConfig, size_mm: float, size_px: float) -> float | None:
    """The greatest distance at which `_in_mm(size_px)` is at most `size_mm`, and measurable."""
    square = (size_mm / size_px) ** 2 - (_motion_mm(config) / _EVEN / LENS_BLUR_PX) ** 2
    if square <= 0:
        return None
    mm_per_pixel = math.sqrt(square)
    if _blur_px(_motion_mm(config) / mm_per_pixel) > MOST_BLUR_PX:
        return None
    return mm_per_pixel * config.focal_length_px / 1000


def _bytes_per_frame(config: PlanConfig) -> float:
    estimate = JPEG_BYTES_PER_PIXEL * config.width_px * config.height_px
    return config.bytes_per_frame or estimate


def _about_lens(config: PlanConfig, seen: Plan) -> str:
    degrees = 2 * math.degrees(math.atan(config.width_px / 2 / seen.focal_length_px))
    if degrees <= _WIDEST_FLAT_DEG:
        return ""
    return (
        f"a view of {degrees:.0f} degrees is usually a fisheye's, whose scale is not the same "
        "everywhere; plan with the field of view of its undistorted pictures"
    )


def _about_motion(config: PlanConfig, seen: Plan) -> str:
    if seen.motion_blur_px <= MOST_MOTION_PX * _SAME:
        return ""
    harm = "thin cracks across the motion fade"
    if seen.measured_mm is None:
        harm = "no width is measured" if seen.found_mm is not None else "the pictures are unfit"
    exposure_ms = MOST_MOTION_PX * seen.mm_per_pixel / config.speed_m_s
    return (
        f"motion blurs by {figure(seen.motion_blur_px)} px and {harm}; expose for at most "
        f"{figure(exposure_ms)} ms, or go at most {figure(seen.fastest_sharp_m_s or 0.0)} m/s"
    )


def _about_overlap(config: PlanConfig, seen: Plan) -> str:
    if seen.overlap is None or seen.overlap >= config.wanted_overlap - 1e-9:
        return ""
    problem = (
        f"frames overlap by {100 * seen.overlap:.0f} %, less than {100 * config.wanted_overlap:g} %"
        if seen.overlap >= 0
        else f"frames leave {figure(-100 * seen.overlap)} % of their length unseen between them"
    )
    return (
        f"{problem}; take at least {figure(seen.lowest_frames_per_second)} frames/s, or go at most "
        f"{figure(seen.fastest_overlapping_m_s or 0.0)} m/s"
    )


def _about_width(config: PlanConfig, seen: Plan) -> str:
    width_mm = config.wanted_width_mm or USUAL_WIDTH_MM
    if seen.measured_mm is not None and seen.measured_mm <= width_mm * _SAME:
        return ""
    is_found = seen.found_mm is not None and seen.found_mm <= width_mm * _SAME
    problem = f"cracks of {width_mm:g} mm are " + (
        "found, but not measured in nearly all places" if is_found else "too thin to be found"
    )
    within_m = _within_m(config, width_mm, MEASURED_PX)
    if within_m is None:  # 1 px of motion at the scale that would do on a tripod
        exposure_ms = MOST_MOTION_PX * width_mm / MEASURED_PX / config.speed_m_s
        nearer = _within_m(replace(config, exposure_ms=exposure_ms), width_mm, MEASURED_PX)
        return (
            f"{problem}, from no distance at this speed and exposure time; expose for at most "
            f"{figure(exposure_ms)} ms and go to {figure(nearer or 0.0)} m or nearer"
        )
    if within_m >= config.distance_m:  # only motion is in the way, and has its own warning
        return ""
    return f"{problem}; go to {figure(within_m)} m or nearer, or take a longer lens or more pixels"


_LOOKS = (_about_motion, _about_overlap, _about_width, _about_lens)
