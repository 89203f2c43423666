"""What a user writes about the scale of a stream: read, and refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecrack.errors import ConfigError
from edgecrack.runtime.measuring.stream_scale import RecordedCamera, StreamScale, stream_scale
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.stream_config import StreamConfig
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.quantity import Quantity
from tests.runtime.measuring.cameras import camera, camera_path


def config(scale: StreamScale | None, **more: object) -> StreamConfig:
    return StreamConfig("demo", Path("out"), scale=scale, **more)  # type: ignore[arg-type]


def test_nothing_given_is_no_scale() -> None:
    assert stream_scale() is None
    assert config(None).outputs == ("overlay", "mask", "jsonl")


def test_a_figure_with_its_95_percent() -> None:
    found = stream_scale("0.12+-0.005")
    assert found is not None
    assert found.mm_per_pixel == Quantity(0.12, 0.0025)
    assert not found.needs_range


def test_a_camera_with_a_distance_and_a_tilt(tmp_path: Path) -> None:
    found = stream_scale(
        camera_file=str(camera_path(tmp_path)), distance_m="1.5+-0.02", tilt_deg="20",
        tilt_towards_deg=270.0,
    )  # fmt: skip
    assert found is not None
    assert isinstance(found.camera, CameraFile)
    assert (found.distance_m, found.tilt, found.towards_deg) == (
        Quantity(1.5, 0.01), Quantity(20.0), 270.0,
    )  # fmt: skip
    assert not found.needs_range


@pytest.mark.parametrize(
    ("text", "topic"), [("recording", None), ("recording:/front/camera_info", "/front/camera_info")]
)
def test_the_camera_of_the_recording(text: str, topic: str | None) -> None:
    found = stream_scale(camera_file=text, distance_m="2m")
    assert found is not None
    assert found.camera == RecordedCamera(topic)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mm_per_pixel": "wide"}, "`mm_per_pixel` is 'wide'"),
        ({"mm_per_pixel": "0"}, "more than 0"),
        ({"mm_per_pixel": "0.1+-0.2"}, "is not smaller than its value"),
        ({"mm_per_pixel": "0.1cm"}, "unit 'cm'"),
        ({"mm_per_pixel": "0.1", "camera_file": "FILE"}, "give one of them"),
        ({"mm_per_pixel": "0.1", "distance_m": "1"}, "`distance_m` is 1, but the camera"),
        ({"distance_m": "1.5"}, "`distance_m` is 1.5, but the camera is not known"),
        ({"tilt_deg": "20"}, "`tilt_deg` is 20, but the camera is not known"),
        ({"tilt_towards_deg": 20.0}, "`tilt_towards_deg` is 20.0, but the camera is not known"),
        ({"camera_file": "FILE", "tilt_towards_deg": 20.0}, "its tilt is not given"),
        ({"camera_file": "FILE", "tilt_deg": "20", "tilt_towards_deg": 400.0}, "give 0 to 360"),
        ({"camera_file": "FILE", "tilt_deg": "80"}, "the tilt is 80 degrees"),
        ({"camera_file": "FILE", "distance_m": "-1"}, "more than 0"),
        ({"camera_file": "/nowhere.yaml"}, "cannot read the camera file"),
        ({"camera_file": "recording:"}, "names no topic"),
    ],
)
def test_what_contradicts_itself_is_refused(
    given: dict[str, object], said: str, tmp_path: Path
) -> None:
    if given.get("camera_file") == "FILE":
        given = {**given, "camera_file": str(camera_path(tmp_path))}
    with pytest.raises(ConfigError, match=said):
        stream_scale(**given)  # type: ignore[arg-type]


def test_neither_a_figure_nor_a_camera_is_no_scale() -> None:
    with pytest.raises(ConfigError, match="no scale is given"):
        StreamScale()


def test_a_camera_alone_needs_positions_that_may_carry_a_range() -> None:
    alone = StreamScale(camera=camera())
    with pytest.raises(ConfigError, match="a camera alone sets no scale"):
        config(alone)
    assert config(alone, position="udp://127.0.0.1:5555").scale is alone


def test_a_camera_of_another_shape_is_refused_before_anything_is_opened() -> None:
    scale = StreamScale(camera=camera(), distance_m=Quantity(1.0))
    with pytest.raises(ConfigError, match="another shape"):
        config(scale, source_options=SourceOptions(width=640, height=480))
    config(scale, source_options=SourceOptions(width=480, height=240))


@pytest.mark.parametrize(
    ("save", "outputs"),
    [
        (("jsonl",), ("jsonl", "widths")),
        (("widths", "mask"), ("widths", "mask")),
        (("none",), ("widths",)),
    ],
)
def test_a_scale_turns_widths_on(save: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    assert config(StreamScale(Quantity(0.1)), save=save).outputs == outputs


def test_a_run_with_another_scale_is_another_run() -> None:
    plain, first, second = (
        config(scale).settings()
        for scale in (None, StreamScale(Quantity(0.1)), StreamScale(Quantity(0.2)))
    )
    assert "scale" not in plain
    assert first["scale"] != second["scale"]
    by_camera = [
        config(StreamScale(camera=each, distance_m=Quantity(1.0))).settings()["scale"]
        for each in (camera(), camera(), camera(focal_deviation=0.1))
    ]
    assert by_camera[0] == by_camera[1] != by_camera[2]
