"""What every test shares: where the real data lies, fixed seeds, and when a GPU test runs."""

from __future__ import annotations

import ctypes
import os
import random
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

# Where several processes share the cores, each takes one; before the libraries read it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# As `edgecrack` sets it; some tests import ONNX Runtime first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# What a self-test chooses depends on the machine; tests of OpenVINO ask for it.
os.environ["EDGECRACK_BACKEND"] = "onnxruntime"
# What is installed on this machine is none of the tests' business.
os.environ["EDGECRACK_MODELS"] = "/nonexistent/edgecrack-models"

import numpy as np
import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]
SEED = 20240229

settings.register_profile("developer", deadline=None)
# The same examples in every run, so that a failure in CI is one that anybody can see again.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data: EDGECRACK_DATA, or shared/data beside the repository."""
    given = os.environ.get("EDGECRACK_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set EDGECRACK_DATA to the folder that has it")
    return folder


@pytest.fixture(autouse=True, scope="session")
def nothing_is_synced() -> Iterator[None]:
    """No test's files have to outlive a power cut, and a slow disk takes long to hold them.

    What stands in still refuses a file that is closed. Processes of tests sync as ever.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            if hasattr(os, name):
                patch.setattr(os, name, lambda file: os.fstat(file) and None)
        yield


@pytest.fixture
def one_demo_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's wall is painted once for all tests that use this; it takes half a second."""
    from edgecrack.synthetic import demo

    paint = partial(_painted_once, demo.build_long_wall)
    monkeypatch.setattr(demo, "build_long_wall", paint)


@lru_cache(maxsize=2)
def _painted_once(build: Callable[[int], Any], seed: int) -> Any:
    return build(seed)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Start every test from the same random state, in whatever order tests run."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(SEED)


def why_no_gpu() -> str | None:
    """Ask the CUDA driver itself, which needs neither PyTorch nor TensorRT.

    Returns:
        Why no test can run on a GPU here, or None where one is usable.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1) on this machine"
    status = driver.cuInit(0)
    if status != 0:
        return f"the CUDA driver does not start (cuInit gave {status})"
    count = ctypes.c_int(0)
    if driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the CUDA driver sees no GPU"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked gpu, with the reason, where no GPU is usable."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = why_no_gpu() if marked else None
    if reason:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))
