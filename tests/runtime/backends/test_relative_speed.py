"""A file that is made for another machine is told by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecrack.runtime.backends.open import open_runner
from edgecrack.runtime.backends.relative_speed import RelativeTime, relative_time
from tests.runtime.models import write_quick_model


def test_two_files_are_run_in_turn(tmp_path: Path) -> None:
    files = [write_quick_model(tmp_path / f"{name}.onnx") for name in ("one", "other")]
    found = relative_time(files[0], files[1], threads=1)
    assert found.ratio > 0
    assert found.backend == found.other_backend == "onnxruntime"


@pytest.mark.parametrize(("ratio", "is_slower"), [(0.5, False), (1.04, False), (1.5, True)])
def test_slower_means_more_than_noise(ratio: float, is_slower: bool) -> None:
    assert RelativeTime(ratio, "", "").is_slower is is_slower


@pytest.mark.parametrize(
    ("precision", "calibration", "says"),
    [
        ("fp32", None, False),
        ("fp16", None, True),
        ("int8", {"made_for": "tensorrt"}, True),
        ("int8", {}, True),
        ("int8", {"made_for": "cpu"}, False),
    ],
)
def test_a_file_for_tensorrt_is_told_on_a_cpu(
    tmp_path: Path, precision: str, calibration: dict[str, str] | None, says: bool
) -> None:
    model = write_quick_model(tmp_path / "quick.onnx")
    sidecar = Path(f"{model}.json")
    document = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**document, "precision": precision, "calibration": calibration}))
    said: list[str] = []
    open_runner(model, threads=1, on_told=said.append).close()
    assert any("for TensorRT, and slower than its FP32 file" in text for text in said) is says
