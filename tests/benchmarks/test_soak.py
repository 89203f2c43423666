"""The soak: how it judges a figure, and that its faults reach the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psutil", reason="the serve extra is not installed")
pytest.importorskip("onnx", reason="the export extra is not installed")

from benchmarks import process_figures as figures_module
from benchmarks.process_figures import cached_calls, process_figures, trend, verdict
from benchmarks.soak import FAULTS_OF, parse, run
from benchmarks.soak_surroundings import DISK_FAULTS, FAULTS

ROOT = Path(__file__).resolve().parents[2]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and glibc's heap")


def samples(values: np.ndarray) -> list[dict[str, float]]:
    return [{"frame": 250.0 * n, "mb": float(value)} for n, value in enumerate(values)]


def test_a_straight_line_has_its_slope_and_no_spread() -> None:
    found = trend(samples(100 + 0.25 * np.arange(40)), "mb")
    assert (found["first"], found["last"], found["highest"]) == (100.0, 109.75, 109.75)
    assert found["slope"] == pytest.approx(10.0)  # 0.25 in 250 frames
    assert found["slope_spread"] == pytest.approx(0.0, abs=1e-4)


def test_the_interval_holds_the_true_slope_nineteen_times_of_twenty() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        found = trend(samples(100 + 0.02 * np.arange(60) + rng.normal(0, 1, 60)), "mb")
        hits += abs(found["slope"] - 0.8) <= found["slope_spread"]
    assert 0.91 <= hits / 400 <= 0.99


def test_samples_that_hang_together_count_as_fewer() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1, 80)
    apart = trend(samples(100 + noise), "mb")["slope_spread"]
    smooth = np.convolve(noise, np.ones(8) / np.sqrt(8), "same")
    together = trend(samples(100 + smooth), "mb")["slope_spread"]
    assert together > 1.5 * apart


@pytest.mark.parametrize(
    ("slope", "spread", "told"),
    [
        (0.0, 0.0, "flat"),
        (0.5, 0.4, "flat"),
        (0.5, 0.6, "undecided"),
        (3.0, 2.5, "undecided"),
        (3.0, 1.0, "grows"),
        (-3.0, 1.0, "shrinks"),
    ],
)
def test_flat_is_said_only_where_the_whole_interval_is(
    slope: float, spread: float, told: str
) -> None:
    assert verdict({"slope": slope, "slope_spread": spread}, 1.0) == told


@linux_only
def test_what_is_held_is_seen_in_the_heap_and_files() -> None:
    before = process_figures(objects=True)
    held = [np.ones(8_000_000, np.uint8) for _ in range(4)]
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    during = process_figures()
    for each in files:
        os.close(each)
    del held
    after = process_figures()
    assert during["heap_used_mb"] - before["heap_used_mb"] == pytest.approx(32, abs=2)
    assert during["anonymous_mb"] > 32  # what earlier tests freed may have been taken again
    assert during["open_files"] - before["open_files"] == 3
    assert after["heap_used_mb"] == pytest.approx(before["heap_used_mb"], abs=2)
    assert before["objects"] > 1000
    assert before["heap_arenas"] >= 1


def test_the_entries_of_caches_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    @lru_cache(maxsize=4)
    def double(number: int) -> int:
        return 2 * number

    monkeypatch.setattr(figures_module, "double", double, raising=False)
    before = cached_calls("benchmarks")
    for number in range(9):
        double(number)
    assert cached_calls("benchmarks") - before == 4


def test_each_fault_is_named_once_and_all_of_a_part_are_known() -> None:
    assert len(set(FAULTS)) == len(FAULTS) == 12
    assert {each for faults in FAULTS_OF.values() for each in faults} <= set(FAULTS)


@pytest.mark.slow
@linux_only
def test_faults_of_a_short_soak_reach_the_program() -> None:
    words = ["--frames", "420", "--fault-every", "60", "--every", "30", "--rate", "30", "--faults"]
    words += ["camera unplugged", "damaged picture", "another size", "recording off and on"]
    found = run(parse([*words, "threshold changed", "disk full"]))
    assert found["frames"] == 420
    assert set(found["faults_left_out"]) >= set(DISK_FAULTS)  # a test mounts nothing
    assert found["fault_problems"] == []
    assert found["reconnects"] >= 1
    assert found["corrupt_frames"] >= 1
    assert found["size_changes"] >= 1
    assert found["events"]["threshold.changed"] >= 2
    assert found["events"]["recording.finished"] >= 2
    assert set(found["verdicts"]) >= {"resident_mb", "threads", "open_files"}


@pytest.mark.slow
def test_the_surroundings_say_which_fault_failed() -> None:
    program = ROOT / "benchmarks" / "soak_surroundings.py"
    words = ["--positions-port", "9", "--threshold", "0.7"]
    orders = [json.dumps({"fault": each}) for each in ("disk slow", "no such fault")]
    ended = subprocess.run(
        [sys.executable, str(program), *words],
        input="\n".join(orders) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert answers[0]["camera"].startswith("http://127.0.0.1:")
    assert "no disk to slow down" in answers[1]["problem"]
    assert "no such fault" in answers[2]["problem"]
