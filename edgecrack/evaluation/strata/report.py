"""The report of a yardstick: one page to read, its tables as Markdown, its figures as JSON and CSV.

    index.html                    everything on one page, without a network
    strata.md, strata.json        the tables; every figure
    detection_probability.json    of each model, for a report to print; .csv the same as rows
    pictures.csv                  a line for each picture
    recall.png, detection.png, calibration.png, worst_1.png ..

Knows scores; must not know models or how pictures were made.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecrack.evaluation import figures, page
from edgecrack.evaluation.curves import require_matplotlib
from edgecrack.evaluation.evaluate import predict_sample
from edgecrack.evaluation.report_page import COLOURS
from edgecrack.evaluation.strata import plots
from edgecrack.evaluation.strata.item_result import STRICT, TOLERANT, ItemResult
from edgecrack.evaluation.strata.scores import StrataScores
from edgecrack.evaluation.strata.scoring import ScoredStrata
from edgecrack.evaluation.strata.tables import Documents, all_tables, mean_and_worst
from edgecrack.files import make_folder, write_atomic, write_png
from edgecrack.metrics import score_at, threshold_index
from edgecrack.table import rows_text
from edgecrack.yardstick.manifest import CRACK, Yardstick
from edgecrack.yardstick.strata import CONTRAST_CLASSES, WIDTH_CLASSES

_WORST_PICTURES = 6
_WORST_FALSE_ALARMS = 4


def write_strata_report(
    scored: Sequence[ScoredStrata],
    yardstick: Yardstick,
    folder: Path,
    json_file: Path | None = None,
) -> str:
    """Write the files that the module's head lists.

    Args:
        scored: one or more models on the same yardstick; pictures are drawn of the first.
        yardstick: what they were scored on.
        folder: made if it does not exist.
        json_file: `strata.json` goes here, too.

    Returns:
        The first table as text for a terminal.

    Raises:
        DataError: a picture cannot be read or predicted.
        OutputError: a file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    make_folder(folder)
    documents = {model.label: model.document for model in scored}
    title = f"{', '.join(documents)} on the yardstick {yardstick.folder.resolve().name}"
    facts = _facts(scored, yardstick)
    text = json.dumps({"title": title, "context": facts, "models": documents}, indent=2) + "\n"
    write_atomic(folder / "strata.json", text)
    if json_file is not None:
        write_atomic(json_file, text)
    write_atomic(folder / "strata.md", _markdown(title, facts, documents))
    write_atomic(folder / "pictures.csv", _pictures_csv(scored))
    _write_detection(folder, documents)
    _write_plots(folder, documents)
    worst = _write_worst(folder, scored[0])
    write_atomic(folder / "index.html", _page(title, facts, documents, worst))
    return _text(documents)


def _facts(scored: Sequence[ScoredStrata], yardstick: Yardstick) -> dict[str, str]:
    facts = {
        f"model {model.label}" if len(scored) > 1 else "model": model.context.get(
            "model", model.label
        )
        for model in scored
    }
    first = scored[0]
    free = yardstick.crack_free
    facts["pictures"] = f"{len(yardstick.cracked)} with cracks, {len(free)} without"
    facts["photos"] = str(len({item.photo for item in yardstick.items if item.photo}))
    if yardstick.blur_px is not None:
        facts["blur of rendered cracks"] = f"{yardstick.blur_px:g} px"
    kept = ("protocol", "machine", "date")
    return facts | {key: first.context[key] for key in kept if key in first.context}


def _markdown(title: str, facts: Mapping[str, str], documents: Documents) -> str:
    lines = [f"# {title}", "", *(f"- {key}: {value}" for key, value in facts.items()), ""]
    return "\n".join([*lines, *(table.markdown() for table in all_tables(documents))])


def _text(documents: Documents) -> str:
    """What a terminal of 80 columns shows: mean and worst."""
    heads = ("model", "threshold", "F1", "best", "strict F1", "best", "worst stratum", "its F1")
    table = mean_and_worst(documents)
    rows = []
    for row in table.rows:
        cells = table.texts(row)
        rows.append([cells[place] for place in (0, 1, 2, 5, 9, 10, 7, 8)])
    return "\n".join(
        [
            "means over the strata, percent; F1 within the 5x5 square, at the shipped threshold",
            "and at the one best for these pictures",
            "",
            rows_text(heads, rows),
        ]
    )


def _write_detection(folder: Path, documents: Documents) -> None:
    found = {label: document["detection"] for label, document in documents.items()}
    text = json.dumps({"schema_version": 1, "models": found}, indent=2) + "\n"
    write_atomic(folder / "detection_probability.json", text)
    heads = ("width_mm_from", "width_mm_to", "cracks", "photos", "found", "probability", "lower_95")
    rows = [
        [label, *row["width_mm"], *(row[name] for name in heads[2:])]
        for label, document in found.items()
        for row in document["widths"]
    ]
    write_atomic(folder / "detection_probability.csv", _csv(("model", *heads), rows))


def _write_plots(folder: Path, documents: Documents) -> None:
    recalls = {label: document["recall_by_width"] for label, document in documents.items()}
    write_atomic(folder / "recall.png", plots.recall_png(recalls))
    found = {label: document["detection"] for label, document in documents.items()}
    if any(document["widths"] for document in found.values()):
        write_atomic(folder / "detection.png", plots.detection_png(found))
    calibrations = {label: document["calibration"] for label, document in documents.items()}
    write_atomic(folder / "calibration.png", plots.calibration_png(calibrations))


def _write_worst(folder: Path, model: ScoredStrata) -> dict[str, str]:
    """Overlays of the worst pictures; captions by file name."""
    for stale in folder.glob("worst_*.png"):
        stale.unlink()  # of an earlier report that drew more
    captions = {}
    for number, result in enumerate(_worst_results(model.scores), start=1):
        item, name = result.item, f"worst_{number}.png"
        image, truth, probability = predict_sample(model.predict, item)
        caption = f"{item.name}: {item.origin}, {item.surface}, {_what(result)}"
        drawn = figures.overlay(image, truth, probability, model.scores.threshold, caption)
        write_png(folder / name, drawn)
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
