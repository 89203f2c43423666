"""What photos say of themselves, against files that Pillow writes and words that DJI writes."""

from __future__ import annotations

import io
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from edgecrack.images.decoding import decode_image
from edgecrack.images.photo_facts import photo_facts

TAKEN, OFFSET, FRACTION = 0x9003, 0x9011, 0x9291
DJI = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description
 drone-dji:GimbalPitchDegree="-12.30" drone-dji:GimbalYawDegree="+101.5"
 drone-dji:LRFTargetDistance="4.72" drone-dji:CalibratedFocalLength="3666.666504"
 drone-dji:DewarpData="2022-06-08;3713.29,3713.02,7.02,-8.72,-0.11,0.01,0,0,-0.03"
 drone-dji:RelativeAltitude="+23.40">
 <drone-dji:GimbalRollDegree>0.00</drone-dji:GimbalRollDegree></rdf:Description></x:xmpmeta>"""


def photo(
    base: dict[int, Any] | None = None,
    more: dict[int, Any] | None = None,
    place: dict[int, Any] | None = None,
    kind: str = "JPEG",
    tail: bytes = b"",
) -> bytes:
    exif = Image.Exif()
    exif.update(base or {})
    if more:
        exif.get_ifd(0x8769).update(more)
    if place:
        exif.get_ifd(0x8825).update(place)
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:8] = 200
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, exif=exif.tobytes(), quality=95)
    return file.getvalue() + tail


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_time_place_and_lens(kind: str) -> None:
    data = photo(
        {0x010F: "DJI", 0x0110: "M3E", 0x0112: 1},
        {TAKEN: "2026:03:01 10:00:00", OFFSET: "+02:00", FRACTION: "25",
         0x920A: IFDRational(1229, 100), 0xA405: 24, 0x829A: IFDRational(1, 500)},
        {1: "S", 2: (33.0, 30.0, 36.0), 3: "W", 4: (70.0, 15.0, 0.0), 5: b"\x01", 6: 12.5},
        kind,
    )  # fmt: skip
    found = photo_facts(data)
    assert found is not None
    assert found.taken_at == "2026-03-01T10:00:00.250000+02:00"
    moment = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)
    assert found.taken_ns == int(moment.timestamp()) * 10**9 + 250_000_000
    assert (found.camera, found.orientation) == ("DJI M3E", 1)
    assert found.focal_mm == pytest.approx(12.29)
    assert found.focal_35_mm == 24
    assert found.exposure_s == pytest.approx(0.002)
    assert found.latitude_deg == pytest.approx(-33.51)
    assert found.longitude_deg == pytest.approx(-70.25)
    assert found.altitude_m == -12.5
    hidden = found.without_location().to_dict()
    assert not {"latitude_deg", "longitude_deg", "altitude_m"} & set(hidden)
    assert hidden["camera"] == "DJI M3E"


def test_a_clock_without_offset_gives_no_moment_but_gps_gives_the_offset() -> None:
    local = photo_facts(photo(more={TAKEN: "2026:03:01 10:00:00"}))
    assert local is not None
    assert (local.taken_at, local.taken_ns) == ("2026-03-01T10:00:00", None)
    gps = {7: (8.0, 0.0, 3.0), 29: "2026:03:01"}
    dated = photo_facts(photo(more={TAKEN: "2026:03:01 10:00:00"}, place=gps))
    assert dated is not None
    assert dated.taken_at == "2026-03-01T10:00:00+02:00"
    wrong = photo_facts(photo(more={TAKEN: "2026:03:01 10:05:00"}, place=gps))
    assert wrong is not None
    assert wrong.taken_ns is None  # the two clocks do not agree by any time zone


def test_what_dji_writes() -> None:
    found = photo_facts(photo(tail=DJI))
    assert found is not None
    assert (found.gimbal_pitch_deg, found.gimbal_yaw_deg, found.gimbal_roll_deg) == (
        -12.3,
        101.5,
        0,
    )
    assert found.range_m == 4.72
    assert found.calibrated_focal_px == pytest.approx(3666.6665)
    assert found.relative_altitude_m == 23.4
    assert found.dewarp is not None
    assert found.dewarp.startswith("2022-06-08;3713.29")


def test_nothing_is_believed_that_cannot_be() -> None:
    found = photo_facts(
        photo(
            {0x0112: 9},
            {TAKEN: "0000:00:00 00:00:00", 0x920A: IFDRational(0, 0), 0xA405: 0},
            {1: "N", 2: (95.0, 0.0, 0.0), 3: "E", 4: (10.0, IFDRational(1, 0), 0.0)},
        )
    )
    assert found is None or not {
        "taken_at", "focal_mm", "latitude_deg", "longitude_deg", "orientation",
    } & set(found.to_dict())  # fmt: skip


@given(st.binary(max_size=400))
def test_whatever_bytes_there_are_it_says_something_or_nothing(data: bytes) -> None:
    for head in (b"", b"\\xff\\xd8\\xff\\xe1\\x00\\x40Exif\\0\\0", b"II*\\0", b"drone-dji:"):
        found = photo_facts(head + data)
        assert found is None or found.to_dict()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright_whatever_its_orientation(orientation: int) -> None:
    upright = np.random.default_rng(4).integers(0, 256, (2, 3, 3), np.uint8)
    upright = np.kron(upright, np.ones((16, 16, 1), np.uint8))
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1), 7: np.rot90(upright, 1)[:, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored[..., ::-1])).save(
        file, "JPEG", exif=exif.tobytes(), quality=100, subsampling=0
    )
    found = decode_image(file.getvalue())
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 3
