"""Photo metadata from EXIF and DJI's XMP: time, place, distance and lens.

For measuring in millimetres and for the report. Values out of range are ignored.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from edgecrack.images.kinds import opened

_EXIF, _GPS = 0x8769, 0x8825
_MAKE, _MODEL, _ORIENTATION = 0x010F, 0x0110, 0x0112
_TAKEN, _FRACTION, _OFFSET = 0x9003, 0x9291, 0x9011
_FOCAL_MM, _FOCAL_35_MM, _EXPOSURE_S, _DISTANCE_M = 0x920A, 0xA405, 0x829A, 0x9206
_FOCAL_PLANE_X, _FOCAL_PLANE_UNIT = 0xA20E, 0xA210
_ZOOM, _WIDTH_PX, _HEIGHT_PX = 0xA404, 0xA002, 0xA003
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
# drone-dji:GimbalPitchDegree="-12.30", or as an element of that name.
_DJI = re.compile(rb"(?<!/)drone-dji:(?P<name>\w+)(?:\s*=\s*\"(?P<one>[^\"]*)\"|>(?P<two>[^<]*)<)")
_XMP_BYTES = 1 << 20
_EARLIEST = datetime(1990, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """Photo metadata; None for anything missing in the file.

    Attributes:
        taken_at: when, ISO 8601 with the offset from UTC where the camera knew it, else without.
        taken_ns: the same in ns since 1970; None where the offset is not known.
        camera: maker and model.
        orientation: EXIF's, 1 to 8; the picture is delivered upright.
        focal_mm: of the lens.
        focal_35_mm: the same for a sensor of 36 mm by 24 mm.
        pixels_per_mm: of the sensor, across.
        digital_zoom: digital zoom factor; 1 or None for none.
        taken_size_px: the longer and the shorter side as the camera took the picture.
        exposure_s: exposure time.
        distance_m: focus distance, by the camera.
        latitude_deg: WGS 84, -90 to 90.
        longitude_deg: WGS 84, -180 to 180.
        altitude_m: above sea level.
        range_m: to the target, by the drone's laser, where it reports a valid measurement.
        calibrated_focal_px: of the lens by the drone's calibration, in pixels.
        dewarp: the drone's calibration of the lens, as written; empty if missing.
        gimbal_pitch_deg: -90 looks straight down.
        gimbal_yaw_deg: 0 looks north.
        gimbal_roll_deg: 0 is upright.
        relative_altitude_m: above the take-off point.
    """

    taken_at: str | None = None
    taken_ns: int | None = None
    camera: str | None = None
    orientation: int | None = None
    focal_mm: float | None = None
    focal_35_mm: float | None = None
    pixels_per_mm: float | None = None
    digital_zoom: float | None = None
    taken_size_px: tuple[int, int] | None = None
    exposure_s: float | None = None
    distance_m: float | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float | None = None
    range_m: float | None = None
    calibrated_focal_px: float | None = None
    dewarp: str | None = None
    gimbal_pitch_deg: float | None = None
    gimbal_yaw_deg: float | None = None
    gimbal_roll_deg: float | None = None
    relative_altitude_m: float | None = None

    def without_location(self) -> PhotoFacts:
        """A copy without location."""
        return replace(
            self,
            latitude_deg=None,
            longitude_deg=None,
            altitude_m=None,
            relative_altitude_m=None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; only what is known."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        known.pop("taken_ns", None)
        return known


def photo_facts(data: bytes) -> PhotoFacts | None:
    """Read a photo's metadata; None if there is none, or none is readable.

    Args:
        data: the file's bytes: JPEG, TIFF, PNG, WebP, HEIC or AVIF.
    """
    try:
        found = PhotoFacts(**{**_exif_facts(data), **_dji_facts(data)})
    except (ValueError, ArithmeticError, TypeError):  # damaged metadata must not end a run
        return None
    return found if any(getattr(found, one.name) is not None for one in fields(found)) else None


def _exif_facts(data: bytes) -> dict[str, Any]:
    try:
        with opened(data) as image:
            exif = image.getexif()
            base, more, place = dict(exif), dict(exif.get_ifd(_EXIF)), dict(exif.get_ifd(_GPS))
    except Exception:  # what cannot be read says nothing
        return {}
    tags = {**base, **more}
    taken_at, taken_ns = _moment(tags, place)
    unit_mm = _UNIT_MM.get(int(_number(tags.get(_FOCAL_PLANE_UNIT)) or 0))
    density = _number(tags.get(_FOCAL_PLANE_X), least=0.0)
    orientation = _number(base.get(_ORIENTATION), least=1, most=8)
    return {
        "taken_at": taken_at,
        "taken_ns": taken_ns,
        "camera": " ".join(filter(None, (_text(base.get(_MAKE)), _text(base.get(_MODEL))))) or None,
        "orientation": None if orientation is None else int(orientation),
        "focal_mm": _number(tags.get(_FOCAL_MM), least=0.0),
        "focal_35_mm": _number(tags.get(_FOCAL_35_MM), least=0.0),
        "pixels_per_mm": _number(density / unit_mm) if density and unit_mm else None,
        "digital_zoom": _number(tags.get(_ZOOM), least=1e-6),
        "taken_size_px": _size(tags),
        "exposure_s": _number(tags.get(_EXPOSURE_S), least=0.0),
        "distance_m": _number(tags.get(_DISTANCE_M), least=0.0),
        "latitude_deg": _angle(place.get(2), place.get(1), "S", 90.0),
        "longitude_deg": _angle(place.get(4), place.get(3), "W", 180.0),
        "altitude_m": _altitude(place),
    }


def _size(tags: dict[int, Any]) -> tuple[int, int] | None:
    sides = [_number(tags.get(tag), least=1, most=1e6) for tag in (_WIDTH_PX, _HEIGHT_PX)]
    if sides[0] is None or sides[1] is None:
        return None
    return int(max(sides[0], sides[1])), int(min(sides[0], sides[1]))


def _moment(tags: dict[int, Any], place: dict[int, Any]) -> tuple[str | None, int | None]:
    """When a photo was taken; with its offset from UTC where the camera or its GPS knew that."""
    text = _text(tags.get(_TAKEN))
    if text is None:
        return None, None
    try:
        moment = datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None, None
    fraction = _text(tags.get(_FRACTION)) or ""
    if fraction.isdecimal() and fraction.isascii():
        moment = moment.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    zone = _zone(_text(tags.get(_OFFSET))) or _zone_by_gps(moment, place)
    if zone is None:
        return moment.isoformat(), None
    dated = moment.replace(tzinfo=zone)
    if dated < _EARLIEST:
        return None, None
    return dated.isoformat(), ns_since_1970(dated)


def ns_since_1970(moment: datetime) -> int:
    """A moment with its offset as ns, exact to the microsecond, which a float would not be."""
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since // timedelta(microseconds=1)) * 1000


def _zone(text: str | None) -> timezone | None:
    match = re.fullmatch(r"([+-])(\d\d):(\d\d)", text or "")
    if match is None:
        return timezone.utc if text == "Z" else None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    if offset >= timedelta(hours=24):
        return None
    return timezone(-offset if match[1] == "-" else offset)


def _zone_by_gps(moment: datetime, place: dict[int, Any]) -> timezone | None:
    """The offset that makes the camera's clock agree with GPS's, to a quarter of an hour."""
    date, time_of_day = _text(place.get(29)), place.get(7)
    if date is None or not isinstance(time_of_day, tuple) or len(time_of_day) != 3:
        return None
    try:
        hours, minutes, seconds = (float(part) for part in time_of_day)
        midnight = datetime.strptime(date, "%Y:%m:%d")
        utc = midnight + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    quarters = round((moment - utc).total_seconds() / 900)
    is_near = abs((moment - utc).total_seconds() - 900 * quarters) < 120
    return timezone(timedelta(minutes=15 * quarters)) if is_near and abs(quarters) <= 56 else None


def _angle(value: Any, side: Any, negative: str, most: float) -> float | None:
    if not isinstance(value, tuple) or len(value) != 3:
        return None
    parts = [_number(part, least=0.0) for part in value]
    if any(part is None for part in parts):
        return None
    degrees, minutes, seconds = (part or 0.0 for part in parts)
    angle = degrees + minutes / 60 + seconds / 3600
    if angle > most:
        return None
    return -angle if _text(side) == negative else angle


def _altitude(place: dict[int, Any]) -> float | None:
    altitude_m = _number(place.get(6), least=0.0, most=100_000.0)
    is_below = place.get(5) in (1, b"\x01")
    return None if altitude_m is None else -altitude_m if is_below else altitude_m


def _dji_facts(data: bytes) -> dict[str, Any]:
    """What DJI's drones write into XMP."""
    begin = data.find(b"drone-dji:")
    if begin < 0:
        return {}
    words = {
        match["name"].decode(): (match["one"] or match["two"] or b"").decode("utf-8", "replace")
        for match in _DJI.finditer(data, begin, begin + _XMP_BYTES)
    }
    found = {
        "range_m": None
        if words.get("LRFStatus", "Normal") != "Normal"
        else _number(words.get("LRFTargetDistance"), least=0.0),
        "calibrated_focal_px": _number(words.get("CalibratedFocalLength"), least=0.0),
        "dewarp": words.get("DewarpData") or None,
        "gimbal_pitch_deg": _number(words.get("GimbalPitchDegree"), least=-360.0, most=360.0),
        "gimbal_yaw_deg": _number(words.get("GimbalYawDegree"), least=-360.0, most=360.0),
        "gimbal_roll_deg": _number(words.get("GimbalRollDegree"), least=-360.0, most=360.0),
        "relative_altitude_m": _number(words.get("RelativeAltitude"), least=-20_000.0),
    }
    return {name: value for name, value in found.items() if value is not None}


def _number(value: Any, least: float = -math.inf, most: float = math.inf) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) and least <= number <= most else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if not isinstance(value, str):
        return None
    text = "".join(one for one in value if one.isprintable()).strip()
    return text or None
