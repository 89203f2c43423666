"""Writes an evaluation report: text, a page and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecrack.errors import ConfigError
from edgecrack.evaluation import curves
from edgecrack.evaluation.image_results import (
    CHOOSING_TOLERANCE,
    TOLERANCE_NAMES,
    Evaluation,
    ImageResult,
    LabelledSample,
    Predict,
    predict_sample,
)
from edgecrack.evaluation.model_groups import ScoredModel
from edgecrack.evaluation.report_page import report_page
from edgecrack.files import make_folder, write_atomic, write_png
from edgecrack.metrics import TOLERANCES, Score, average_precision, iou
from edgecrack.runtime.outputs.output_folder import OutputFolder, file_in
from edgecrack.terminal.wording import counted


def report_text(scored: ScoredModel) -> str:
    """Title, protocol, scores and source of the threshold."""
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


# What `write_report` writes, as patterns.
REPORT_FILES = (
    "scores.json", "scores.md", "per_image.csv", "pr_curve.png", "index.html", "worst_*.png",
    "best_*.png",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        text: the scores, for a terminal.
        folder: its folder, with `index.html`.
        note: a sentence for the user if that is not the requested folder; else empty.
    """

    text: str
    folder: Path
    note: str = ""


def write_report(
    evaluation: Evaluation,
    folder: Path | OutputFolder,
    predict: Predict,
    samples: Sequence[LabelledSample],
    *,
    title: str,
    context: Mapping[str, str],
    examples: int = 4,
    unlabelled: Mapping[str, Any] | None = None,
    widths: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write scores, a table per image, the precision-recall curve and example overlays.

    `scores.json`, `scores.md`, `per_image.csv`, `pr_curve.png`, `worst_1.png` .. and
    `best_1.png` .. (by tolerant F1 at the operating threshold), and `index.html`, a page
    of all of these. The examples are predicted again, so that an evaluation does not have to keep
    every probability map.

    Args:
        evaluation: what `evaluate` returned for these samples.
        folder: created if it does not exist; older files of these names in a plain folder are
            replaced.
        predict: the predictor that was evaluated.
        samples: the samples that were evaluated, in the same order.
        title: one line, e.g. the model's and the dataset's name.
        context: what the scores depend on, e.g. model file, data split, machine, date.
        examples: number of best and of worst images to draw; fewer if the set is too small for
            both.
        unlabelled: `FalsePositives.to_dict` for images without labels, or None.
        widths: result of `stratum_scores.by_width` for the samples, or None.

    Returns:
        The files written, `index.html` last.

    Raises:
        ConfigError: the samples are not those of the evaluation.
        DataError: a sample cannot be read or predicted.
        MissingDependencyError: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    curves.require_matplotlib()
    if [sample.name for sample in samples] != [image.name for image in evaluation.images]:
        raise ConfigError(
            "the samples are not those that were evaluated", "pass the samples given to evaluate"
        )
    sample_of = dict(zip(evaluation.images, samples, strict=True))
    if not isinstance(folder, OutputFolder):
        make_folder(folder)
        for stale in (*folder.glob("worst_*.png"), *folder.glob("best_*.png")):
            stale.unlink()  # from an earlier report with more pictures
    document = report_document(evaluation, title, context, unlabelled, widths)
    texts = {
        "scores.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        "scores.md": scores_markdown(evaluation, title, context),
        "per_image.csv": _per_image_csv(evaluation),
    }
    written = []
    for name, text in texts.items():
        written.append(file_in(folder, name))
        write_atomic(written[-1], text)
    written.append(file_in(folder, "pr_curve.png"))
    write_atomic(written[-1], curves.precision_recall_png(evaluation, title))
    chosen = _examples(evaluation, examples)
    for name, image in chosen.items():
        path = file_in(folder, f"{name}.png")
        _write_overlay(path, name, image, sample_of[image], predict, evaluation)
        written.append(path)
    pictures = {f"{name}.png": image for name, image in chosen.items()}
    page = file_in(folder, "index.html")
    write_atomic(page, report_page(evaluation, title, context, pictures, unlabelled, widths))
    return [*written, page]


def report_document(
    evaluation: Evaluation,
    title: str,
    context: Mapping[str, str],
    unlabelled: Mapping[str, Any] | None = None,
    widths: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything of a report as plain values for JSON; the arguments are `write_report`'s."""
    document = {"title": title, "context": dict(context), **evaluation.to_dict()}
    document |= {} if unlabelled is None else {"unlabelled": dict(unlabelled)}
    return document | dict(widths or {})


def scores_markdown(evaluation: Evaluation, title: str, context: Mapping[str, str]) -> str:
    """The scores as a Markdown page; percentages with one decimal."""
    lines = [f"# {title}", ""]
    lines += [f"- {key}: {value}" for key, value in context.items()]
    lines += [f"- images: {len(evaluation.images)}", ""]
    lines += [
        "| tolerance | threshold chosen | threshold | F1 | precision | recall |",
        "|---|---|---:|---:|---:|---:|",
    ]
    names = evaluation.threshold_names()
    for tolerance in TOLERANCES:
        name = TOLERANCE_NAMES[tolerance]
        lines.append(_table_row(name, "its own best (ODS)", evaluation.ods(tolerance)))
        for choice, threshold in evaluation.thresholds().items():
            if choice == "test" and tolerance == CHOOSING_TOLERANCE:
                continue  # the same row as its own best
            score = evaluation.score_at(tolerance, threshold)
            lines.append(_table_row(name, names[choice], score))
    lines += ["", "| tolerance | OIS | average precision |", "|---|---:|---:|"]
    lines += [
        f"| {TOLERANCE_NAMES[tolerance]} | {100 * evaluation.ois(tolerance):.1f}"
        f" | {100 * average_precision(evaluation.counts(tolerance)):.1f} |"
        for tolerance in TOLERANCES
    ]
    strict = evaluation.counts("strict")
    lines += ["", "| strict IoU at | threshold | IoU |", "|---|---:|---:|"]
    lines.append(f"| its own best | | {100 * iou(strict):.1f} |")
    lines += [
        f"| {names[choice]} | {threshold:.2f} | {100 * iou(strict, threshold):.1f} |"
        for choice, threshold in evaluation.thresholds().items()
    ]
    lines += [
        "",
        "All values in percent. ODS is the best F1 over thresholds of the pooled set, OIS the mean"
        " of each image's best F1. A threshold chosen on the scored images is optimistic;"
        " rows marked `test` use the one with the best F1 under the square tolerance. A threshold"
        " chosen on validation has the best strict F1 there, as in training.",
    ]
    return "\n".join(lines) + "\n"


def _table_row(tolerance: str, choice: str, score: Score) -> str:
    values = (score.f1, score.precision, score.recall)
    percents = " | ".join(f"{100 * value:.1f}" for value in values)
    return f"| {tolerance} | {choice} | {score.threshold:.2f} | {percents} |"


def _per_image_csv(evaluation: Evaluation) -> str:
    rows = [image.row(evaluation.operating_threshold) for image in evaluation.images]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return text.getvalue()


def _cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _examples(evaluation: Evaluation, wanted: int) -> dict[str, ImageResult]:
    """The images to draw, by file stem; no image is both among the worst and the best."""
    threshold = evaluation.operating_threshold
    ranked = sorted(
        evaluation.images, key=lambda image: image.score_at(CHOOSING_TOLERANCE, threshold).f1
    )
    worst = ranked[: min(wanted, (len(ranked) + 1) // 2)]
    best = ranked[::-1][: min(wanted, len(ranked) - len(worst))]
    named = {f"worst_{number}": image for number, image in enumerate(worst, start=1)}
    return named | {f"best_{number}": image for number, image in enumerate(best, start=1)}


def _write_overlay(
    path: Path,
    rank: str,
    result: ImageResult,
    sample: LabelledSample,
    predict: Predict,
    evaluation: Evaluation,
) -> None:
    image, truth, probability = predict_sample(predict, sample)
    threshold = evaluation.operating_threshold
    score = result.score_at(CHOOSING_TOLERANCE, threshold)
    caption = (
        f"{rank.replace('_', ' ')}: {result.name}   F1 {score.f1:.3f}   precision"
        f" {score.precision:.3f}   recall {score.recall:.3f}   at threshold {threshold:.2f}, 5x5"
        " tolerance"
    )
    write_png(path, curves.overlay(image, truth, probability, threshold, caption))
