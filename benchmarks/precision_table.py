"""What FP16 and INT8 cost: scores, differences, bytes and build seconds of one model.

The FP32 file is converted to FP16, and calibrated to INT8 on uav315 (train sets the ranges, val
judges); all three are scored by ONNX Runtime on the test images of CFD and uav315, tiled as on
the robot, and built for SM86, SM89 and SM120 by TensorRT for RTX, which needs no GPU.

    python benchmarks/precision_table.py [--data DIR] [--model FILE] [--max-drop POINTS]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.model_scores import DEFAULT_DATA, load_images, score  # noqa: E402
from edgecrack.artifacts import read_verified_spec  # noqa: E402
from edgecrack.calibration import defaults  # noqa: E402
from edgecrack.calibration.config import CalibrationConfig  # noqa: E402
from edgecrack.calibration.gate import Gate  # noqa: E402
from edgecrack.calibration.ranges import parse_method  # noqa: E402
from edgecrack.export.build import BuildConfig, build  # noqa: E402
from edgecrack.export.engine.config import EngineConfig  # noqa: E402
from edgecrack.export.engine.target_machines import parse_targets  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402

TARGETS = ("sm86", "sm89", "sm120", "sm86,sm89,sm120")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--max-drop", type=float)
    parser.add_argument("--method", default=defaults.METHOD)
    given = parser.parse_args()
    calibration = CalibrationConfig(
        given.data / "uav315", parse_method(given.method), Gate(given.max_drop)
    )
    tests = [load_images(given.data / name, "test") for name in ("cfd", "uav315")]
    spec = read_verified_spec(given.model)
    expected = {images.name: images.maps(given.model.read_bytes(), spec) for images in tests}
    figures: dict[str, Any] = {"width": spec.width, "model_sha256": spec.sha256}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for precision in ("fp32", "fp16", "int8"):
            source = given.model
            row: dict[str, Any] = {"engines": {}}
            for targets in TARGETS:
                config = BuildConfig(
                    precision,
                    calibration if source == given.model else None,
                    engine=EngineConfig(targets=parse_targets(targets), flavour="tensorrt_rtx"),
                )
                report = build(source, folder / f"{precision}-{targets}.engine", config)
                source = report.onnx_file  # calibrated once
                row["engines"][targets] = {
                    "bytes": report.engine.size_bytes,
                    "seconds": round(report.engine.seconds, 2),
                    "convolutions": dict(report.engine.types.convolutions),
                }
            row["onnx_bytes"] = source.stat().st_size
            if precision == "int8":
                row["calibration"] = dict(read_verified_spec(source).calibration or {})
            for images in tests:
                maps = images.maps(source.read_bytes(), spec)
                wanted = expected[images.name]
                difference = np.abs(maps.astype(np.int16) - wanted.astype(np.int16))
                row[images.name] = {
                    **score(images, maps, spec, wanted).to_dict(),
                    "mean_difference": round(float(difference.mean()), 4),
                    "pixels_over_16": round(float((difference > 16).mean()), 6),
                }
            figures[precision] = row
            print(precision, row, flush=True)
    write_result(
        f"precision_width{spec.width}", figures, "onnxruntime", "onnx", "tensorrt_rtx_cu13"
    )


if __name__ == "__main__":
    main()
