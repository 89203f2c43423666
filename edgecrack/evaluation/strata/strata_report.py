"""The yardstick report: a page, tables as Markdown, numbers as JSON and CSV.

index.html                    everything on one page, without a network
strata.md, strata.json        the tables; every figure
detection_probability.json    of each model, for a report to print; .csv the same as rows
pictures.csv                  a line for each picture
recall.png, detection.png, calibration.png, worst_1.png ..
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecrack.errors import ConfigError
from edgecrack.evaluation import curves, page
from edgecrack.evaluation.curves import require_matplotlib
from edgecrack.evaluation.image_results import predict_sample
from edgecrack.evaluation.report_page import COLOURS
from edgecrack.evaluation.strata import plots
from edgecrack.evaluation.strata.item_result import STRICT, TOLERANT, ItemResult
from edgecrack.evaluation.strata.scoring import ScoredStrata
from edgecrack.evaluation.strata.stratum_scores import StrataScores
from edgecrack.evaluation.strata.tables import Documents, all_tables, markdown_text
from edgecrack.files import make_folder, write_atomic, write_png
from edgecrack.metrics import score_at, threshold_index
from edgecrack.runtime.outputs.output_folder import OutputFolder, file_in
from edgecrack.terminal.table import rows_text
from edgecrack.terminal.wording import counted
from edgecrack.yardstick.manifest import CRACK, Yardstick
from edgecrack.yardstick.strata import CONTRAST_CLASSES, WIDTH_CLASSES

# What `write_strata_report` writes, as patterns.
STRATA_FILES = (
    "index.html", "strata.md", "strata.json", "detection_probability.json",
    "detection_probability.csv", "pictures.csv", "recall.png", "detection.png", "calibration.png",
    "worst_*.png",
)  # fmt: skip
_WORST_PICTURES = 6
_WORST_FALSE_ALARMS = 4


def write_strata_report(
    scored: Sequence[ScoredStrata],
    yardstick: Yardstick,
    folder: Path | OutputFolder,
    json_file: Path | None = None,
) -> str:
    """Write the files listed in the module docstring.

    Args:
        scored: one or more models on the same yardstick; pictures are drawn for the first.
        yardstick: the yardstick.
        folder: created if it does not exist; older files of these names in a plain folder are
            replaced.
        json_file: also write `strata.json` here.

    Returns:
        The first table as text for a terminal.

    Raises:
        ConfigError: there are no models, two have one label, or they were scored on different
            pictures.
        DataError: a picture cannot be read or predicted.
        OutputError: a file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    _check_alike(scored)
    if not isinstance(folder, OutputFolder):
        make_folder(folder)
        for stale in (*folder.glob("worst_*.png"), folder / "detection.png"):
            stale.unlink(missing_ok=True)  # from an earlier report with more pictures
    documents = {model.label: model.document for model in scored}
    title = f"{', '.join(documents)} on the yardstick {yardstick.folder.resolve().name}"
    facts = _facts(scored, yardstick)
    text = json.dumps({"title": title, "context": facts, "models": documents}, indent=2) + "\n"
    write_atomic(file_in(folder, "strata.json"), text)
    if json_file is not None:
        write_atomic(json_file, text)
    write_atomic(file_in(folder, "strata.md"), _markdown(title, facts, documents))
    write_atomic(file_in(folder, "pictures.csv"), _pictures_csv(scored))
    _write_detection(folder, documents)
    _write_plots(folder, documents)
    worst = _write_worst(folder, scored[0])
    write_atomic(file_in(folder, "index.html"), _page(title, facts, documents, worst))
    return _text(documents)


def _check_alike(scored: Sequence[ScoredStrata]) -> None:
    """Tables show models side by side, so they must have the same rows."""
    labels = [model.label for model in scored]
    if not labels or len(set(labels)) < len(labels):
        raise ConfigError(f"the models' labels are {labels}", "give each model its own label")
    pictures = [[result.item.name for result in model.scores.results] for model in scored]
    for label, names in zip(labels, pictures, strict=True):
        if names != pictures[0]:
            raise ConfigError(
                f"{label} was scored on other pictures than {labels[0]}",
                "score all models on the same yardstick",
            )


def _facts(scored: Sequence[ScoredStrata], yardstick: Yardstick) -> dict[str, str]:
    facts = {
        f"model {model.label}" if len(scored) > 1 else "model": model.context.get(
            "model", model.label
        )
        for model in scored
    }
    free = yardstick.crack_free
    facts["pictures"] = f"{len(yardstick.cracked)} with cracks, {len(free)} without"
    facts["photos"] = str(len({item.photo for item in yardstick.items if item.photo}))
    if yardstick.blur_px is not None:
        facts["blur of rendered cracks"] = f"{yardstick.blur_px:g} px"
    for key in ("protocol", "machine", "date"):
        facts |= _shared_fact(key, scored)
    return facts


def _shared_fact(key: str, scored: Sequence[ScoredStrata]) -> dict[str, str]:
    """What the models' contexts say of one thing: once where they agree, else of each."""
    values = {model.label: model.context[key] for model in scored if key in model.context}
    if len(set(values.values())) <= 1:
        return dict.fromkeys([key] if values else [], next(iter(values.values()), ""))
    return {f"{key} {label}": value for label, value in values.items()}


def _markdown(title: str, facts: Mapping[str, str], documents: Documents) -> str:
    listed = (f"- {markdown_text(key)}: {markdown_text(value)}" for key, value in facts.items())
    lines = [f"# {markdown_text(title)}", "", *listed, ""]
    return "\n".join([*lines, *(table.markdown() for table in all_tables(documents))])


def _text(documents: Documents) -> str:
    """What a terminal of 80 columns shows: mean and worst."""
    heads = ("model", "threshold", "F1", "best", "strict F1", "best", "worst stratum", "its F1")
    rows = [_text_row(label, document) for label, document in documents.items()]
    return "\n".join(
        [
            "means over the strata, percent; F1 within the 5x5 square, at the shipped threshold",
            "and at the one best for these pictures",
            "",
            rows_text(heads, rows),
        ]
    )


def _text_row(label: str, document: Mapping[str, Any]) -> list[str]:
    row = [label, f"{document['threshold']:.2f}"]
    for kind in (TOLERANT, STRICT):
        mean = document["mean"][kind]
        row += [f"{100 * mean[at]['f1']:.1f}" for at in ("shipped", "best")]
    worst = document["worst"][TOLERANT]
    return [*row, worst["stratum"], f"{100 * worst['f1']:.1f}"]


def _write_detection(folder: Path | OutputFolder, documents: Documents) -> None:
    found = {label: document["detection"] for label, document in documents.items()}
    text = json.dumps({"schema_version": 1, "models": found}, indent=2) + "\n"
    write_atomic(file_in(folder, "detection_probability.json"), text)
    heads = ("width_mm_from", "width_mm_to", "cracks", "photos", "found", "probability", "lower_95")
    rows = [
        [label, *row["width_mm"], *(row[name] for name in heads[2:])]
        for label, document in found.items()
        for row in document["widths"]
    ]
    write_atomic(file_in(folder, "detection_probability.csv"), _csv(("model", *heads), rows))


def _write_plots(folder: Path | OutputFolder, documents: Documents) -> None:
    recalls = {label: document["recall_by_width"] for label, document in documents.items()}
    write_atomic(file_in(folder, "recall.png"), plots.recall_png(recalls))
    found = {label: document["detection"] for label, document in documents.items()}
    if any(document["widths"] for document in found.values()):
        write_atomic(file_in(folder, "detection.png"), plots.detection_png(found))
    calibrations = {label: document["calibration"] for label, document in documents.items()}
    write_atomic(file_in(folder, "calibration.png"), plots.calibration_png(calibrations))


def _write_worst(folder: Path | OutputFolder, model: ScoredStrata) -> dict[str, str]:
    """Overlays of the worst pictures; captions by file name."""
    captions = {}
    for number, result in enumerate(_worst_results(model.scores), start=1):
        item, name = result.item, f"worst_{number}.png"
        image, truth, probability = predict_sample(model.predict, item)
        caption = f"{item.name}: {item.origin}, {item.surface}, {_what(result)}"
        drawn = curves.overlay(image, truth, probability, model.scores.threshold, caption)
        write_png(file_in(folder, name), drawn)
        captions[name] = caption
    return captions


def _worst_results(scores: StrataScores) -> list[ItemResult]:
    """The worst picture of each of the worst strata, then those with most false alarms."""
    strata = sorted(
        (item for item in scores.averaged if item.by == "width" or item.real),
        key=lambda item: item.at(TOLERANT, scores.threshold).f1,
    )
    chosen: list[ItemResult] = []
    for stratum in strata:
        ranked = sorted(
            (item for item in stratum.results if item not in chosen),
            key=lambda item: score_at(item.counts[TOLERANT], scores.threshold).f1,
        )
        chosen += ranked[: int(len(chosen) < _WORST_PICTURES)]
    free = [item for item in scores.results if item.item.kind != CRACK and item.published_px]
    free.sort(key=lambda item: -item.published_px / item.pixels)
    return chosen + free[:_WORST_FALSE_ALARMS]


def _what(result: ItemResult) -> str:
    if result.width_class is None:
        return f"no crack but {result.item.kind}"
    contrast = (
        "" if result.contrast_class is None else f", {CONTRAST_CLASSES[result.contrast_class]}"
    )
    return f"{WIDTH_CLASSES[result.width_class]}{contrast}"


def _page(
    title: str, facts: Mapping[str, str], documents: Documents, worst: Mapping[str, str]
) -> str:
    sections = [page.facts(facts)]
    if len(documents) == 1:
        sections.append(_cards(next(iter(documents.values()))))
    pictures = {
        "Recall by crack width": ("recall.png", "Recall within 2 px over crack width."),
        "Detection probability": ("detection.png", "Cracks found over their width, and the bound."),
        "Expected calibration": ("calibration.png", "On the line, a probability is right."),
    }
    for table in all_tables(documents):
        sections.append(page.heading(table.heading))
        for start, (file, caption) in pictures.items():
            if table.heading.startswith(start):
                sections.append(page.picture(file, caption, "plot"))
        sections.append(page.table(table.columns, table.rows, caption=table.note))
    if worst:
        sections.append(page.heading("The worst pictures of the worst strata, and false alarms"))
        sections.append(page.paragraph(f"Of {next(iter(documents))}. {COLOURS}", "soft"))
        sections += [page.picture(file, caption) for file, caption in worst.items()]
    return page.page(title, *sections)


def _cards(document: Mapping[str, Any]) -> page.Html:
    """What matters most of one model, in a few large numbers."""
    mean, worst = document["mean"], document["worst"][TOLERANT]
    values = [
        ("mean F1", _percent(mean[TOLERANT]["shipped"]["f1"]), "over the strata, 5x5 square"),
        ("worst F1", _percent(worst["f1"]), worst["stratum"]),
        ("strict mean F1", _percent(mean[STRICT]["shipped"]["f1"]), "over the strata"),
    ]
    found = document["detection"]
    if found["widths"]:
        width_mm = found["smallest_width_mm_with_bound_above_target"]
        shown = "no width" if width_mm is None else f"{width_mm:.3g} mm"
        note = f"on, {100 * found['target']:.0f} % of cracks are found, with 95 % confidence"
        values.append(("from", shown, note))
    alarms = [row for row in document["false_alarms"] if not row["surface"]]
    if alarms:
        images = sum(row["images"] for row in alarms)
        share = sum(row["images"] * row["images_flagged"] for row in alarms) / images
        note = f"of {counted(images, 'crack-free picture')}"
        values.append(("false alarms", f"{_percent(share)} %", note))
    return page.cards(values)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _pictures_csv(scored: Sequence[ScoredStrata]) -> str:
    heads = ["model", "name", "kind", "origin", "surface", "photo", "width", "contrast"]
    heads += ["tolerant_f1", "strict_f1", "flagged_share", "published_share"]
    rows = [
        [model.label, *_picture_row(result, model.scores.threshold)]
        for model in scored
        for result in model.scores.results
    ]
    return _csv(heads, rows)


def _picture_row(result: ItemResult, threshold: float) -> list[Any]:
    item = result.item
    classes = [
        "" if index is None else names[index]
        for index, names in (
            (result.width_class, WIDTH_CLASSES),
            (result.contrast_class, CONTRAST_CLASSES),
        )
    ]
    # F1 says nothing where there is no crack to find.
    f1 = [
        score_at(result.counts[kind], threshold).f1 if item.kind == CRACK else ""
        for kind in (TOLERANT, STRICT)
    ]
    flagged = int(result.counts[STRICT].predicted[threshold_index(threshold)]) / result.pixels
    published = result.published_px / result.pixels
    head = [item.name, item.kind, item.origin, item.surface, item.photo]
    return [*head, *classes, *f1, flagged, published]


def _csv(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(
        [f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in rows
    )
    return text.getvalue()
