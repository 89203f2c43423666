"""Cameras that are plugged in, renumbered, and that take only some settings; no real one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.errors import SourceError
from edgecrack.runtime.sources import camera
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from tests.runtime.fakes import Image, picture

MJPG, YUYV = cv2.VideoWriter.fourcc(*"MJPG"), cv2.VideoWriter.fourcc(*"YUYV")


class FakeCapture:
    """Takes 1280x720 and 640x480 at 30 and 15 Hz, as MJPG or YUYV; nearest of them otherwise."""

    opened: list[int]
    damaged_every = 0
    stamp_ms: Callable[[], float] = staticmethod(lambda: 0.0)  # this driver gives none
    fails = False
    autofocus = -1.0  # this driver has no such control

    def __init__(self, index: int, backend: int) -> None:
        type(self).opened.append(index)
        self._given: dict[int, float] = {cv2.CAP_PROP_FOURCC: YUYV, cv2.CAP_PROP_FPS: 30}
        self._given |= {cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480}
        self._grabbed = 0
        self._stamp_ms = 0.0
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return not self.fails

    def set(self, key: int, value: float) -> bool:
        offered = {
            cv2.CAP_PROP_FOURCC: (MJPG, YUYV),
            cv2.CAP_PROP_FRAME_WIDTH: (640, 1280),
            cv2.CAP_PROP_FRAME_HEIGHT: (480, 720),
            cv2.CAP_PROP_FPS: (29.97, 15),
        }
        if key in offered:
            self._given[key] = min(offered[key], key=lambda one: abs(one - value))
        return True

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_POS_MSEC:
            return self._stamp_ms
        if key == cv2.CAP_PROP_AUTOFOCUS:
            return type(self).autofocus
        return float(self._given.get(key, 0))

    def grab(self) -> bool:
        time.sleep(0.012)  # as a camera, which one waits for
        self._grabbed += 1
        self._stamp_ms = type(self).stamp_ms()
        return self._grabbed < 1000

    def retrieve(self) -> tuple[bool, Image | None]:
        if self.damaged_every and self._grabbed % self.damaged_every == 0:
            return False, None
        size = int(self.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(self.get(cv2.CAP_PROP_FRAME_WIDTH))
        return True, np.asarray(cv2.resize(picture(), size[::-1]), np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /dev, with a camera that has two names."""
    monkeypatch.setattr(camera, "_DEVICES", tmp_path)
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    FakeCapture.opened = []
    for folder in ("by-id", "by-path"):
        (tmp_path / "v4l" / folder).mkdir(parents=True)
    (tmp_path / "video2").touch()
    (tmp_path / "v4l/by-id/usb-Wall_Cam-video-index0").symlink_to("../../video2")
    (tmp_path / "v4l/by-path/pci-0-usb-0-video-index0").symlink_to("../../video2")
    return tmp_path


def test_a_name_longer_than_names_can_be_is_no_camera(devices: Path) -> None:
    with pytest.raises(SourceError, match="there is no camera"):
        open_source("/dev/v4l/by-id/" + "x" * 256)


BY_ID = "/dev/v4l/by-id/usb-Wall_Cam-video-index0"


@pytest.mark.parametrize(
    "address", ["camera:2", "/dev/video2", BY_ID, "/dev/v4l/by-path/pci-0-usb-0-video-index0"]
)
def test_a_camera_has_several_names(devices: Path, address: str) -> None:
    with open_source(address) as source:
        assert (source.live, source.name, source.frame_count) == (True, address, None)
        taken = source.read()
    assert FakeCapture.opened == [2]
    assert taken is not None
    assert taken.hw == (480, 640)


def test_a_link_is_followed_anew_when_the_camera_gets_another_number(devices: Path) -> None:
    open_source(BY_ID).close()
    link = devices / "v4l/by-id/usb-Wall_Cam-video-index0"
    link.unlink()
    (devices / "video2").rename(devices / "video11")
    link.symlink_to("../../video11")
    open_source(BY_ID).close()
    assert FakeCapture.opened == [2, 11]


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("/dev/v4l/by-id/usb-Other", "there is no camera /dev/v4l/by-id/usb-Other"),
        ("/dev/v4l/by-id", "is not a camera"),
        ("/dev/v4l/../../etc/passwd", "there is no camera"),
    ],
)
def test_a_link_that_leads_nowhere_names_those_that_do(
    devices: Path, address: str, problem: str
) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(address)
    assert problem in caught.value.problem
    assert BY_ID in caught.value.remedy
    assert "by-path/pci-0-usb-0-video-index0" in caught.value.remedy
    assert FakeCapture.opened == []


def test_a_camera_that_another_program_holds_is_refused(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeCapture, "fails", True)
    with pytest.raises(SourceError, match="close other programs"):
        open_source("camera:2")


def test_settings_that_the_camera_takes(devices: Path) -> None:
    options = SourceOptions(width=1280, height=720, frame_rate_hz=30, pixel_format="MJPG")
    with open_source(BY_ID, options) as source:
        taken = source.read()
        assert source.frame_rate_hz == pytest.approx(29.97)
    assert taken is not None
    assert taken.hw == (720, 1280)


@pytest.mark.parametrize(
    ("options", "asked", "given"),
    [
        (SourceOptions(width=1920, height=1080), "1920x1080 px", "gives 1280x720 px instead"),
        (
            SourceOptions(width=1280, height=480, pixel_format="NV12"),
            "pixel format NV12",
            "gives MJPG",
        ),
        (SourceOptions(frame_rate_hz=60), "60 frames per second", "gives 29.97 instead"),
    ],
)
def test_a_setting_that_the_camera_does_not_take_names_what_it_gives(
    devices: Path, options: SourceOptions, asked: str, given: str
) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(BY_ID, options)
    assert f"does not accept {asked}; it" in caught.value.problem
    assert given in caught.value.problem
    assert f"v4l2-ctl --device {BY_ID}" in caught.value.remedy


def test_pictures_that_cannot_be_decoded_are_counted(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_source("camera:2") as source:
        source.read()
        monkeypatch.setattr(FakeCapture, "damaged_every", 3)
        before = source.corrupt_frames
        frames = [source.read() for _ in range(10)]
        assert 3 <= source.corrupt_frames - before <= 6
    assert len({one.index for one in frames if one is not None}) == 10


def test_a_camera_that_gives_only_damage_has_stopped(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_source("camera:2", SourceOptions(timeout_ms=100)) as source:
        monkeypatch.setattr(FakeCapture, "damaged_every", 1)
        with pytest.raises(SourceError, match="stopped delivering"):
            source.read()


def test_a_driver_s_stamp_dates_the_picture(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the monotonic clock, as most drivers stamp."""
    late_ms = 35.0
    monkeypatch.setattr(
        FakeCapture, "stamp_ms", staticmethod(lambda: time.monotonic() * 1000 - late_ms)
    )
    with open_source("camera:2") as source:
        taken = source.read()
    assert taken is not None
    assert taken.capture_time_ns is not None
    assert (taken.time_source, taken.time_uncertainty_ms) == ("driver", 1.0)
    assert taken.read_time_ns - taken.capture_time_ns >= 34e6
    assert time.monotonic_ns() - taken.monotonic_ns >= 34e6


@pytest.mark.parametrize("stamp_ms", [0.0, 1_700_000_000_000.0, 5.0])
def test_a_stamp_of_another_clock_is_not_believed(
    stamp_ms: float, devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeCapture, "stamp_ms", staticmethod(lambda: stamp_ms))
    with open_source("camera:2") as source:
        taken = source.read()
    assert taken is not None
    assert (taken.time_source, taken.capture_time_ns) == ("arrival", taken.read_time_ns)
    assert taken.time_uncertainty_ms == pytest.approx(1000 / 30)


@pytest.mark.parametrize(("control", "moves"), [(-1.0, None), (0.0, False), (1.0, True)])
@pytest.mark.usefixtures("devices")
def test_whether_it_focuses_by_itself_is_told_while_it_runs(
    control: float, moves: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeCapture, "autofocus", control)
    with open_source("/dev/video2") as source:
        assert source.status.focus_moves is moves
        monkeypatch.setattr(FakeCapture, "autofocus", 1.0)
        for _ in range(40):
            source.read()
        assert source.status.focus_moves is True
