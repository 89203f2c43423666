"""What a run notes of what made it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgecrack import __version__
from edgecrack.artifacts import ModelSpec
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.measuring.stream_scale import StreamScale, stream_scale
from edgecrack.runtime.run_provenance import run_provenance
from edgecrack.runtime.stream import run_stream
from edgecrack.runtime.stream_config import StreamConfig
from edgecrack.scale.camera_file import CameraFile, read_camera, write_camera
from edgecrack.scale.quantity import Quantity
from tests.runtime.fakes import picture, write_video
from tests.runtime.models import IdentityRunner, write_quick_model


class NamedRunner(IdentityRunner):
    """Calls itself as it is told."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    @property
    def backend(self) -> str:
        return self._name


def detector(spec: ModelSpec | None = None, backend: str = "onnxruntime") -> CrackDetector:
    runner = NamedRunner(backend)
    if spec is not None:
        runner._spec = spec
    return CrackDetector(runner, "walls.onnx")


def camera(folder: Path) -> CameraFile:
    matrix = np.array([[900.0, 0, 320], [0, 900, 240], [0, 0, 1]])
    facts = {"date": "2026-11-12", "rms_px": 0.31, "photos": 18}
    path = folder / "camera.yaml"
    write_camera(path, CameraFile(matrix, np.zeros(0), (640, 480), "front", 0.004, facts=facts))
    return read_camera(path)


def test_program_model_and_what_runs_it_are_told() -> None:
    found = run_provenance(detector(), None, None)
    assert found["program"] == f"edgecrack {__version__}"
    assert found["model"]["file"] == "walls.onnx"
    assert found["backend"].startswith("ONNX Runtime ")
    assert found["backend"].endswith("(CPU)")
    assert (found["scale"], found["camera"]) == (None, None)
    json.dumps(found)


def test_openvino_is_told_with_how_it_runs() -> None:
    opened = detector(backend="openvino (f32, 2 streams of 1 tile)")
    backend = run_provenance(opened, None, None)["backend"]
    assert backend.startswith("OpenVINO")
    assert backend.endswith("(CPU, f32, 2 streams of 1 tile)")


def test_an_engine_tells_its_tensorrt() -> None:
    engine = {"flavour": "tensorrt_rtx", "version": "1.7.0", "compute_capabilities": ["8.7"]}
    spec = replace(detector().runner.spec, kind="engine", precision="int8", engine=engine)
    found = run_provenance(detector(spec), None, None)
    assert found["backend"] == "TensorRT for RTX 1.7.0 (GPU, compute capability 8.7)"
    assert found["model"]["precision"] == "int8"


def test_the_camera_file_is_told_with_its_date_and_residual(tmp_path: Path) -> None:
    own = camera(tmp_path)
    scale = StreamScale(camera=own, distance_m=Quantity(1.5, 0.01))
    found = run_provenance(detector(), scale, own)
    assert found["scale"] == {
        "by": "camera and distance",
        "distance_m": {"value": 1.5, "spread_95": 0.02},
        "tilt_deg": {"value": 0.0, "spread_95": 5.0},
    }
    assert found["camera"]["file"] == "camera.yaml"
    assert found["camera"]["date"] == "2026-11-12"
    assert found["camera"]["rms_px"] == 0.31
    assert len(found["camera"]["sha256"]) == 64


def test_a_figure_has_its_uncertainty_or_none() -> None:
    found = run_provenance(detector(), stream_scale("0.25"), None)["scale"]
    assert found == {"by": "figure", "mm_per_px": {"value": 0.25, "spread_95": None}}


def test_a_run_notes_it_beside_its_settings(tmp_path: Path) -> None:
    model = write_quick_model(tmp_path / "quick.onnx")
    video = write_video(tmp_path / "wall.mp4", [picture(number) for number in range(4)])
    config = StreamConfig(
        source=str(video), out=tmp_path / "run", model=model, save=("jsonl",), max_frames=2
    )
    run_stream(config)
    notes = [
        json.loads(line)
        for line in (tmp_path / "run" / ".edgecrack-files").read_text().splitlines()
        if line.startswith("{")
    ]
    (begun,) = (note for note in notes if "settings" in note)
    assert begun["about"]["model"]["file"] == "quick.onnx"
    assert begun["about"]["model"]["sha256"] == begun["settings"]["model"]
    assert "about" not in begun["settings"]
