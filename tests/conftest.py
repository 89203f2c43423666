"""Shared by all tests: the real data, fixed seeds, GPU tests, and the fast selection."""

from __future__ import annotations

import ctypes
import os
import random
import sys
from collections.abc import Callable, Generator, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

# Parallel test processes use one core each; set before the libraries read it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# As in `edgecrack`; some tests import ONNX Runtime first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# The automatic choice depends on the machine; tests of OpenVINO select it explicitly.
os.environ["EDGECRACK_BACKEND"] = "onnxruntime"
# Tests ignore the models installed on this machine.
os.environ["EDGECRACK_MODELS"] = "/nonexistent/edgecrack-models"

import numpy as np
import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]
SEED = 20240229

settings.register_profile("developer", deadline=None)
# The same examples in every run, so that failures in CI are reproducible.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with real data: EDGECRACK_DATA, or shared/data beside the repository."""
    given = os.environ.get("EDGECRACK_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set EDGECRACK_DATA to the folder that has it")
    return folder


@pytest.fixture(autouse=True, scope="session")
def nothing_is_synced() -> Iterator[None]:
    """Skip fsync, which is slow; the replacement still refuses a closed file.

    Child processes of tests do sync.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            if hasattr(os, name):
                patch.setattr(os, name, lambda file: os.fstat(file) and None)
        yield


@pytest.fixture
def one_demo_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render the demo wall only once, which takes half a second."""
    from edgecrack.synthetic import demo

    paint = partial(_painted_once, demo.build_long_wall)
    monkeypatch.setattr(demo, "build_long_wall", paint)


@lru_cache(maxsize=2)
def _painted_once(build: Callable[[int], Any], seed: int) -> Any:
    return build(seed)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Start every test from the same random state."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(SEED)


def why_no_gpu() -> str | None:
    """Why no GPU is usable, according to the CUDA driver; None if one is."""
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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--fast`, which `make test-fast` uses in an environment without PyTorch."""
    parser.addoption(
        "--fast",
        action="store_true",
        help="skip tests that need a library which is not installed, and leave out slow ones, "
        "instead of failing",
    )


def missing_library(error: BaseException | None) -> str | None:
    """The library whose absence caused an error; None for another cause."""
    while error is not None:
        name = getattr(error, "name", None)
        if isinstance(error, ModuleNotFoundError) and name:
            library = str(name).partition(".")[0]
            return None if library in ("edgecrack", "tests") else library
        error = error.__cause__ or error.__context__
    return None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """With `--fast`, skip a module that imports a missing library."""
    report = yield
    call = getattr(report, "call", None)
    if collector.config.getoption("--fast") and call is not None and call.excinfo is not None:
        library = missing_library(call.excinfo.value)
        if library is not None:
            report.outcome = "skipped"
            report.longrepr = (str(collector.path), 0, f"Skipped: needs {library}")
            report.result = []
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With `--fast`, skip a test that turns out to need a missing library."""
    report = yield
    if item.config.getoption("--fast") and call.excinfo is not None:
        library = missing_library(call.excinfo.value)
        if library is not None:
            report.outcome = "skipped"
            report.longrepr = (str(item.path), 0, f"Skipped: needs {library}")
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked gpu, with the reason, if no GPU is usable."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = why_no_gpu() if marked else None
    if reason:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))
