"""Runs the probes, all at once, each in a process of its own and with a time limit.

A library that crashes or hangs costs its own line and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgecrack.doctor.machine import Machine, Probed, closed_environment, is_installed, usable_cores
from edgecrack.outside_text import parse_json

PROBE_TIMEOUT_S = 30.0  # TensorRT takes seconds from the memory card of a Jetson
PAUSE_S = 0.5  # in which a processor that is throttled tells so many times
_SCRIPT = Path(__file__).with_name("probe.py")
_LONGEST_REASON = 240
_NUMPY_MISMATCH = ("compiled using NumPy 1", "_ARRAY_API not found", "multiarray failed to import")
NUMPY_MISMATCH = "it is built for NumPy 1 and cannot be loaded beside NumPy 2"

# Each probe, and the module that must be installed for it to be worth a process.
_MODULE_OF: Mapping[str, str] = {
    "numpy": "numpy",
    "cv2": "cv2",
    "av": "av",
    "onnxruntime": "onnxruntime",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt_rtx",
    "pycuda": "pycuda",
    "cuda": "cuda.bindings.runtime",
}
OPTIONAL_MODULES = (
    "torch", "lightning", "safetensors", "matplotlib", "scipy", "yaml", "onnx", "onnxscript",
    "openvino", "mcap", "lz4", "zstandard", "pillow_heif", "rasterio", "pyogrio", "jinja2",
    "reportlab",
    "starlette", "uvicorn", "websockets", "prometheus_client", "psutil",
)  # fmt: skip


def this_machine(timeout_s: float = PROBE_TIMEOUT_S) -> Machine:
    """The machine that this runs on.

    Args:
        timeout_s: longest wait for a library to load.
    """
    names = [name for name, module in _MODULE_OF.items() if is_installed(module)]
    return Machine(
        virtual_environment=closed_environment(),
        cores=usable_cores(),
        search_path=tuple(os.get_exec_path()),
        modules=frozenset(name for name in OPTIONAL_MODULES if is_installed(name)),
        probes=run_probes([*names, "gpu", "run"], timeout_s),
        pause=lambda: time.sleep(PAUSE_S),
    )


def run_probes(names: Sequence[str], timeout_s: float) -> dict[str, Probed]:
    """The answers of probes, by name.

    Args:
        names: keys of `probe.PROBES`.
        timeout_s: longest wait for each.
    """
    processes: list[subprocess.Popen[bytes]] = []

    def ask(name: str) -> Probed:
        try:
            process = _start(name)
        except OSError as error:
            return Probed(failure=f"no process could be started ({error.strerror})")
        processes.append(process)
        return _answer(process, timeout_s)

    with ThreadPoolExecutor(max(1, len(names))) as pool:
        try:
            return dict(zip(names, pool.map(ask, names), strict=True))
        except BaseException:  # Ctrl-C must not wait for a library that hangs
            for process in processes:
                _kill(process)
            raise


def _start(name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(_SCRIPT), name, json.dumps(sys.path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _answer(process: subprocess.Popen[bytes], timeout_s: float) -> Probed:
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _kill(process)
        # A process inside a driver that hangs cannot be killed: leave it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=2)
        return Probed(failure=f"it does not answer within {timeout_s:g} s")
    text = errors.decode("utf-8", errors="replace")
    last_line = next((line for line in reversed(text.splitlines()) if line.strip()), "").strip()
    if process.returncode < 0:
        ended = f"it crashes ({_signal_name(-process.returncode)})"
        return Probed(failure=_short(ended, last_line))
    try:
        document = parse_json(output)
        found, failure = dict(document.get("found", {})), str(document.get("failure", ""))
    except (ValueError, TypeError, AttributeError):
        return Probed(failure=_short(f"it ends with exit code {process.returncode}", last_line))
    if failure and any(sign in text + failure for sign in _NUMPY_MISMATCH):
        failure = NUMPY_MISMATCH
    return Probed(found, _short(failure))


def _short(reason: str, last_line: str = "") -> str:
    text = f"{reason}: {last_line}" if last_line else reason
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + "..."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (OSError, AttributeError):
        process.kill()
