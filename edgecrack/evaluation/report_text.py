"""One model's scores as text for a terminal."""

from __future__ import annotations

from edgecrack.evaluation.image_results import TOLERANCE_NAMES, Evaluation
from edgecrack.evaluation.model_groups import ScoredModel
from edgecrack.metrics import iou
from edgecrack.terminal.wording import counted


def report_text(scored: ScoredModel) -> str:
    """Title, protocol, scores and where the threshold comes from."""
    document = scored.document
    context = document["context"]
    return (
        f"{document['title']}, {counted(len(scored.evaluation.images), 'image')}\n"
        f"protocol: {context['protocol']}\n"
        f"\n{scores_text(scored.evaluation)}\n"
        f"threshold {context['operating threshold']}"
    )


def scores_text(evaluation: Evaluation) -> str:
    """The scores as a table for a terminal of 80 columns; percentages with one decimal."""
    operating = evaluation.operating_threshold
    heading = f"threshold {operating:.2f}"
    lines = [
        f"{'':24}{'best threshold':>21}{heading:>34}",
        f"{'tolerance':24}{'ODS':>8}{'at':>6}{'OIS':>7}{'F1':>8}{'precision':>11}{'recall':>8}"
        f"{'IoU':>7}",
    ]
    for tolerance, name in TOLERANCE_NAMES.items():
        best, used = evaluation.ods(tolerance), evaluation.score_at(tolerance, operating)
        line = (
            f"{name:24}{100 * best.f1:8.1f}{best.threshold:6.2f}"
            f"{100 * evaluation.ois(tolerance):7.1f}{100 * used.f1:8.1f}"
            f"{100 * used.precision:11.1f}{100 * used.recall:8.1f}"
        )
        if tolerance == "strict":
            line += f"{100 * iou(evaluation.counts(tolerance), operating):7.1f}"
        lines.append(line)
    return "\n".join([*lines, "", "in percent; ODS and OIS choose thresholds on these images"])
