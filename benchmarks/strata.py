"""The yardstick's table: an untrained filter, the first model and the current one, by stratum.

    edgecrack yardstick build --data DIR --out runs/yardstick
    python benchmarks/strata.py runs/yardstick [--report FOLDER] [--model FILE ...]

The filter's kernel, blur and threshold are the best for the mean over these very strata, so it is
shown at its best; models stand at the threshold that they are shipped with. The model of version
0.1.0 is taken out of this repository's history.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.blackhat_baseline import BLURS_PX, KERNELS_PX, BlackHat  # noqa: E402
from benchmarks.machine import write_result  # noqa: E402
from edgecrack import metrics  # noqa: E402
from edgecrack.evaluation.open_model import open_model  # noqa: E402
from edgecrack.evaluation.protocols import PredictionConfig  # noqa: E402
from edgecrack.evaluation.strata.item_result import TOLERANT, score_item  # noqa: E402
from edgecrack.evaluation.strata.scoring import ScoredStrata, score_yardstick  # noqa: E402
from edgecrack.evaluation.strata.strata_report import write_strata_report  # noqa: E402
from edgecrack.evaluation.strata.stratum_scores import StrataScores  # noqa: E402
from edgecrack.yardstick.manifest import Item, Yardstick, open_yardstick  # noqa: E402

FIRST_VERSION = "5006263"
MODEL = "edgecrack/models/edgecrack-bundled.onnx"
_DECIMALS = 4


def first_model(folder: Path) -> Path:
    """The model file of version 0.1.0 and its sidecar, from the history."""
    for suffix in ("", ".json"):
        content = subprocess.run(
            ["git", "-C", str(ROOT), "show", f"{FIRST_VERSION}:{MODEL}{suffix}"],
            check=True,
            capture_output=True,
        ).stdout
        (folder / f"version-0.1.0.onnx{suffix}").write_bytes(content)
    return folder / "version-0.1.0.onnx"


def tuned_filter(yardstick: Yardstick) -> tuple[BlackHat, float]:
    """The black-hat filter and the threshold with the best mean tolerant F1 over the strata.

    Kernel and blur are chosen on every third picture, the threshold on all.
    """
    candidates = itertools.starmap(BlackHat, itertools.product(KERNELS_PX, BLURS_PX))
    third = _Tuning(yardstick.cracked[::3])
    chosen = max(candidates, key=lambda candidate: third.best(candidate).f1)
    score = _Tuning(yardstick.cracked).best(chosen)
    print(f"{chosen}: {100 * score.f1:.1f} at {score.threshold:.2f}", flush=True)
    return chosen, score.threshold


class _Tuning:
    """Pictures whose strata are known, and which are only counted again for each filter."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._pictures = [(item.image(), item.mask()) for item in items]
        self._blank = [
            score_item(lambda image: np.zeros(image.shape[:2], np.uint8), item, 0.5)
            for item in items
        ]

    def best(self, candidate: BlackHat) -> metrics.Score:
        """The mean over strata at the best threshold."""
        results = tuple(
            dataclasses.replace(
                result,
                counts={
                    **result.counts,
                    TOLERANT: metrics.count_image(candidate(image), mask, TOLERANT),
                },
            )
            for result, (image, mask) in zip(self._blank, self._pictures, strict=True)
        )
        return StrataScores(results, 0.5).best(TOLERANT)


def score_models(
    models: Sequence[Path], yardstick: Yardstick, stack: ExitStack
) -> list[ScoredStrata]:
    """Each model at the threshold that it is shipped with."""
    scored = []
    for path in models:
        opened = open_model(path, PredictionConfig(), stack)
        threshold = min(0.99, max(0.01, round(opened.spec.threshold, 2)))
        context = {"model": f"{path.name}, sha256 {opened.spec.sha256[:12]}"}
        scored.append(
            score_yardstick(path.stem, opened.predict, yardstick, threshold, context=context)
        )
    return scored


def rounded(value: Any) -> Any:
    """Plain values with floats cut to what a reader needs, and without the calibration's bins."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items() if key != "bins"}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, _DECIMALS) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("yardstick", type=Path)
    parser.add_argument("--model", type=Path, action="append", help="instead of today's")
    parser.add_argument("--report", type=Path, help="also write the page here")
    parser.add_argument("--name", default="strata", help="of the file under results/")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    yardstick = open_yardstick(given.yardstick)
    candidate, threshold = tuned_filter(yardstick)

    def filtered(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return candidate(frame)

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        models = [first_model(Path(folder)), *(given.model or [ROOT / MODEL])]
        scored = [
            score_yardstick(
                "black-hat", filtered, yardstick, threshold, context={"model": str(candidate)}
            ),
            *score_models(models, yardstick, stack),
        ]
        if given.report is not None:
            print(write_strata_report(scored, yardstick, given.report))
    figures = {
        "yardstick": {**yardstick.about, "blur_px": yardstick.blur_px},
        "pictures": len(yardstick.items),
        "filter": dataclasses.asdict(candidate),
        "models": {model.label: rounded(model.document) for model in scored},
    }
    write_result(given.name, figures, "onnxruntime", "numpy", "opencv-python-headless")


if __name__ == "__main__":
    main()
