"""The page of one model's report: scores, curve, best and worst images, every image's scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecrack.evaluation import page
from edgecrack.evaluation.image_results import (
    CHOOSING_TOLERANCE,
    TOLERANCE_NAMES,
    Evaluation,
    ImageResult,
)
from edgecrack.evaluation.page import Cell, Column, Html
from edgecrack.metrics import TOLERANCES, Score, ThresholdCounts, average_precision, iou
from edgecrack.terminal.wording import counted

COLOURS = "Hits are green, false alarms red, misses blue; within the 5x5 square counts as a hit."


def report_page(
    evaluation: Evaluation,
    title: str,
    context: Mapping[str, str],
    pictures: Mapping[str, ImageResult],
    unlabelled: Mapping[str, Any] | None = None,
    widths: Mapping[str, Any] | None = None,
) -> str:
    """One model's report as HTML.

    Args:
        evaluation: the scores.
        title: the page's title.
        context: what the scores depend on.
        pictures: file name of each overlay, `worst_*` and `best_*`, with its image's scores.
        unlabelled: result of `FalsePositives.to_dict`, or None.
        widths: result of `stratum_scores.by_width`, or None.
    """
    return page.page(
        title,
        page.facts({**context, "images": str(len(evaluation.images))}),
        _cards(evaluation),
        page.heading("Scores"),
        _scores(evaluation),
        page.heading("Precision over recall"),
        page.picture(
            "pr_curve.png",
            "Dots mark the best F1 over thresholds, diamonds the F1 at the operating threshold.",
            "plot",
        ),
        *_by_width(widths),
        *_examples("Worst images", "worst", evaluation, pictures),
        *_examples("Best images", "best", evaluation, pictures),
        *_unlabelled(unlabelled),
        page.heading("Every image"),
        _per_image(evaluation),
        page.paragraph("The same numbers: scores.json, scores.md, per_image.csv.", "soft"),
    )


def _cards(evaluation: Evaluation) -> Html:
    threshold = evaluation.operating_threshold
    tolerant = evaluation.score_at(CHOOSING_TOLERANCE, threshold)
    strict = evaluation.counts("strict")
    at = f"at threshold {threshold:.2f}"
    values = (
        ("ODS", evaluation.ods(CHOOSING_TOLERANCE).f1, "best threshold on these images"),
        ("OIS", evaluation.ois(CHOOSING_TOLERANCE), "best threshold of each image"),
        ("F1", tolerant.f1, f"5x5 square, {at}"),
        ("strict F1", evaluation.score_at("strict", threshold).f1, at),
        ("strict IoU", iou(strict, threshold), at),
    )
    return page.cards([(name, f"{100 * value:.1f}", note) for name, value, note in values])


def _scores(evaluation: Evaluation) -> Html:
    columns = [
        Column("tolerance", "text"),
        Column("threshold chosen", "text"),
        Column("threshold", "number"),
        *(Column(name) for name in ("F1", "precision", "recall", "IoU", "OIS")),
        Column("AP", hint="average precision, the area under precision over recall"),
    ]
    rows: list[list[Cell]] = []
    for tolerance in TOLERANCES:
        counts = evaluation.counts(tolerance)
        name = TOLERANCE_NAMES[tolerance]
        whole_set = (evaluation.ois(tolerance), average_precision(counts))
        best = _row(name, "its own best (ODS)", counts, evaluation.ods(tolerance))
        rows.append([*best, *whole_set])
        for choice, chosen in evaluation.threshold_names().items():
            if choice == "test" and tolerance == CHOOSING_TOLERANCE:
                continue  # the same row as its own best
            score = evaluation.score_at(tolerance, evaluation.thresholds()[choice])
            rows.append([*_row(name, chosen, counts, score), None, None])
    return page.table(
        columns,
        rows,
        caption="In percent. A threshold chosen on the scored images is optimistic, since nobody "
        "has it in advance. Scores of different tolerances must not be compared.",
    )


def _row(tolerance: str, chosen: str, counts: ThresholdCounts, score: Score) -> list[Cell]:
    overlap = iou(counts, score.threshold) if counts.tolerance == "strict" else None
    return [tolerance, chosen, score.threshold, score.f1, score.precision, score.recall, overlap]


def _by_width(widths: Mapping[str, Any] | None) -> list[Html]:
    if widths is None:
        return []
    columns = [
        Column("crack width", "text"),
        Column("recall"),
        Column("images", "count"),
        Column("crack pixels", "count"),
    ]
    rows = [
        [row["width"], row["recall"], row["images"], row["pixels"]]
        for row in widths["recall_by_width"]
    ]
    error = widths["calibration"]["expected_calibration_error"]
    found = "no pixel has one" if error is None else f"{100 * error:.1f} %"
    return [
        page.heading("Recall by crack width"),
        page.table(
            columns,
            rows,
            caption="In percent, of crack pixels of that width within 2 px of what is flagged at "
            "the operating threshold. Widths are those of the labels, in which people mark cracks "
            "about a pixel too wide on each side.",
        ),
        page.paragraph(
            f"Expected calibration error: {found}. This is the mean difference of crack share and "
            "predicted probability, for pixels with a probability of 0.01 or more.",
            "soft",
        ),
    ]


def _examples(
    title: str, kind: str, evaluation: Evaluation, pictures: Mapping[str, ImageResult]
) -> list[Html]:
    chosen = {file: image for file, image in pictures.items() if file.startswith(kind)}
    if not chosen:
        return []
    threshold = evaluation.operating_threshold
    shown = []
    for file, image in chosen.items():
        score = image.score_at(CHOOSING_TOLERANCE, threshold)
        caption = (
            f"{image.name}: F1 {100 * score.f1:.1f}, precision {100 * score.precision:.1f}, "
            f"recall {100 * score.recall:.1f}"
        )
        shown.append(page.picture(file, caption))
    return [page.heading(title), page.paragraph(COLOURS, "soft"), *shown]


def _unlabelled(found: Mapping[str, Any] | None) -> list[Html]:
    if found is None:
        return []
    columns = [
        Column("image", "text"),
        Column("flagged", "fine", "share of the pixels, in percent"),
        Column("published", "fine", "without groups of fewer pixels than stream keeps"),
    ]
    rows = [
        [image["name"], image["flagged"], image["flagged_published"]]
        for image in sorted(found["per_image"], key=lambda image: -image["flagged_published"])
    ]
    return [
        page.heading("Images without labels"),
        page.paragraph(f"{unlabelled_sentence(found)}."),
        page.paragraph(
            "If they show no cracks, these are all false alarms. CFD's photos "
            "301 to 329 do show some unlabelled cracks.",
            "soft",
        ),
        page.folded("All images", page.table(columns, rows, sortable=True)),
    ]


def unlabelled_sentence(found: Mapping[str, Any]) -> str:
    """The flagged share of unlabelled images, in words."""
    return (
        f"{100 * found['flagged']:.2f} % of the pixels of {counted(found['images'], 'image')} "
        "flagged at "
        f"threshold {found['threshold']:.2f}, {100 * found['flagged_published']:.2f} % after "
        f"dropping groups below {found['min_area_px']} px as stream does"
    )


def _per_image(evaluation: Evaluation) -> Html:
    columns = [
        Column("image", "text"),
        Column("crack share", hint="share of the pixels that are truly crack"),
        Column("F1", hint="within the 5x5 square, at the operating threshold"),
        Column("best F1", hint="within the 5x5 square, at this image's own best threshold"),
        Column("strict F1", hint="at the operating threshold"),
        Column("best strict F1", hint="at this image's own best threshold"),
        Column("strict IoU", hint="at the operating threshold"),
    ]
    keys = ("crack_ratio", "square_f1", "square_best_f1", "strict_f1", "strict_best_f1")
    rows: list[list[Cell]] = []
    for image in evaluation.images:
        values = image.row(evaluation.operating_threshold)
        rows.append([values[key] for key in ("name", *keys, "strict_iou")])
    return page.table(
        columns,
        rows,
        sortable=True,
        caption=f"In percent, at threshold {evaluation.operating_threshold:.2f}, "
        "unless a column says best. Click a heading to sort.",
    )
