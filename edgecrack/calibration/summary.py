"""The output of `edgecrack calibrate`: the gate's verdict, and where the file is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecrack.calibration.accuracy import DRAWS
from edgecrack.calibration.gate import FLAGGED, NAMES, Judged
from edgecrack.terminal.table import rows_text
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from edgecrack.calibration.accuracy import Accuracy
    from edgecrack.calibration.calibrating import Calibration

SCORE_HEADS = ("precision", "ODS", "strict F1", "thin-crack recall", "largest difference")
_VERDICT_HEADS = ("judged", "FP32", "INT8", "worse by", "at most", "allowed")


def score_row(name: str, accuracy: Accuracy, *, compared: bool = True) -> tuple[str, ...]:
    """One row of the table of scores.

    Args:
        name: name of the row.
        accuracy: its scores.
        compared: whether there is an FP32 file to compare with.
    """
    return (
        name,
        f"{accuracy.ods:.2f}",
        f"{accuracy.strict_f1:.2f}",
        f"{accuracy.thin_recall:.2f}" if accuracy.thin_pixels else "none there",
        f"{accuracy.largest_difference}/255" if compared else "unknown",
    )


def calibration_dict(done: Calibration, target: Path) -> dict[str, Any]:
    """The result as JSON values."""
    return {
        "onnx": str(target),
        "sidecar": f"{target}.json",
        "gate": done.verdict.kind,
        "fp32": done.reference.to_dict(),
        "int8": done.accuracy.to_dict(),
        "layers": done.layers,
        "kept_fp16": list(done.kept),
        "int8_share_of_multiplications": round(done.int8_share, 4),
        "calibration": dict(done.spec.calibration or {}),
    }


def gate_text(record: Mapping[str, Any]) -> str:
    """Which gate was applied to which data, as one sentence.

    Args:
        record: a sidecar's `calibration`; in older versions it names no gate.
    """
    gate = record.get("gate")
    if not gate:
        return "gate: of an older version, by the measured drop alone"
    kinds = {
        "labels": "labels",
        "agreement": "agreement with FP32, since the data have no labels",
    }
    part = "held-out tiles"
    if gate["search"]:
        part = (
            f"tiles not used to choose layers ({counted(gate['search']['images'], 'other image')})"
        )
    text = (
        f"gate: {kinds[gate['kind']]}; {gate['tiles']} {part}, of "
        f"{counted(gate['images'], 'image')} of {record['data']}"
    )
    missing = {"thin_recall": "no thin crack", "bare_flagged": "none free of cracks"}
    absent = [missing[name] for name in gate["not_judged"]]
    return text + (f"; not judged: {', '.join(absent)} among them" if absent else "")


def calibration_text(done: Calibration, target: Path) -> str:
    """The result as text."""
    record = done.spec.calibration or {}
    kept = ", ".join(done.kept) if done.kept else "none"
    shown = f"largest difference from FP32: {done.accuracy.largest_difference}/255"
    if done.verdict.kind == "agreement":
        shown = f"agreement to the pixel, not judged: {done.accuracy.strict_f1:.2f}; {shown}"
    for_cpu = record.get("made_for") == "cpu"
    rest = "FP32" if for_cpu else "FP16"
    words = ["stream", "--model", str(target)]
    if not for_cpu:
        words = ["build-engine", str(target), "-o", f"{target.stem}.engine"]
    return "\n".join(
        [
            f"wrote {target} ({target.stat().st_size / 1e6:.2f} MB) and {target.name}.json",
            "",
            rows_text(_VERDICT_HEADS, [_verdict_row(item) for item in done.verdict.judged]),
            "",
            gate_text(record),
            f"at most: with 95 % confidence, by {DRAWS} draws of the images",
            shown,
            f"ranges: {record['method']}, from {counted(record['tiles'], 'tile')} "
            f"({record['tiles_with_crack']} with a crack)",
            f"kept in {rest}: {kept} ({len(done.kept)} of {counted(done.layers, 'layer')}; INT8 "
            f"does {100 * done.int8_share:.1f} % of the multiplications)",
            *([str(done.openvino)] if done.openvino else []),
            "next: " + shlex.join(["edgecrack", *words]),
        ]
    )


def _verdict_row(item: Judged) -> tuple[str, ...]:
    places = 3 if item.score == FLAGGED else 2
    unit = " %" if item.score == FLAGGED else ""
    figures = (f"{value:.{places}f}{unit}" for value in (item.before, item.after))
    changes = (f"{value:+.{places}f}" for value in (item.drop, item.upper, item.limit))
    return (NAMES[item.score], *figures, *changes)
