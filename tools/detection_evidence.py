"""Writes the detection rates of the bundled model that reports quote, from the yardstick.

    python benchmarks/strata.py runs/yardstick --model BEFORE.onnx --model BUNDLED.onnx
    python tools/detection_evidence.py

Writes `edgecrack/models/edgecrack-bundled.detection.json`, with the hash of its model.
"""

from __future__ import annotations

import json
from pathlib import Path

from edgecrack.artifacts import read_verified_spec
from edgecrack.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "edgecrack" / "models" / "edgecrack-bundled.onnx"


def main() -> None:
    """Write it."""
    strata = json.loads((ROOT / "benchmarks" / "results" / "strata.json").read_text("utf-8"))
    found = strata["models"]["edgecrack-bundled"]["detection"]
    evidence = {**found, "model_sha256": read_verified_spec(MODEL).sha256}
    write_atomic(MODEL.with_suffix(".detection.json"), json.dumps(evidence, indent=1) + "\n")


if __name__ == "__main__":
    main()
