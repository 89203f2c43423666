"""The figures of `peers.py`: ratios, agreement, and the tables of `docs/performance.md`.

python benchmarks/peers_tables.py             # as Markdown on standard output
python benchmarks/peers_tables.py --write     # into docs/performance.md, between its marks
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import RESULTS  # noqa: E402
from edgecrack.errors import DataError  # noqa: E402
from edgecrack.files import write_atomic  # noqa: E402

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"

Image = NDArray[np.uint8]


def last_line(text: str) -> str:
    """The last line of a program's words that is not blank, or ""."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def ratios(seconds: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    """Median and quartiles of a peer's time over edgecrack's, round by round.

    Args:
        seconds: of the peer, one a round, at least two.
        base: of edgecrack in the same rounds.
    """
    each = [one / other for one, other in zip(seconds, base, strict=True)]
    lower, median, upper = statistics.quantiles(each, n=4, method="inclusive")
    return {"median": round(median, 3), "lower": round(lower, 3), "upper": round(upper, 3)}


def agreement(found: Sequence[Image], wanted: Sequence[Image], level: int) -> dict[str, Any]:
    """How far crack maps are from edgecrack's.

    Args:
        found: uint8 [H, W] each, 255 = certain crack.
        wanted: edgecrack's, of the same shapes.
        level: from which value on a pixel is crack.

    Returns:
        `largest` and `mean` difference, of 255, and `iou`, the intersection over union of the
        masks at the level; None where neither marks anything.
    """
    apart = np.concatenate(
        [np.abs(a.astype(int) - b).ravel() for a, b in zip(found, wanted, strict=True)]
    )
    masks = [(a >= level, b >= level) for a, b in zip(found, wanted, strict=True)]
    either = sum(int((a | b).sum()) for a, b in masks)
    both = sum(int((a & b).sum()) for a, b in masks)
    return {
        "largest": int(apart.max()),
        "mean": round(float(apart.mean()), 3),
        "iou": round(both / either, 4) if either else None,
    }


def tables(document: dict[str, Any]) -> str:
    """One table for each scene, and what failed."""
    parts = [_table(document, scene) for scene in document["scenes"]]
    failed = [row for row in document["rows"].values() if "error" in row]
    words = [f"- {row['words']}: did not run: {row['error']}" for row in failed]
    words += [f"- {name} was not made: {why}" for name, why in document["not_made"].items()]
    parts.append("\n".join(words))
    return "\n\n".join(part for part in parts if part)


def _table(document: dict[str, Any], scene: str) -> str:
    described = document["scenes"][scene]
    head = [
        described["words"], "time", "quartiles", "over edgecrack on ONNX Runtime", "frames/s",
        "memory, MB", "with its imports", "largest", "mean", "masks (IoU)", "without seams (IoU)",
    ]  # fmt: skip
    lines = [_line(head), "|---|" + "---:|" * (len(head) - 1)]
    rows = [row for row in document["rows"].values() if scene in row.get("scenes", {})]
    return "\n".join([*lines, *(_line(_cells(row, scene)) for row in rows)])


def _cells(row: dict[str, Any], scene: str) -> list[str]:
    measured = row["scenes"][scene]
    memory, time = measured["memory"], measured["time"]
    agreed = measured.get("agreement")
    apart = ["", "", "", ""]
    if agreed is not None:
        seamless = measured.get("agreement_without_seams", {"iou": None})
        masks = [_iou(each["iou"]) for each in (agreed, seamless)]
        apart = [str(agreed["largest"]), f"{agreed['mean']:.2f}", *masks]
    other = measured.get("time_over_onnxruntime")
    return [
        row["words"] + (" *" if "extrapolated" in measured else ""),
        _ratio(time["median"]),
        f"{_ratio(time['lower'])} to {_ratio(time['upper'])}",
        "" if other is None else _ratio(other["median"]),
        f"{measured['frames_per_s']:.3g}",
        _mb(memory["over_imports_mb"]),
        _mb(memory["peak_mb"]),
        *apart,
    ]


def _iou(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _mb(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def between_marks(text: str, inserted: str) -> str:
    """A document with what stands between its marks replaced.

    Raises:
        DataError: a mark is missing, or they are in the wrong order.
    """
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin:
        raise DataError(
            f"the document lacks {BEGIN} before {END}", "put both where the tables belong"
        )
    return f"{text[: begin + len(BEGIN)]}\n{inserted}\n{text[end:]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, default=RESULTS / "peers.json")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    given = parser.parse_args()
    text = tables(json.loads(given.file.read_text(encoding="utf-8")))
    if not given.write:
        print(text)
        return
    whole = between_marks(DOCUMENT.read_text(encoding="utf-8"), text)
    write_atomic(DOCUMENT, whole)
    print(f"written: {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
