"""TensorRT's messages, and objects of TensorRT that are made while nothing collects."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from edgecrack.nvidia.tensorrt_module import BuildLog, construct
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[2]

# An older Builder in a cycle, which must not end while a newer one is made.
CHILD = """
import gc
import tensorrt_rtx as trt
from edgecrack.nvidia import tensorrt_module

logger, _ = tensorrt_module.make_logger(trt)
gc.disable()
cycle = [trt.Builder(logger)]
cycle.append(cycle)
del cycle

gc.set_threshold(1)
tensorrt_module.construct(trt.Builder, logger)
gc.enable()
gc.collect()
print("made")
"""


def child() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_a_builder_is_made_while_an_older_one_waits_to_be_collected() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (extra rtx)")
    assert child().stdout == "made\n"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_rests_meanwhile_and_is_left_as_it_was(enabled: bool) -> None:
    try:
        if not enabled:
            gc.disable()
        assert construct(lambda logger: (gc.isenabled(), logger), "logger") == (False, "logger")
        assert gc.isenabled() == enabled
        with pytest.raises(ZeroDivisionError):
            construct(lambda logger: 1 // 0, "logger")
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


def test_the_log_keeps_each_message_once_and_the_newest() -> None:
    log = BuildLog()
    assert log.reason() == "TensorRT gave no reason"
    for number in (1, 1, 2):
        log.add(log.errors, f"error\n {number}")
    assert log.errors == ["error 1", "error 2"]
    for number in range(500):
        log.add(log.warnings, f"warning {number}")
    assert log.warnings[-1] == "warning 499"
    assert len(log.warnings) < 100
    log.clear()
    assert (log.errors, log.warnings) == ([], [])
