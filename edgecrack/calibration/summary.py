"""What `edgecrack calibrate` prints: the scores before and after, and where the file lies."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecrack.table import rows_text

if TYPE_CHECKING:
    from edgecrack.calibration.accuracy import Accuracy
    from edgecrack.calibration.calibrate import Calibration

SCORE_HEADS = ("precision", "ODS", "strict F1", "thin-crack recall", "largest difference")


def score_row(name: str, accuracy: Accuracy, *, compared: bool = True) -> tuple[str, ...]:
    """One row of the table of scores.

    Args:
        name: what was scored.
        accuracy: its scores.
        compared: whether there was an FP32 file to differ from.
    """
    return (
        name,
        f"{accuracy.ods:.2f}",
        f"{accuracy.strict_f1:.2f}",
        f"{accuracy.thin_recall:.2f}" if accuracy.thin_pixels else "none there",
        f"{accuracy.largest_difference}/255" if compared else "unknown",
    )


def calibration_dict(done: Calibration, target: Path) -> dict[str, Any]:
    """The result as JSON holds it."""
    return {
        "onnx": str(target),
        "sidecar": f"{target}.json",
        "fp32": done.reference.to_dict(),
        "int8": done.accuracy.to_dict(),
        "layers": done.layers,
        "kept_fp16": list(done.kept),
        "int8_share_of_multiplications": round(done.int8_share, 4),
        "calibration": dict(done.spec.calibration or {}),
    }


def calibration_text(done: Calibration, target: Path) -> str:
    """The result as a person reads it."""
    record = done.spec.calibration or {}
    rows = [score_row("FP32", done.reference), score_row("INT8", done.accuracy)]
    truth = "labels" if record["truth"] == "labels" else "what the FP32 model finds"
    kept = ", ".join(done.kept) if done.kept else "none"
    return "\n".join(
        [
            f"wrote {target} ({target.stat().st_size / 1e6:.2f} MB) and {target.name}.json",
            "",
            rows_text(SCORE_HEADS, rows),
            "",
            f"measured on: {record['held_out_tiles']} held-out tiles of {record['data']}, truth: "
            f"{truth}",
            f"ranges: {record['method']}, from {record['tiles']} tiles "
            f"({record['tiles_with_crack']} with a crack)",
            f"kept in FP16: {kept} ({len(done.kept)} of {done.layers} layers; INT8 does "
            f"{100 * done.int8_share:.1f} % of the multiplications)",
            "next: "
            + shlex.join(["edgecrack", "build-engine", str(target), "-o", f"{target.stem}.engine"]),
        ]
    )
