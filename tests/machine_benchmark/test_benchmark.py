"""A benchmark measures what runs here, and says what it could not."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from edgecrack.cli import app
from edgecrack.errors import (
    ConfigError,
    DataError,
    MissingDependencyError,
    ModelFileError,
    OutputError,
    SourceError,
)
from edgecrack.machine_benchmark import benchmark_files, benchmark_run, sustained
from edgecrack.machine_benchmark.benchmark_files import (
    benchmark_folder,
    plot_png,
    table_text,
    write_files,
)
from edgecrack.machine_benchmark.benchmark_run import (
    BenchmarkConfig,
    Benchmarked,
    area_per_hour,
    as_json,
    read_frames,
    run_benchmark,
)
from edgecrack.machine_benchmark.candidates import (
    Candidate,
    candidates,
    first_result,
    peak_memory_mb,
)
from edgecrack.machine_benchmark.sustained import Latencies, Moment, Sustained, sustain
from edgecrack.runtime.backends import openvino_runner
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.runtime.outputs.output_folder import LEDGER_NAME, OutputFolder
from tests.runtime.models import write_quick_model

pytestmark = pytest.mark.usefixtures("one_demo_wall")


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    return write_quick_model(tmp_path / "quick.onnx")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime alone is installed."""
    monkeypatch.setattr("edgecrack.machine_benchmark.candidates.has_openvino", lambda: False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    mask = np.zeros((64, 80), np.uint8)
    mask[30:33, 10:70] = 255
    cv2.imwrite(str(folder / "images" / "a.png"), np.full((64, 80, 3), 150, np.uint8))
    cv2.imwrite(str(folder / "masks" / "a.png"), mask)
    return folder


@pytest.mark.usefixtures("alone")
def test_a_table_a_document_and_a_plot(quick: Path, photos: Path) -> None:
    config = BenchmarkConfig((quick,), data=photos, frames=2, rounds=2)
    found = run_benchmark(config)
    (row,) = found.document["rows"]
    assert row["backend"] == row["runs_on"] == "onnxruntime"
    assert row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert row["frames_per_s_slowest"] <= row["frames_per_s"] <= row["frames_per_s_fastest"]
    assert row["first_result_s"] > 0.05
    assert row["peak_memory_mb"] > 50
    assert 0 <= row["strict_f1"] <= 1
    assert row["images"] == 1
    assert json.loads(as_json(found)) == found.document
    text = table_text(found)
    assert f"edgecrack stream --camera 0 --model {quick} --backend onnxruntime" in text
    assert "quick.onnx" in text.splitlines()[1]
    assert plot_png(found).startswith(b"\x89PNG")


@pytest.mark.usefixtures("alone")
def test_what_cannot_run_is_said_beside_what_can(quick: Path, tmp_path: Path) -> None:
    other = write_quick_model(tmp_path / "other.onnx")
    other.write_bytes(other.read_bytes() + b"more")
    with pytest.raises(ModelFileError, match="other"):
        run_benchmark(BenchmarkConfig((quick, other), frames=1, rounds=2))


def test_each_backend_that_is_installed_is_a_row(quick: Path) -> None:
    pytest.importorskip("openvino", reason="openvino is of the cpu extra, on x86-64")
    assert openvino_runner.has_openvino()
    assert [each.backend for each in candidates([quick])] == [
        "onnxruntime", "openvino", "openvino-bf16",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="given twice"):
        candidates([quick, quick])


def test_the_backend_whose_values_differ_is_never_advised(quick: Path) -> None:
    pytest.importorskip("openvino", reason="openvino is of the cpu extra, on x86-64")
    found = run_benchmark(BenchmarkConfig((quick,), frames=1, rounds=2))
    assert found.best.candidate.backend != "openvino-bf16"
    assert "openvino-bf16" not in table_text(found).splitlines()[-1]
    assert {row["backend"] for row in found.document["rows"]} >= {"onnxruntime", "openvino"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 0}, "`frames` is 0"),
        ({"rounds": 1}, "`rounds` is 1; give 2 to 1000"),
        ({"minutes": -1}, "`minutes` is -1"),
        ({"minutes": float("nan")}, "`minutes` is nan"),
        ({"mm_per_pixel": 0}, "`mm_per_pixel` is 0"),
        ({"threads": 0}, "the number of threads is 0"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BenchmarkConfig(**changes)


def test_frames_have_one_size_and_there_is_at_least_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, size in enumerate(((60, 80), (60, 80), (50, 80))):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((*size, 3), 99, np.uint8))
    assert [frame.shape for frame in read_frames(str(tmp_path), 9)] == [(60, 80, 3)] * 2
    empty = SimpleNamespace(read=lambda: None)

    class Opened:
        def __enter__(self) -> Any:
            return empty

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(benchmark_run, "open_source", lambda source: Opened())
    with pytest.raises(SourceError, match="gives no frame"):
        read_frames("somewhere", 2)


def test_areas_and_percentiles() -> None:
    assert area_per_hour(1.0, 4_000_000, 1.0) == pytest.approx(3600 * 4 * 0.5)
    found = Latencies(np.array([[10.0, 30.0], [20.0, 20.0], [40.0, 40.0]]), 100)
    assert found.frames_per_s == pytest.approx(50)
    assert found.spread == pytest.approx((25, 50))
    assert found.percentile(50) == 25


def moments(*rates: float) -> Sustained:
    return Sustained(tuple(Moment(at, rate, None, None, None) for at, rate in enumerate(rates)))


@pytest.mark.parametrize(
    ("rates", "share", "is_throttled"),
    [
        ((10, 10, 10, 10), 1.0, False),
        ((10, 9, 8, 7), 0.7, True),
        ((10, 5, 10, 9.5), 0.95, False),
        ((10, 5), 0.5, False),  # too short to tell
    ],
)
def test_a_machine_that_slows_down_is_told(
    rates: tuple[float, ...], share: float, is_throttled: bool
) -> None:
    found = moments(*rates)
    assert found.kept_share == pytest.approx(share)
    assert found.is_throttled is is_throttled


def test_a_long_run_is_told_by_its_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    times: Iterator[float] = iter(np.arange(0, 1000, 0.5).tolist())
    monkeypatch.setattr(sustained, "seconds_of", lambda detector, frame: 0.0)
    for name in ("clock_mhz", "temperature_c", "energy_j", "power_w"):
        monkeypatch.setattr(sustained, name, lambda: 7.0)
    heard: list[Moment] = []
    frames = [np.zeros((8, 8, 3), np.uint8)]
    found = sustain(cast(Any, None), frames, 40.0, heard.append, lambda: next(times))
    assert list(found.moments) == heard
    assert len(heard) == 4
    assert all(each.frames_per_s == pytest.approx(1.0, rel=0.1) for each in heard)
    assert heard[0].power_w == 0.0


def test_the_advised_command_is_for_a_shell_and_has_what_was_asked_for(tmp_path: Path) -> None:
    model = tmp_path / "it's; rm -rf $HOME" / "a model.onnx"
    words = ["--model", str(model), "--backend", "openvino"]
    candidate = Candidate(model, "openvino", "fp32")
    assert shlex.split(candidate.options(None)) == words
    assert shlex.split(candidate.options(3)) == [*words, "--threads", "3"]
    engine = Candidate(Path("-v.engine"), None, "fp16")
    assert engine.options(3) == "--model -v.engine"
    assert Candidate(BUNDLED_MODEL, "onnxruntime", "fp32").options(1) == (
        "--backend onnxruntime --threads 1"
    )


def test_memory_is_that_of_the_new_process_and_not_of_a_large_parent(quick: Path) -> None:
    held = np.ones(400_000_000, np.uint8)
    found = first_result(Candidate(quick, "onnxruntime", "fp32"), (64, 64), 1)
    assert held.nbytes / 1e6 < peak_memory_mb()
    assert found["peak_memory_mb"] is not None
    assert 30 < found["peak_memory_mb"] < held.nbytes / 1e6


@pytest.mark.parametrize("text", [None, "", "VmHWM:\n", "VmHWM: much kB\n", "VmRSS: 7 kB\n"])
def test_memory_where_the_system_does_not_tell_it(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "status").write_text(text)
    assert peak_memory_mb(tmp_path / "status") > 10


def test_a_new_process_has_the_threads_asked_for_and_tests_nothing(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="openvino is of the cpu extra, on x86-64")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    candidate = Candidate(quick, "openvino", "fp32")
    candidate.open(3).close()
    (kept,) = (tmp_path / "cache").rglob("*.json")
    assert first_result(candidate, (64, 64), 3)["first_result_s"] is not None
    assert list((tmp_path / "cache").rglob("*.json")) == [kept]
    # With nothing kept it would measure the self-test, and says nothing instead.
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert first_result(candidate, (64, 64), 3) == {"first_result_s": None, "peak_memory_mb": None}


def benchmarked(rate: float) -> Benchmarked:
    return Benchmarked((), None, {"rows": [], "frames_per_s": rate})


@pytest.fixture
def plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_files, "plot_png", lambda found: b"plot")


@pytest.mark.usefixtures("plots")
def test_a_benchmark_writes_over_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "out"
    (tmp_path / "new").mkdir()
    for rate in (1.0, 2.0):
        with benchmark_folder(out) as folder:
            write_files(folder, benchmarked(rate))
    assert json.loads((out / "benchmark.json").read_text())["frames_per_s"] == 2
    assert (out / "benchmark.png").read_bytes() == b"plot"

    def no_plot(found: object) -> bytes:
        raise MissingDependencyError("the plot needs matplotlib", "install it")

    monkeypatch.setattr(benchmark_files, "plot_png", no_plot)
    told: list[str] = []
    with benchmark_folder(out) as folder:
        write_files(folder, benchmarked(3.0), told.append)
    assert not (out / "benchmark.png").exists()  # it was of another benchmark
    assert "no plot: the plot needs matplotlib" in told[0]


@pytest.mark.parametrize("name", ["benchmark.json", "benchmark.png"])
def test_a_file_of_somebody_else_is_never_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with (
        pytest.raises(OutputError, match=f"holds {name}, which no earlier run made"),
        benchmark_folder(tmp_path),
    ):
        pytest.fail("it was let in")
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("noted", [False, True])
def test_results_of_another_command_are_never_cleared(tmp_path: Path, noted: bool) -> None:
    run = OutputFolder(tmp_path)
    if noted:
        run.note({"settings": {}})
    else:
        run.claim("summary.json").write_text("{}")
    before = (tmp_path / LEDGER_NAME).read_text()
    with (
        pytest.raises(OutputError, match="holds the results of another command"),
        benchmark_folder(tmp_path),
    ):
        pytest.fail("it was let in")
    assert (tmp_path / LEDGER_NAME).read_text() == before
    assert (tmp_path / "summary.json").exists() is not noted


def test_a_benchmark_that_fails_leaves_no_folder_and_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    with pytest.raises(SourceError), benchmark_folder(out):
        raise SourceError("no frame", "give another")
    assert not out.parent.exists()
    with benchmark_folder(tmp_path) as folder:
        folder.claim("benchmark.json").write_text("old")
    with pytest.raises(SourceError), benchmark_folder(tmp_path):
        raise SourceError("no frame", "give another")
    assert (tmp_path / "benchmark.json").read_text() == "old"


@pytest.mark.parametrize("option", ["--data", "-o"])
def test_what_cannot_be_used_is_said_before_anything_is_measured(
    tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch, quick: Path
) -> None:
    def measured(*_: object) -> None:
        pytest.fail("it was measured")

    monkeypatch.setattr(benchmark_run, "_measured", measured)
    monkeypatch.setattr(benchmark_run, "read_frames", measured)
    wrong = tmp_path / "file"
    wrong.write_text("")
    kinds = {"--data": DataError, "-o": OutputError}
    with pytest.raises(kinds[option], match="file"):
        app(["benchmark", str(quick), option, str(wrong)], standalone_mode=False)


def test_labelled_images_there_must_be(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError):
        run_benchmark(BenchmarkConfig(data=tmp_path))
