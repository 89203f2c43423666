"""Libraries that crash, hang or are broken, in processes of their own; and the real command."""

from __future__ import annotations

import json
import os
import pty
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgecrack.doctor.machine import (
    NUMPY_MISMATCH,
    ask_device,
    capture_of,
    is_installed,
    run_probes,
)
from tests.waiting import PATIENCE_S, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
CRASH = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
BROKEN = "raise ImportError('libnvinfer.so.10: cannot open shared object file')\n"


def package(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)


def doctor(*words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    places = [str(path)] if path else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*places, str(REPOSITORY)])}
    environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    environment.pop("FORCE_COLOR", None)
    return subprocess.run(
        [sys.executable, "-m", "edgecrack", "doctor", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=path or REPOSITORY,
    )


def status(done: subprocess.CompletedProcess[str], name: str) -> dict[str, Any]:
    (found,) = [line for line in json.loads(done.stdout)["checks"] if line["name"] == name]
    return dict(found)


def test_on_this_machine() -> None:
    done = doctor()
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    for name in ("edgecrack", "Python", "memory", "disk", "TensorRT for RTX", "CUDA for Python"):
        assert name in done.stdout
    for name in ("NumPy", "OpenCV", "ONNX Runtime", "bundled model", "extra train"):
        assert name in done.stdout
    assert "ready to stream on the CPU" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_colour_marks_the_status_alone() -> None:
    terminal, ours = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    words = [sys.executable, "-m", "edgecrack", "doctor"]
    with subprocess.Popen(words, stdout=ours, cwd=REPOSITORY, env=environment) as process:
        os.close(ours)
        first = os.read(terminal, 60)
        process.kill()
    os.close(terminal)
    assert re.match(rb"\x1b\[32mok {10}\x1b\[0medgecrack {9}\d", first), first


def test_the_doctor_itself_loads_no_library_that_it_looks_at() -> None:
    code = (
        "import sys, edgecrack.commands.doctor, edgecrack.doctor.report\n"
        "import edgecrack.doctor.machine\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    libraries = {"numpy", "cv2", "onnxruntime", "torch", "tensorrt", "tensorrt_rtx", "cuda", "onnx"}
    assert not libraries & set(done.stdout.split())


def test_json_is_all_that_is_printed(tmp_path: Path) -> None:
    done = doctor("--json", path=tmp_path)
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(document) == {"checks", "ready"}
    keys = {"name", "status", "found", "remedy"}
    allowed = {"ok", "missing", "warning", "not needed here"}
    assert all(set(line) == keys and line["status"] in allowed for line in document["checks"])
    assert document["ready"]["stream"]["ready"] is True
    assert set(document["ready"]) == {"stream", "build_engines", "run_engines"}


def test_a_tensorrt_that_crashes_costs_its_own_line(tmp_path: Path) -> None:
    package(tmp_path, "tensorrt", f"print('noise')\n{CRASH}")
    package(tmp_path, "tensorrt_rtx", BROKEN)
    done = doctor("--json", path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert status(done, "TensorRT")["status"] == "missing"
    assert "SIGSEGV" in status(done, "TensorRT")["found"]
    assert "libnvinfer.so.10" in status(done, "TensorRT for RTX")["found"]
    assert not json.loads(done.stdout)["ready"]["build_engines"]["ready"]


def test_an_onnx_runtime_that_crashes_ends_with_1(tmp_path: Path) -> None:
    package(tmp_path, "onnxruntime", CRASH)
    done = doctor(path=tmp_path)
    assert done.returncode == 1
    assert not done.stderr
    assert "not ready to stream on the CPU: missing ONNX Runtime" in done.stdout
    assert "pip install --force-reinstall --no-deps onnxruntime" in done.stdout


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (CRASH, "it crashes (SIGSEGV)"),
        ("import os\nos._exit(3)\n", "it ends with exit code 3"),
        (BROKEN, "ImportError: libnvinfer.so.10: cannot open shared object file"),
        ("raise SystemExit\n", "SystemExit: "),
        ("", "AttributeError: module 'tensorrt' has no attribute '__version__'"),
        ("raise ImportError('numpy.core.multiarray failed to import')", NUMPY_MISMATCH),
        ("import sys\nsys.stderr.write('x' * 300000)\nimport os\nos._exit(1)", "it ends with"),
    ],
)
def test_why_a_library_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, failure: str
) -> None:
    package(tmp_path, "tensorrt", text)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = run_probes(["tensorrt"], timeout_s=PATIENCE_S)["tensorrt"]
    assert found.failure.startswith(failure)
    assert len(found.failure) <= 240
    assert not found.found


def test_what_a_library_prints_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import os\nprint('hello')\nos.system('echo there')\n__version__ = '10.3.0'\nBuilder = 1"
    package(tmp_path, "tensorrt", text)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = run_probes(["tensorrt"], timeout_s=PATIENCE_S)["tensorrt"]
    assert found.found == {"version": "10.3.0", "builder": True}


def test_a_library_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "pid"
    text = f"import os, pathlib, time\npathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n"
    package(tmp_path, "tensorrt", f"{text}time.sleep(600)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = run_probes(["tensorrt"], timeout_s=3)["tensorrt"]
    assert found.failure == "it does not answer within 3 s"
    if note.exists():  # a busy machine may not have come that far
        process = int(note.read_text())
        wait_until(lambda: not _lives(process), "the end of the process")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_folder_of_that_name_is_not_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_such_library").mkdir()
    package(tmp_path, "such_library", "raise RuntimeError\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not is_installed("no_such_library")
    assert not is_installed("no_such_library.part")
    assert is_installed("such_library")
    assert not is_installed("such_library.part")


@pytest.mark.parametrize(
    ("whole_device", "node", "kind"),
    [
        (0x84A00001, 0x04200001, "camera"),  # a webcam's picture node
        (0x84A00001, 0x04A00000, "metadata"),  # its metadata node
        (0x84201000, 0x04201000, "camera"),  # several planes
        (0x84204000, 0x04204000, "no camera"),  # a decoder
        (0x00000001, 0, "camera"),  # an old driver, which knows the device only
        (0x84200002, 0x04200002, "no camera"),  # an output
    ],
)
def test_what_a_device_is_for(whole_device: int, node: int, kind: str) -> None:
    answer = struct.pack("=16s32s32sIII12x", b"uvcvideo", b"C920", b"usb", 1, whole_device, node)
    assert len(answer) == 104
    assert capture_of(answer) == kind


def test_a_file_is_no_video_device(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"")
    assert ask_device(tmp_path / "video0") == "unknown"
    assert ask_device(tmp_path / "video1") == "unknown"
