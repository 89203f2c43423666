"""Results of a benchmark that fails, or is killed, in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import engine_on_gpu, machine
from benchmarks.rows import Rows
from edgecrack.errors import DeviceError
from edgecrack.nvidia.gpu import Gpu
from tests.waiting import PATIENCE_S

KILLED = """
import os, signal
from pathlib import Path
from benchmarks import machine
from benchmarks.rows import Rows
machine.RESULTS = Path({folder!r})
rows = Rows("killed", {{"gpu": "Orin"}})
rows.add("first", lambda: {{"ms": 1}})
rows.add("second", lambda: {{"ms": 2}})
rows.add("third", lambda: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def written(results: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize(
    "error",
    [
        DeviceError("the GPU is gone", "start again"),
        RuntimeError("cuInit"),
        SystemExit(3),
        KeyError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_that_of_its_row(results: Path, error: BaseException) -> None:
    def fail() -> dict[str, Any]:
        raise error

    rows = Rows("some", {"gpu": "Orin"})
    rows.add("bad", fail)
    assert written(results, "some")["bad"]["error"].startswith(type(error).__name__)
    rows.add("good", lambda: {"ms": 1})
    assert written(results, "some")["good"] == {"ms": 1}
    assert "bad" in written(results, "some")


def test_ctrl_c_ends_it_and_leaves_the_rows_before(results: Path) -> None:
    def interrupted() -> dict[str, Any]:
        raise KeyboardInterrupt

    rows = Rows("some", {})
    rows.add("first", lambda: {"ms": 1})
    with pytest.raises(KeyboardInterrupt):
        rows.add("second", interrupted)
    assert written(results, "some")["first"] == {"ms": 1}


def test_killed_in_a_row_it_leaves_the_rows_before(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(folder=str(tmp_path))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=PATIENCE_S,
        stdout=subprocess.DEVNULL,
    )
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["killed.json"]
    document = written(tmp_path, "killed")
    assert (document["first"], document["second"]) == ({"ms": 1}, {"ms": 2})
    assert "third" not in document


def test_engines_on_a_gpu_of_which_some_fail(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(source: Path, output: Path, precision: str, *rest: object) -> dict[str, Any]:
        if precision == "fp32":
            raise MemoryError("of the GPU")
        return {"tiles_per_s": 1.0}

    def buffers(library: str) -> dict[str, Any]:
        raise AttributeError("no such function")

    monkeypatch.setattr(engine_on_gpu, "why_no_gpu", lambda: None)
    monkeypatch.setattr(engine_on_gpu, "gpu_devices", lambda: (Gpu(0, "Orin", "8.7", 1),))
    monkeypatch.setattr(engine_on_gpu, "try_buffers", buffers)
    monkeypatch.setattr(engine_on_gpu, "real_tiles", lambda *given: None)
    monkeypatch.setattr(engine_on_gpu, "installed_flavours", lambda: ("tensorrt",))
    monkeypatch.setattr(engine_on_gpu, "_engine", measure)
    monkeypatch.setattr(sys, "argv", ["engine_on_gpu.py"])
    engine_on_gpu.main()
    document = written(results, "engine_on_gpu")
    assert document["gpu"] == "Orin"
    assert document["pycuda"] == {"error": "AttributeError: no such function"}
    assert document["tensorrt fp32"] == {"error": "MemoryError: of the GPU"}
    assert document["tensorrt fp16"] == {"tiles_per_s": 1.0}
