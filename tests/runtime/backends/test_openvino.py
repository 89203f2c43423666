"""OpenVINO as a backend: equal values, chosen by measurement, and no calls home."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecrack.artifacts import read_model_file
from edgecrack.errors import ConfigError, MissingDependencyError, ModelFileError
from edgecrack.runtime.backends import backend_choice, openvino_module
from edgecrack.runtime.backends.backend_choice import (
    BackendChoice,
    TriedBackend,
    built_in_tiles,
    choose_backend,
    machine_facts,
    read_result,
    self_test,
)
from edgecrack.runtime.backends.onnx_runtime import OnnxRuntimeRunner
from edgecrack.runtime.backends.open import BUNDLED_MODEL, open_runner
from edgecrack.runtime.backends.openvino_runner import OpenVINORunner, OpenVINOSettings
from edgecrack.runtime.detector import open_detector
from tests.runtime.models import write_quick_model

pytest.importorskip("openvino", reason="openvino is of the cpu extra, on x86-64")
MODEL = read_model_file(BUNDLED_MODEL)
F32 = OpenVINOSettings("f32", 2, 2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgecrack" / "backends"


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    return write_quick_model(tmp_path / "quick.onnx")


def tried(*rows: tuple[float, int, str]) -> tuple[TriedBackend, ...]:
    """ONNX Runtime takes a second; of OpenVINO seconds, difference and problem."""
    return (TriedBackend(None, 1.0), *(TriedBackend(F32, *row) for row in rows))


@pytest.fixture
def tests_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A self-test that finds OpenVINO twice as fast; one entry for each that ran."""
    ran: list[int] = []

    def fake(model: object, threads: int, precision: str = "f32") -> tuple[TriedBackend, ...]:
        ran.append(threads)
        return tried((0.5, 1, ""))

    monkeypatch.setattr(backend_choice, "self_test", fake)
    return ran


@pytest.mark.parametrize(
    "settings",
    [OpenVINOSettings("f32", *each) for each in ((1, None), (2, 2), (2, 1), (3, 5), (1, 8))],
)
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_values_are_those_of_onnx_runtime(settings: OpenVINOSettings, count: int) -> None:
    tiles = built_in_tiles(MODEL, 2)[:count]
    with (
        OnnxRuntimeRunner(MODEL, threads=2) as base,
        OpenVINORunner(MODEL, settings, threads=2) as runner,
    ):
        found, wanted = runner.infer(tiles), base.infer(tiles)
        assert found.shape == wanted.shape
        assert np.abs(found.astype(int) - wanted).max() <= backend_choice.MOST_DIFFERENCE
        assert (wanted > 128).any() or count < 3


def test_results_belong_to_the_caller_and_a_closed_runner_says_so() -> None:
    tiles = built_in_tiles(MODEL, 2)[:3]
    runner = OpenVINORunner(MODEL, F32, threads=2)
    first = runner.infer(tiles)
    kept = first.copy()
    runner.infer(255 - tiles)
    assert (first == kept).all()
    with pytest.raises(ConfigError, match="give uint8"):
        runner.infer(tiles.astype(np.float32))
    runner.close()
    runner.close()
    with pytest.raises(ConfigError, match="the runner is closed"):
        runner.infer(tiles)


def test_a_self_test_tries_more_than_one_way_and_finds_equal_values() -> None:
    found = self_test(MODEL, 2)
    assert found[0].settings is None
    usable = [each for each in found[1:] if not each.problem]
    assert len(usable) >= 3
    assert all(each.difference <= backend_choice.MOST_DIFFERENCE for each in usable)
    assert all(each.seconds > 0 for each in found)


def test_the_self_test_is_kept_and_not_run_again(
    quick: Path, cache: Path, tests_run: list[int]
) -> None:
    said: list[str] = []
    for _ in range(2):
        with open_runner(quick, threads=2, backend="auto", on_told=said.append) as runner:
            assert runner.backend == "openvino (f32, 2 streams of 2 tiles)"
    assert tests_run == [2]
    assert said[0].startswith("trying which backend is the fastest")
    assert "2.00 times as fast as ONNX Runtime" in said[1]
    assert "self-test of an earlier start" in said[2]
    assert len(list(cache.glob("*.json"))) == 1
    with open_runner(quick, threads=1, backend="auto"):
        assert tests_run == [2, 1]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda text: text.replace('"threads": 2', '"threads": 96'), "of another machine"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 9'), "of another ver"),
        (lambda text: text[:40], "is damaged"),
        (lambda text: "[" * 50_000, "is damaged"),
        (lambda text: "[]", "is damaged"),
        (lambda text: text.replace('"seconds": 1.0', '"seconds": "x"'), "is damaged"),
        (lambda text: text.replace('"seconds": 1.0', '"seconds": -1'), "is damaged"),
    ],
)
def test_a_result_that_does_not_fit_is_said_and_made_anew(
    quick: Path, cache: Path, tests_run: list[int], spoil: object, why: str
) -> None:
    model = read_model_file(quick)
    choose_backend(model, 2)
    (path,) = cache.glob("*.json")
    path.write_text(spoil(path.read_text()))  # type: ignore[operator]
    assert why in choose_backend(model, 2).note
    assert tests_run == [2, 2]
    assert read_result(path, machine_facts(2))[0] is not None


def test_a_cache_that_cannot_be_written_is_said(
    quick: Path, tmp_path: Path, tests_run: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "could not be kept in" in choose_backend(read_model_file(quick), 2).note


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        ([(0.97, 0, "")], "since OpenVINO takes 0.97 of its time"),
        ([(0.5, 9, "its values are up to 9 of 255 apart")], "up to 9 of 255 apart"),
        ([(0.0, 0, "it cannot run it")], "it cannot run it"),
        ([], "nothing was tried"),
    ],
)
def test_auto_stays_with_onnx_runtime_and_says_why(
    quick: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[float, int, str]], note: str
) -> None:
    monkeypatch.setattr(backend_choice, "self_test", lambda *_: tried(*rows))
    choice = choose_backend(read_model_file(quick), 2)
    assert choice.settings is None
    assert note in choice.note
    assert note in choose_backend(read_model_file(quick), 2).note


def test_openvino_that_was_asked_for_never_becomes_another_backend(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        backend_choice, "self_test", lambda *_: tried((0.5, 9, "its values are up to 9 apart"))
    )
    with pytest.raises(ModelFileError, match="up to 9 apart; give `backend` onnxruntime"):
        choose_backend(read_model_file(quick), 2, "openvino")
    monkeypatch.setattr(backend_choice, "self_test", lambda *_: tried((1.5, 0, "")))
    assert choose_backend(read_model_file(quick), 3, "openvino").settings == F32


def test_what_openvino_cannot_run_is_one_sentence(quick: Path) -> None:
    model = read_model_file(quick)
    with pytest.raises(ModelFileError, match=r"OpenVINO cannot run .*quick\.onnx"):
        OpenVINORunner(replace(model, content=model.content[:100]), F32, threads=1)


@pytest.mark.parametrize("backend", ["tensorflow", "OpenVINO", ""])
def test_an_unknown_backend_is_refused(quick: Path, backend: str) -> None:
    with pytest.raises(ConfigError, match="give auto, onnxruntime, openvino, openvino-bf16"):
        choose_backend(read_model_file(quick), 1, backend)


def test_without_openvino_auto_is_onnx_runtime_and_openvino_is_an_error(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_choice, "has_openvino", lambda: False)
    assert choose_backend(read_model_file(quick), 1) == BackendChoice(None)
    for name in [each for each in sys.modules if each.partition(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingDependencyError, match="the backend openvino needs openvino"):
        choose_backend(read_model_file(quick), 1, "openvino")


def test_on_another_processor_it_is_not_tried(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert not openvino_module.has_openvino()
    with pytest.raises(ConfigError, match="asked for on aarch64, where it was not tried"):
        choose_backend(read_model_file(quick), 1, "openvino")


def test_bfloat16_without_instructions_is_refused(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgecrack.runtime.backends.openvino_runner.has_bfloat16", lambda core: False
    )
    with pytest.raises(ConfigError, match="this processor has no instructions; give `backend` op"):
        OpenVINORunner(read_model_file(quick), OpenVINOSettings("bf16"), threads=1)


def test_the_environment_chooses_where_nobody_else_does(
    quick: Path, monkeypatch: pytest.MonkeyPatch, tests_run: list[int]
) -> None:
    monkeypatch.setenv("EDGECRACK_BACKEND", "openvino")
    with open_detector(quick, threads=2) as detector:
        assert detector.runner.backend.startswith("openvino")
    with open_detector(quick, threads=2, backend="onnxruntime") as detector:
        assert detector.runner.backend == "onnxruntime"


def test_importing_it_looks_up_no_name_and_writes_nothing(tmp_path: Path) -> None:
    script = (
        "import socket, time\n"
        "asked = []\n"
        "socket.getaddrinfo = lambda *a, **k: asked.append(a) or []\n"
        "socket.socket.connect = lambda *a: asked.append(a)\n"
        "from edgecrack.runtime.backends.openvino_module import import_openvino\n"
        "import_openvino().Core()\n"
        "time.sleep(0.5)\n"
        "print(asked)\n"
    )
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_choice_is_what_is_opened(quick: Path) -> None:
    for choice, name in (
        (BackendChoice(None, ""), "onnxruntime"),
        (BackendChoice(F32, ""), "openvino (f32, 2 streams of 2 tiles)"),
    ):
        with choice.open(read_model_file(quick), 2) as runner:
            assert runner.backend == name


def test_a_kept_result_reads_as_json(quick: Path, cache: Path, tests_run: list[int]) -> None:
    choose_backend(read_model_file(quick), 2)
    (path,) = cache.glob("*.json")
    document = json.loads(path.read_text())
    assert document["machine"]["threads"] == 2
    assert document["machine"]["openvino"] != "none"
    assert document["tried"][1]["settings"] == {"precision": "f32", "streams": 2, "batch": 2}
