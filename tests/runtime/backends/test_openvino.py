"""OpenVINO as a backend: equal values, chosen by measurement, and no calls home."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.artifacts import ModelFile, Precision, read_model_file
from edgecrack.errors import ConfigError, MissingDependencyError, ModelFileError
from edgecrack.runtime.backends import backend_choice, cpu_self_test, openvino_runner
from edgecrack.runtime.backends.backend_choice import (
    BackendChoice,
    cache_folder,
    choose_backend,
    machine_facts,
    read_result,
)
from edgecrack.runtime.backends.cpu_self_test import (
    LEAST_AGREEMENT,
    MOST_DIFFERENCE,
    TriedBackend,
    built_in_tiles,
    judged_by_masks,
    self_test,
)
from edgecrack.runtime.backends.onnx_runtime import OnnxRuntimeRunner
from edgecrack.runtime.backends.open import BUNDLED_MODEL, open_runner
from edgecrack.runtime.backends.openvino_runner import (
    OpenVINORunner,
    OpenVINOSettings,
    has_bfloat16,
)
from edgecrack.runtime.detector import open_detector
from tests.runtime.models import write_quick_model
from tests.waiting import PATIENCE_S

pytest.importorskip("openvino", reason="openvino is of the cpu extra, on x86-64")
MODEL = read_model_file(BUNDLED_MODEL)
F32 = OpenVINOSettings("f32", 2, 2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(backend_choice, "has_amx", lambda: False)
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
        assert np.abs(found.astype(int) - wanted).max() <= MOST_DIFFERENCE
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
    assert all(each.difference <= MOST_DIFFERENCE for each in usable)
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
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 9'), "of another ver"),
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
    assert read_result(path, machine_facts(2), model, "f32")[0] is not None


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


@pytest.mark.parametrize(
    ("float32", "bfloat16", "precision", "note"),
    [
        ((0.5, 1, ""), (0.25, 20, ""), "bf16", "4.00 times as fast as ONNX Runtime"),
        ((0.5, 1, ""), (0.45, 20, ""), "f32", "2.00 times"),
        ((0.5, 1, ""), (0.1, 99, "its masks agree to 40%"), "f32", "2.00 times"),
        ((1.5, 1, ""), (0.9, 20, ""), None, "takes 1.50 of its time"),
        ((0.5, 9, "it is apart"), (0.25, 20, ""), "bf16", "`backend` openvino keeps float32"),
    ],
)
def test_with_amx_auto_takes_bfloat16_where_that_gains_much(
    quick: Path,
    monkeypatch: pytest.MonkeyPatch,
    float32: tuple[float, int, str],
    bfloat16: tuple[float, int, str],
    precision: str | None,
    note: str,
) -> None:
    in_bfloat16 = OpenVINOSettings("bf16", 2, 2)

    def fake(model: ModelFile, threads: int, precision: str) -> tuple[TriedBackend, ...]:
        row, settings = (float32, F32) if precision == "f32" else (bfloat16, in_bfloat16)
        return TriedBackend(None, 1.0), TriedBackend(settings, *row, 0.99)

    monkeypatch.setattr(backend_choice, "has_amx", lambda: True)
    monkeypatch.setattr(backend_choice, "self_test", fake)
    model = read_model_file(quick)
    for _ in range(2):  # tested, and kept
        choice = choose_backend(model, 2)
        assert (choice.settings and choice.settings.precision) == precision
        assert note in choice.note
    with pytest.raises(ModelFileError) if float32[2] else nullcontext():
        settings = choose_backend(model, 2, "openvino").settings
        assert settings is not None
        assert settings.precision == "f32"
    other = replace(model, spec=replace(model.spec, precision="fp16"))
    assert getattr(choose_backend(other, 2).settings, "precision", "f32") == "f32"


@pytest.mark.parametrize(
    ("flags", "limit", "is_able"),
    [
        ({"amx_bf16", "avx512f"}, None, True),
        ({"amx_bf16"}, "AVX512_CORE_AMX", True),
        ({"amx_bf16"}, "default", True),
        ({"amx_bf16"}, "avx512_core_bf16", False),
        ({"avx512_bf16"}, None, False),
    ],
)
def test_amx_is_the_processors_and_no_limit_forbids_it(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], limit: str | None, is_able: bool
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(backend_choice, "_flags", lambda: flags)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert backend_choice.has_amx() == is_able


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
    assert not openvino_runner.has_openvino()
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


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "OV_CPU_MAX_ISA"])
@pytest.mark.parametrize(
    ("limit", "is_able"),
    [("avx2", False), ("AVX512_CORE", False), ("AVX512_CORE_BF16", True), ("", True)],
)
def test_a_limit_on_instructions_refuses_bfloat16(
    monkeypatch: pytest.MonkeyPatch, variable: str, limit: str, is_able: bool
) -> None:
    monkeypatch.setenv(variable, limit)
    core = SimpleNamespace(get_property=lambda *_: ["BF16", "FP32"])
    assert has_bfloat16(core) == is_able


def test_a_refusal_names_the_limit(quick: Path) -> None:
    """In a process of its own, since oneDNN reads its limit once."""
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from edgecrack.artifacts import read_model_file\n"
        "from edgecrack.runtime.backends.backend_choice import choose_backend\n"
        "try:\n"
        "    choose_backend(read_model_file(Path(sys.argv[1])), 1, 'openvino-bf16')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(quick)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    ).stdout
    assert "for which this processor has no instructions, or ONEDNN_MAX_CPU_ISA=AVX2 forb" in found
    assert "give `backend` openvino, or unset ONEDNN_MAX_CPU_ISA" in found


def test_a_result_under_another_limit_is_made_anew(
    quick: Path, tests_run: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_model_file(quick)
    choose_backend(model, 2)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "of another machine" in choose_backend(model, 2).note
    assert "earlier start" in choose_backend(model, 2).note
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert "of another machine" in choose_backend(model, 2).note
    assert tests_run == [2, 2, 2]


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
        "from edgecrack.runtime.backends.openvino_runner import import_openvino\n"
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


def of_entry(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Changes what is kept of OpenVINO."""
    return lambda document: document["tried"][1].update(changes)


def of_settings(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["tried"][1]["settings"].update(changes)


@pytest.mark.parametrize(
    "spoil",
    [
        of_settings(batch=-1),
        of_settings(batch=0),
        of_settings(batch=3),
        of_settings(batch=2.0),
        of_settings(batch=True),
        of_settings(streams=0),
        of_settings(streams=2.0),
        of_settings(streams=64),
        of_settings(precision="bf16"),
        of_settings(more=1),
        of_entry(settings=None),
        of_entry(settings=[]),
        of_entry(seconds=0),
        of_entry(seconds=1e-320),
        of_entry(seconds=1e308),
        of_entry(seconds=float("nan")),
        of_entry(seconds=float("inf")),
        of_entry(difference=MOST_DIFFERENCE + 1),
        of_entry(difference=-1),
        of_entry(difference=256, problem="apart"),
        lambda document: document["tried"].append(document["tried"][1]),
        lambda document: document["tried"].pop(),
        lambda document: document["tried"].pop(0),
        lambda document: document["tried"][0].update(problem="torn"),
        lambda document: document.update(model_sha256="0" * 63 + "1"),
        lambda document: document.update(tried={"0": 1}),
        lambda document: document.pop("tried"),
    ],
)
def test_a_kept_result_that_no_self_test_can_find_is_made_anew(
    quick: Path, cache: Path, tests_run: list[int], spoil: Callable[[dict[str, Any]], None]
) -> None:
    model = read_model_file(quick)
    choose_backend(model, 2)
    (path,) = cache.glob("*.json")
    document = json.loads(path.read_text())
    spoil(document)
    path.write_text(json.dumps(document))
    choice = choose_backend(model, 2)
    assert "was replaced" in choice.note
    assert choice.settings == F32
    assert tests_run == [2, 2]
    assert "earlier start" in choose_backend(model, 2).note


@pytest.mark.parametrize(
    ("streams", "batch"), [(0, None), (-1, 1), (1, 0), (1, -1), (True, 1), (1.0, 1), (1, 1025)]
)
def test_settings_that_would_fill_nothing_are_refused(streams: Any, batch: Any) -> None:
    with pytest.raises(ConfigError, match="give 1 to 1024 of each"):
        OpenVINOSettings("f32", streams, batch)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="the precision is 'f16'; give f32, bf16"):
        OpenVINOSettings(cast(Any, "f16"))


@pytest.mark.parametrize("shape", [(1, 1, 256, 256), (2, 1, 128, 256), (1, 1, 1, 1)])
def test_memory_that_no_piece_filled_is_never_a_result(
    quick: Path, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenVINORunner(read_model_file(quick), F32, threads=2) as runner:
        found = SimpleNamespace(data=np.zeros(shape, np.uint8))
        request = SimpleNamespace(
            start_async=lambda given: None, wait=lambda: None, get_tensor=lambda name: found
        )
        monkeypatch.setattr(runner, "_requests", [request])
        with pytest.raises(ModelFileError, match=r"it gives \(.*, expected \(2, 1, 256, 256\)"):
            runner.infer(built_in_tiles(MODEL, 2))


def test_a_graph_that_fails_is_one_sentence(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenVINORunner(read_model_file(quick), F32, threads=2) as runner:
        request = SimpleNamespace(start_async=lambda given: None, wait=fail)
        monkeypatch.setattr(runner, "_requests", [request])
        with pytest.raises(ModelFileError, match=r"OpenVINO cannot run .*quick.onnx \(it broke"):
            runner.infer(built_in_tiles(MODEL, 2))


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("it broke\nat line 7")


@pytest.mark.parametrize(
    ("precision", "difference", "agreement", "problem"),
    [
        ("f32", 2, 0.1, ""),
        ("f32", 3, 1.0, "up to 3 of 255 apart"),
        ("bf16", 22, LEAST_AGREEMENT, ""),
        ("bf16", 211, 0.722, "its masks agree with those of ONNX Runtime to 72.2%"),
        ("bf16", 9, float("nan"), "its masks agree"),
        ("bf16", 9, 1.5, "its masks agree"),
        ("bf16", 9, None, "no crack on the walls shows"),
        ("bf16", 2, None, ""),
    ],
)
def test_float32_is_judged_by_values_and_bfloat16_by_masks(
    precision: Any, difference: int, agreement: float | None, problem: str
) -> None:
    tried = TriedBackend(OpenVINOSettings(precision), 1.0, difference, "", agreement)
    found = tried.misfit(judged_by_masks(MODEL, precision))
    assert problem in found
    assert bool(problem) == bool(found)


@pytest.mark.parametrize(
    ("precision", "calibration", "by_masks"),
    [
        ("int8", {"openvino": {"passed": True}}, True),
        ("int8", {"openvino": {"passed": False}}, False),
        ("int8", {"openvino": {"passed": "yes"}}, False),
        ("int8", {"openvino": True}, False),
        ("int8", {"made_for": "tensorrt"}, False),
        ("int8", None, False),
        ("fp32", {"openvino": {"passed": True}}, False),
    ],
)
def test_int8_is_judged_by_masks_where_openvino_has_passed_the_gate(
    precision: Precision, calibration: Any, by_masks: bool
) -> None:
    model = replace(MODEL, spec=replace(MODEL.spec, precision=precision, calibration=calibration))
    assert judged_by_masks(model, "f32") == by_masks
    assert judged_by_masks(model, "bf16")


class Halving(OnnxRuntimeRunner):
    """As bfloat16 does it to some INT8 models: half of the cracks are gone."""

    def __init__(self, model: ModelFile, settings: OpenVINOSettings, *, threads: int) -> None:
        super().__init__(model, threads=threads)

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        found = super().infer(tiles)
        found[::2] = 0
        return found


def test_bfloat16_that_loses_cracks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_self_test, "OpenVINORunner", Halving)
    monkeypatch.setattr(cpu_self_test, "_BUDGET_S", 0.0)
    found = self_test(MODEL, 1, "bf16")
    assert all("its masks agree" in each.problem for each in found[1:])
    assert all(each.agreement is not None and each.agreement < 0.9 for each in found[1:])
    for _ in range(2):  # tested, and kept
        with pytest.raises(ModelFileError, match=r"of which 97% are needed; give `backend` onn"):
            choose_backend(MODEL, 1, "openvino-bf16")


def of_int8(passed: bool) -> ModelFile:
    """The bundled model with the sidecar of an INT8 file, which says whether OpenVINO passed."""
    calibration = {"made_for": "cpu", "openvino": {"passed": passed}}
    return replace(MODEL, spec=replace(MODEL.spec, precision="int8", calibration=calibration))


class OneStepApart(OnnxRuntimeRunner):
    """As a rounding that differs does it to INT8: some values elsewhere, the masks as they were."""

    def __init__(self, model: ModelFile, settings: OpenVINOSettings, *, threads: int) -> None:
        super().__init__(model, threads=threads)

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        found = super().infer(tiles)
        return np.where(found < 100, found + 20, found).astype(np.uint8)


def test_int8_may_differ_as_far_as_masks_agree_where_it_passed_the_gate(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_self_test, "OpenVINORunner", OneStepApart)
    monkeypatch.setattr(cpu_self_test, "_BUDGET_S", 0.0)
    for origin in ("self-test of ", "self-test of an earlier start"):
        choice = choose_backend(of_int8(True), 1, "openvino")
        assert choice.settings is not None
        assert "masks agree to 100.0%, values at most 20 of 255 apart" in choice.note
        assert origin in choice.note
    with pytest.raises(ModelFileError, match="its values are up to 20 of 255 apart"):
        choose_backend(of_int8(False), 1, "openvino")
    monkeypatch.setattr(cpu_self_test, "OpenVINORunner", Halving)
    assert all("its masks agree" in each.problem for each in self_test(of_int8(True), 1)[1:])


def test_bfloat16_keeps_the_masks_of_the_bundled_model() -> None:
    if not has_bfloat16(openvino_runner.import_openvino().Core()):
        pytest.skip("this processor does not reckon with bfloat16")
    choice = choose_backend(MODEL, 1, "openvino-bf16")
    assert choice.settings is not None
    assert choice.settings.precision == "bf16"
    assert "masks agree to 99." in choice.note
    assert "earlier start" in choose_backend(MODEL, 1, "openvino-bf16").note


@pytest.mark.parametrize(
    ("cache_home", "home", "folder"),
    [
        ("/somewhere", "", "/somewhere"),
        ("/somewhere", None, "/somewhere"),
        ("cache", "/robot", None),
        ("./cache", "/robot", None),
        ("", "/robot", "/robot/.cache"),
        (None, "/robot", "/robot/.cache"),
        (None, "", None),
        (None, "/", None),
        (None, "robot", None),
        (None, None, None),
    ],
)
def test_nothing_is_kept_where_there_is_no_home(
    quick: Path,
    tests_run: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cache_home: str | None,
    home: str | None,
    folder: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("XDG_CACHE_HOME", cache_home), ("HOME", home)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    if home is None:  # as for a user id that the system does not know
        monkeypatch.setattr(Path, "home", fail)
    assert cache_folder() == (None if folder is None else Path(folder))
    if folder is None:
        there = sorted(tmp_path.rglob("*"))
        note = choose_backend(read_model_file(quick), 2).note
        assert "not kept without a cache folder: set XDG_CACHE_HOME" in note
        assert sorted(tmp_path.rglob("*")) == there


@pytest.mark.parametrize(
    "error", [ImportError("libtbb.so.12 is missing"), RuntimeError("it broke"), OSError("torn")]
)
def test_a_broken_openvino_makes_way_or_is_one_error(
    quick: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(name: str) -> None:
        raise error

    monkeypatch.setattr("edgecrack.extras.importlib.import_module", refuse)
    said: list[str] = []
    with open_runner(quick, threads=2, backend="auto", on_told=said.append) as runner:
        assert runner.backend == "onnxruntime"
    assert said == [
        "ONNX Runtime, since OpenVINO cannot be used: OpenVINO is installed, and cannot be loaded "
        f"({error})"
    ]
    with pytest.raises(MissingDependencyError, match=r"loaded \(.*; give `backend` onnx"):
        open_runner(quick, threads=2, backend="openvino")


def test_an_openvino_that_loads_and_does_not_start(
    quick: Path, monkeypatch: pytest.MonkeyPatch, tests_run: list[int]
) -> None:
    monkeypatch.setattr(
        "edgecrack.runtime.backends.openvino_runner.import_openvino",
        lambda: SimpleNamespace(Core=fail),
    )
    said: list[str] = []
    with open_runner(quick, threads=2, backend="auto", on_told=said.append) as runner:
        assert runner.backend == "onnxruntime"
    assert "since OpenVINO cannot be opened: OpenVINO is installed" in said[-1]
    with pytest.raises(MissingDependencyError, match=r"cannot be loaded \(it broke\)"):
        open_runner(quick, threads=2, backend="openvino")


@pytest.mark.parametrize(
    ("streams", "batch", "words"),
    [
        (1, None, "f32, 1 stream of all tiles"),
        (2, 1, "f32, 2 streams of 1 tile"),
        (1, 2, "f32, 1 stream of 2 tiles"),
    ],
)
def test_settings_in_words(streams: int, batch: int | None, words: str) -> None:
    assert OpenVINOSettings("f32", streams, batch).words == words


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({(1, 2): 0.50, (2, 1): 0.51, (2, 2): 0.51, (1, None): 0.52}, (2, 1)),
        ({(1, 2): 0.50, (2, 1): 0.60, (2, 2): 0.61, (1, None): 0.70}, (1, 2)),
        ({(1, 2): 0.70, (2, 1): 0.60, (2, 2): 0.50, (1, None): 0.70}, (2, 2)),
    ],
)
def test_of_ways_that_are_as_fast_the_one_with_the_smallest_pieces_runs(
    seconds: dict[tuple[int, int | None], float],
    chosen: tuple[int, int | None],
    quick: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [TriedBackend(None, 1.0)]
    for (streams, batch), each in seconds.items():
        found.append(TriedBackend(OpenVINOSettings("f32", streams, batch), each, 1, ""))
    monkeypatch.setattr(backend_choice, "self_test", lambda *given: tuple(found))
    choice = choose_backend(read_model_file(quick), 2, "auto")
    assert choice.settings == OpenVINOSettings("f32", *chosen)
