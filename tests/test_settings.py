"""Wrong settings: each is refused by name, with its value and what the setting takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from edgecrack.artifacts import ModelSpec
from edgecrack.calibration.config import CalibrationConfig
from edgecrack.calibration.gate import Gate
from edgecrack.calibration.sampler import SamplerConfig
from edgecrack.errors import ConfigError, EdgecrackError
from edgecrack.export.build import BuildConfig
from edgecrack.export.engine.config import EngineConfig
from edgecrack.preprocess import PreprocessConfig
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.sources.reconnecting import ReconnectPolicy
from edgecrack.runtime.stream_config import StreamConfig
from edgecrack.runtime.web.config import ServeConfig
from edgecrack.settings import from_plain, settings


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        (
            SourceOptions,
            {"width": 5, "height": 64},
            "`width` is 5; give a whole number from 16 to 16384.",
        ),
        (SourceOptions, {"width": 64}, "only `width` is given; give `width` and `height`."),
        (
            SourceOptions,
            {"frame_rate_hz": 0.0},
            "`frame_rate_hz` is 0.0; give a number above 0 and at most 1000.",
        ),
        (
            SourceOptions,
            {"frame_rate_hz": float("nan")},
            "`frame_rate_hz` is nan; give a number above 0 and at most 1000.",
        ),
        (
            SourceOptions,
            {"pixel_format": "MJPEG"},
            "`pixel_format` is 'MJPEG'; give four characters such as MJPG or YUYV.",
        ),
        (
            SourceOptions,
            {"flip": "left"},
            "`flip` is 'left'; give one of: none, horizontal, vertical, both.",
        ),
        (
            SourceOptions,
            {"timeout_ms": 0},
            "`timeout_ms` is 0; give a whole number from 1 to 600000.",
        ),
        (
            SourceOptions,
            {"max_megapixels": 0},
            "`max_megapixels` is 0; give a number above 0 and at most 10000.",
        ),
        (SourceOptions, {"track": -1}, "`track` is -1; give a whole number from 0 to 999."),
        (
            SourceOptions,
            {"capture_delay_ms": -1.0},
            "`capture_delay_ms` is -1.0; give a number from 0 to 60000.",
        ),
        (
            SourceOptions,
            {"width": "640", "height": 480},
            "`width` is '640'; give a whole number from 16 to 16384.",
        ),
        (SourceOptions, {"loop": 1}, "`loop` is 1; give true or false."),
        (
            ReconnectPolicy,
            {"open_timeout_s": 0.0},
            "`open_timeout_s` is 0.0; give a number above 0 and at most 3600.",
        ),
        (
            ReconnectPolicy,
            {"give_up_after_s": -1.0},
            "`give_up_after_s` is -1.0; give a number, 0 or more.",
        ),
        (ServeConfig, {"port": 70000}, "`port` is 70000; give a whole number from 0 to 65535."),
        (ServeConfig, {"max_viewers": 0}, "`max_viewers` is 0; give a whole number from 1 to 256."),
        (
            ServeConfig,
            {"max_fps": 61.0},
            "`max_fps` is 61.0; give a number above 0 and at most 60.",
        ),
        (
            ServeConfig,
            {"host": "a b"},
            "the page's host is 'a b'; give 8080, 127.0.0.1:8080 or 0.0.0.0:8080, or the "
            "machine's name.",
        ),
        (
            RecordingConfig,
            {"path": Path("run.mp4")},
            "the recording's name is 'run.mp4'; give a name that ends in .mcap.",
        ),
        (
            RecordingConfig,
            {"path": Path("r.mcap"), "part_bytes": 512},
            "`part_bytes` is 512; give at least 64KiB.",
        ),
        (
            RecordingConfig,
            {"path": Path("r.mcap"), "part_s": 0.0},
            "`part_s` is 0.0; give at least 1 s.",
        ),
        (
            RecordingConfig,
            {"path": Path("r.mcap"), "when_full": "panic"},
            "`when_full` is 'panic'; give one of: delete-oldest, stop.",
        ),
        (
            RecordingConfig,
            {"path": Path("r.mcap"), "reserve_bytes": -1},
            "`reserve_bytes` is -1; give a whole number, 0 or more.",
        ),
        (
            RecordingConfig,
            {"path": Path("r.mcap"), "flush_s": 0.0},
            "`flush_s` is 0.0; give a number above 0 and at most 60.",
        ),
        (
            StreamConfig,
            {"source": "demo", "out": Path("x"), "max_frames": 0},
            "`max_frames` is 0; give a whole number, 1 or more.",
        ),
        (
            StreamConfig,
            {"source": "demo", "out": Path("x"), "min_area_px": -1},
            "`min_area_px` is -1; give a whole number, 0 or more.",
        ),
        (
            StreamConfig,
            {"source": "demo", "out": Path("x"), "max_age_ms": 0.0},
            "`max_age_ms` is 0.0; give a number above 0.",
        ),
        (
            StreamConfig,
            {"source": "demo", "out": Path("x"), "target_fps": 2000.0},
            "`target_fps` is 2000.0; give a number above 0 and at most 1000.",
        ),
        (
            StreamConfig,
            {"source": "demo", "out": Path("x"), "log_format": "xml"},
            "`log_format` is 'xml'; give one of: text, json.",
        ),
        (
            StreamConfig,
            {"source": "demo", "out": Path("x"), "save": ("png",)},
            "the outputs to save are 'png'; give some of overlay, mask, prob, jsonl, "
            "widths, each once, or none alone.",
        ),
        (
            EngineConfig,
            {"flavour": "rtx"},
            "`flavour` is 'rtx'; give one of: tensorrt, tensorrt_rtx.",
        ),
        (
            EngineConfig,
            {"batch": (2, 1, 3)},
            "`batch` is (2, 1, 3); give least, best and most tiles per call, 1 to 4096, "
            "in rising order.",
        ),
        (
            EngineConfig,
            {"workspace_mib": 0},
            "`workspace_mib` is 0; give a whole number from 1 to 1048576.",
        ),
        (EngineConfig, {"dla_core": -1}, "`dla_core` is -1; give 0 or 1."),
        (
            EngineConfig,
            {"optimization_level": 6},
            "`optimization_level` is 6; give a whole number from 0 to 5.",
        ),
        (
            BuildConfig,
            {"precision": "int4"},
            "`precision` is 'int4'; give one of: fp32, fp16, int8.",
        ),
        (Gate, {"max_drop": -1.0}, "`max_drop` is -1.0; give a number from 0 to 100."),
        (
            Gate,
            {"max_flagged": 101.0},
            "`max_flagged` is 101.0; give a number from 0 to 100, such as 0.05.",
        ),
        (SamplerConfig, {"tiles": 3}, "`tiles` is 3; give a whole number from 64 to 4096."),
        (SamplerConfig, {"held_out": 3}, "`held_out` is 3; give a whole number from 16 to 4096."),
        (SamplerConfig, {"seed": -1}, "`seed` is -1; give a whole number, 0 or more."),
        (
            CalibrationConfig,
            {"data": Path("x"), "made_for": "gpu"},
            "`made_for` is 'gpu'; give one of: tensorrt, cpu.",
        ),
        (
            CalibrationConfig,
            {"data": Path("x"), "method": "guess"},
            "`method` is 'guess'; give one of: entropy, percentile, minmax, mse.",
        ),
        (
            ModelSpec,
            {"kind": "tflite", "pooling": "max", "width": 8},
            "a model is described with kind 'tflite'; export it again with `edgecrack export`.",
        ),
        (
            ModelSpec,
            {"kind": "onnx", "pooling": "max", "width": 8, "tile_hw": (8, 9)},
            "a model is described with tile 9x8 px; export it again with `edgecrack export`.",
        ),
        (
            ModelSpec,
            {"kind": "onnx", "pooling": "max", "width": "8"},
            "a model is described with width '8'; export it again with `edgecrack export`.",
        ),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_in_one_sentence(
    kind: type[Any], values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(EdgecrackError) as caught:
        kind(**values)
    assert str(caught.value) == sentence


@settings()
class Inner:
    count: Annotated[int, Field(ge=1, le=9)] = 2
    share: Annotated[float, Field(ge=0, le=1)] = 0.5


@settings()
class Outer:
    data: tuple[str, ...]
    out: Path = Path("runs")
    inner: Inner = dataclasses.field(default_factory=Inner)
    many: tuple[Inner, ...] = ()
    preprocess: PreprocessConfig = dataclasses.field(default_factory=PreprocessConfig)
    size: tuple[int, int] = (8, 8)
    kind: Literal["a", "b"] = "a"
    least: Annotated[int, Field(gt=0)] | None = None


@pytest.mark.parametrize("value", ["3", True, 2.0, None, [3]], ids=repr)
def test_nothing_is_converted_to_a_whole_number(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"`count` is .*; give a whole number from 1 to 9"):
        Inner(count=value)


@pytest.mark.parametrize("value", ["0.5", True, float("nan"), float("inf"), 10**400], ids=repr)
def test_nothing_but_a_finite_number_is_a_number(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"`share` is .*; give a number from 0 to 1"):
        Inner(share=value)


def test_settings_are_dataclasses() -> None:
    outer = Outer(("a",), size=(3, 4))
    assert dataclasses.replace(outer, least=7) == Outer(("a",), size=(3, 4), least=7)
    assert dataclasses.asdict(outer)["inner"] == {"count": 2, "share": 0.5}
    with pytest.raises(ConfigError, match="`least` is 0"):
        dataclasses.replace(outer, least=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        outer.least = 3  # type: ignore[misc]


def test_plain_values_become_groups_lists_and_paths() -> None:
    values = {
        "data": ["a"], "out": "x/y", "inner": {"count": 3}, "many": [{"share": 1}],
        "preprocess": {"gamma": 1}, "size": [1, 2],
    }  # fmt: skip
    assert from_plain(Outer, values) == Outer(
        ("a",), Path("x/y"), Inner(3), (Inner(share=1.0),), PreprocessConfig(gamma=1.0), (1, 2)
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "there is no 'data'; give a value for it."),
        ({"data": "a"}, "`data` is 'a'; give a list."),
        ({"inner": 5}, "`inner` is 5; give a group of `name: value` lines."),
        ({"inner": {"count": 10}}, "`inner.count` is 10; give a whole number from 1 to 9."),
        ({"inner": {"counts": 1}}, "there is no setting 'inner.counts'; did you mean 'count'."),
        ({"many": [{}, {"share": 2}]}, "`many.share` is 2; give a number from 0 to 1."),
        ({"preprocess": {"gamma": "1"}}, "`preprocess.gamma` is '1'; give a number."),
        ({"size": [1]}, "`size` is [1]; give a list of 2."),
        ({"size": [1.0, 2]}, "`size` is 1.0; give a list of 2."),
        ({"kind": "c"}, "`kind` is 'c'; give one of: a, b."),
        ({"least": 0}, "`least` is 0; give a whole number above 0."),
        ({"out": 3}, "`out` is 3; give a path."),
    ],
    ids=str,
)
def test_a_wrong_plain_value_is_named_by_its_dotted_key(
    values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        from_plain(Outer, values if not values or "data" in values else {"data": ["a"], **values})
    assert str(caught.value) == sentence
