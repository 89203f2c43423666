"""What runs a model sends nothing, and leaves nothing behind but what edgecrack keeps."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import edgecrack

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import socket, sys, time
asked = []
socket.getaddrinfo = lambda *a, **k: asked.append(a) or []
socket.socket.connect = lambda *a: asked.append(a)
import numpy as np
from edgecrack import open_detector
with open_detector(threads=1, backend=sys.argv[1]) as detector:
    detector.detect(np.full((256, 256, 3), 100, np.uint8))
    time.sleep(2)
print(asked)
"""
# Of an address, by the system's own calls; sockets inside the machine are nobody else's.
INTERNET = re.compile(r"connect\(.*AF_INET|send\w*\(.*AF_INET|resolv\.conf")


def run(script: str, home: Path, *words: str, traced: Path | None = None) -> str:
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *words]
    if traced is not None:
        calls = "trace=connect,sendto,sendmsg,sendmmsg,openat"
        command = ["strace", "-f", "-e", calls, "-o", str(traced), *command]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def traces() -> bool:
    """Whether the system's calls can be seen here; a container may forbid it."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode == 0


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_running_the_model_sends_nothing_and_leaves_only_our_cache(
    tmp_path: Path, backend: str
) -> None:
    if backend == "openvino" and not (
        find_spec("openvino") and platform.machine() in ("x86_64", "AMD64")
    ):
        pytest.skip("openvino is of the cpu extra, on x86-64")
    home, traced = tmp_path / "home", tmp_path / "calls.txt" if traces() else None
    home.mkdir()
    assert run(SCRIPT, home, backend, traced=traced) == "[]"
    ours = home / ".cache" / "edgecrack"
    left = [each for each in home.rglob("*") if each.is_file() and ours not in each.parents]
    assert left == []
    if traced is not None:
        calls = traced.read_text(errors="replace").splitlines()
        assert [call for call in calls if INTERNET.search(call)] == []


def test_processes_inherit_it_and_who_wants_it_otherwise_says_so(tmp_path: Path) -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    assert edgecrack.__version__
    asked = "import edgecrack, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(asked, tmp_path) == "1"
    given = f"import os; os.environ['ORT_DISABLE_TELEMETRY'] = '0'; {asked}"
    assert run(given, tmp_path) == "0"


@pytest.mark.parametrize("folder", ["benchmarks", "tools"])
def test_scripts_import_onnx_runtime_after_edgecrack(folder: str) -> None:
    for path in sorted((ROOT / folder).glob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        places = [at for at, line in enumerate(lines) if line.startswith("import onnxruntime")]
        if places:
            assert any("from edgecrack" in line for line in lines[: places[0]]), path.name
