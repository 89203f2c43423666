"""Compares several models: numbers, curves, and a page with groups of models side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecrack.evaluation import curves, page
from edgecrack.evaluation.image_results import LabelledSample, predict_sample
from edgecrack.evaluation.model_groups import (
    ODS,
    OIS,
    QUANTITIES,
    Group,
    ScoredModel,
    ScoredQuantity,
    Spread,
    group_models,
    summarise,
)
from edgecrack.evaluation.page import Cell, Column, Html
from edgecrack.evaluation.paired import Comparison, compare, image_f1
from edgecrack.evaluation.report_page import COLOURS
from edgecrack.files import make_folder, write_atomic, write_png
from edgecrack.runtime.outputs.output_folder import OutputFolder, file_in


@dataclass(frozen=True, eq=False)
class Pair:
    """The first group and another one.

    Attributes:
        groups: the two groups.
        comparison: the differences of their scores.
        images: (name, mean F1 of the first, mean F1 of the second), by decreasing difference.
        pictures: file name and caption of the overlays where the first is better, and where worse.
    """

    groups: tuple[Group, Group]
    comparison: Comparison
    images: tuple[tuple[str, float, float], ...]
    pictures: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Compared:
    """The content of a comparison.

    Attributes:
        title: one line.
        groups: in the order of the given models.
        summaries: for each group, mean and spread by quantity.
        pairs: the first group with each of the others.
    """

    title: str
    groups: tuple[Group, ...]
    summaries: tuple[Mapping[str, Spread], ...]
    pairs: tuple[Pair, ...]


# What `write_comparison` writes, as patterns.
COMPARISON_FILES = (
    "comparison.json", "comparison.md", "pr_curves.png", "index.html", "pair*_*.png",
)  # fmt: skip
_EXAMPLES = 3


def write_comparison(
    models: Sequence[ScoredModel],
    samples: Sequence[LabelledSample],
    folder: Path | OutputFolder,
    *,
    title: str,
) -> tuple[dict[str, Any], str]:
    """Write `comparison.json`, `comparison.md`, `pr_curves.png`, overlays and `index.html`.

    Args:
        models: at least one, all scored on `samples` in this order.
        samples: the images.
        folder: created if it does not exist; older files of these names in a plain folder are
            replaced.
        title: one line.

    Returns:
        The content of `comparison.json`, and the comparison as text for a terminal.

    Raises:
        DataError: a sample cannot be read.
        MissingDependencyError: matplotlib or scipy is not installed.
        OutputError: a file cannot be written.
    """
    if not isinstance(folder, OutputFolder):
        make_folder(folder)
        for stale in folder.glob("pair*_*.png"):
            stale.unlink()  # from an earlier comparison with more pictures
    groups = group_models(models)
    pairs = tuple(
        _compare_pair(number, groups[0], other, samples, folder)
        for number, other in enumerate(groups[1:], start=1)
    )
    compared = Compared(title, tuple(groups), tuple(map(summarise, groups)), pairs)
    document = comparison_document(compared)
    files: dict[str, str | bytes] = {
        "comparison.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        "comparison.md": comparison_markdown(compared),
        "pr_curves.png": curves.compared_curves_png(
            {group.name: group.evaluations for group in groups}, title
        ),
        "index.html": comparison_page(compared),
    }
    for name, content in files.items():
        write_atomic(file_in(folder, name), content)
    return document, comparison_text(compared)


def comparison_document(compared: Compared) -> dict[str, Any]:
    """The comparison as plain values for JSON; scores from 0 to 1."""
    return {
        "title": compared.title,
        "groups": [
            {
                "name": group.name,
                "description": group.description,
                "models": [
                    {
                        "label": model.label,
                        "report": f"models/{model.label}",
                        "sha256": model.spec.sha256,
                        "context": model.document["context"],
                    }
                    for model in group.models
                ],
                "scores": {key: asdict(spread) for key, spread in summary.items()},
            }
            for group, summary in zip(compared.groups, compared.summaries, strict=True)
        ],
        "pairs": [
            {
                "first": pair.comparison.first,
                "second": pair.comparison.second,
                "sentence": pair.comparison.sentence(),
                "drawn_over": pair.comparison.drawn,
                "differences": [
                    asdict(item) | {"distinguishable": item.distinguishable}
                    for item in pair.comparison.differences
                ],
                "per_image": [
                    {"name": name, "first_f1": first, "second_f1": second}
                    for name, first, second in pair.images
                ],
            }
            for pair in compared.pairs
        ],
    }


def _compare_pair(
    number: int,
    first: Group,
    second: Group,
    samples: Sequence[LabelledSample],
    folder: Path | OutputFolder,
) -> Pair:
    groups = (first, second)
    scores = [np.array([image_f1(found) for found in group.evaluations]) for group in groups]
    means = [values.mean(axis=0) for values in scores]
    difference = means[0] - means[1]
    order = np.argsort(-difference, kind="stable").tolist()
    above = [place for place in order[:_EXAMPLES] if difference[place] > 0]
    below = [place for place in order[::-1][:_EXAMPLES] if difference[place] < 0]
    pictures: dict[str, str] = {}
    for kind, places in (("above", above), ("below", below)):
        for rank, place in enumerate(places, start=1):
            name = f"pair{number}_{kind}_{rank}.png"
            # For each group, the model nearest to the group's mean on this image.
            nearest = [
                int(np.argmin(np.abs(values - values.mean(axis=0))[:, place])) for values in scores
            ]
            shown = [group.models[index] for group, index in zip(groups, nearest, strict=True)]
            _write_pair(file_in(folder, name), samples[place], place, shown)
            pictures[name] = f"{samples[place].name}: mean F1 " + ", ".join(
                f"{group.name} {100 * mean[place]:.1f}"
                for group, mean in zip(groups, means, strict=True)
            )
    images = tuple(
        (samples[place].name, float(means[0][place]), float(means[1][place])) for place in order
    )
    return Pair(groups, compare(first, second), images, pictures)


def _write_pair(
    path: Path, sample: LabelledSample, place: int, models: Sequence[ScoredModel]
) -> None:
    """Draw the models' predictions of one image, each under its name and score."""
    image, truth, _ = predict_sample(models[0].predict, sample)
    predictions = []
    for model in models:
        score = 100 * image_f1(model.evaluation)[place]
        threshold = model.evaluation.operating_threshold
        title = f"{model.label}: F1 {score:.1f} at threshold {threshold:.2f}"
        predictions.append(curves.PredictedImage(model.predict(image), threshold, title))
    write_png(path, curves.overlays(image, truth, predictions, sample.name))


SPREAD_NOTE = (
    "Mean ± standard deviation (n - 1) over a group's models, in percent except thresholds. ODS, "
    "OIS, precision, recall, AP and F1 use the 5x5 square, strict values no tolerance."
)
INTERVAL_NOTE = (
    "Intervals: 95 %, bootstrap percentiles over images, the same for both groups, and over each "
    "group's models. With few models they are too narrow rather than too wide."
)


def spread_text(quantity: ScoredQuantity, spread: Spread) -> str:
    """Mean and deviation, as readers see the quantity."""
    mean = _number(quantity, spread.mean)
    return mean if spread.deviation is None else f"{mean} ± {_number(quantity, spread.deviation)}"


def range_text(quantity: ScoredQuantity, spread: Spread) -> str:
    """The least and the greatest, as readers see the quantity."""
    return f"{_number(quantity, spread.lowest)}..{_number(quantity, spread.highest)}"


def _number(quantity: ScoredQuantity, value: float) -> str:
    return f"{100 * value if quantity.percent else value:.{quantity.digits}f}"


def shown_quantities(compared: Compared, at: str) -> list[ScoredQuantity]:
    """The columns of a table, in order."""
    known = compared.summaries[0]
    return [quantity for quantity in QUANTITIES if quantity.at == at and quantity.key in known]


def comparison_markdown(compared: Compared) -> str:
    """The comparison as a Markdown page."""
    lines = [f"# {compared.title}", ""]
    lines += [f"{pair.comparison.sentence()}\n" for pair in compared.pairs]
    for at, title in (
        ("best", "At the best threshold on these images"),
        ("operating", "At the operating threshold"),
    ):
        shown = shown_quantities(compared, at)
        rows = [["group", "models", *(quantity.title for quantity in shown)]]
        for group, summary in zip(compared.groups, compared.summaries, strict=True):
            cells = [
                f"{spread_text(q, summary[q.key])} ({range_text(q, summary[q.key])})"
                if len(group.models) > 1
                else spread_text(q, summary[q.key])
                for q in shown
            ]
            rows.append([group.name, str(len(group.models)), *cells])
        lines += [f"## {title}", "", *_rows(rows), ""]
    lines += [SPREAD_NOTE, ""]
    for pair in compared.pairs:
        found = pair.comparison
        rows = [["difference, in points", "value", "95 % interval"]]
        rows += [
            [
                item.title,
                f"{100 * item.value:+.2f}",
                "-"
                if item.low is None or item.high is None
                else f"{100 * item.low:+.2f} to {100 * item.high:+.2f}",
            ]
            for item in found.differences
        ]
        lines += [f"## {found.first} less {found.second}", "", *_rows(rows), ""]
        lines += [f"Drawn over {found.drawn}. {INTERVAL_NOTE}", ""]
    models = [["model", "group", "ODS", "protocol", "operating threshold"]]
    for group in compared.groups:
        for model in group.models:
            context = model.document["context"]
            ods = f"{100 * ODS.value(model):.1f}"
            words = (context["protocol"], context["operating threshold"])
            models.append([f"`{model.label}`", group.name, ods, *words])
    lines += ["## Models", "", *_rows(models), "", "Each one's report: `models/MODEL`."]
    return "\n".join(lines) + "\n"


def _rows(rows: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    rule = ["---", *("---:" for _ in rows[0][1:])]
    return [f"| {' | '.join(row)} |" for row in (escaped[0], rule, *escaped[1:])]


def comparison_text(compared: Compared) -> str:
    """The comparison for a terminal."""
    shown = [q for q in QUANTITIES if q.key in ("ods", "ois", "strict_f1", "operating_f1")]
    titles = {"operating_f1": "F1 at threshold"}
    width = max(len("group"), *(len(group.name) for group in compared.groups))
    heads = "".join(f"{titles.get(q.key, q.title):>17}" for q in shown)
    lines = [compared.title, "", f"{'group':{width}}{'models':>8}{heads}"]
    for group, summary in zip(compared.groups, compared.summaries, strict=True):
        cells = "".join(f"{spread_text(q, summary[q.key]):>17}" for q in shown)
        lines.append(f"{group.name:{width}}{len(group.models):8}{cells}")
    lines += ["", "in percent: mean ± standard deviation over a group's models"]
    return "\n".join([*lines, *(pair.comparison.sentence() for pair in compared.pairs)])


def comparison_page(compared: Compared) -> str:
    """The comparison as HTML."""
    first = compared.groups[0].models[0]
    facts = {
        key: value for key, value in first.document["context"].items() if key in ("data", "date")
    }
    protocols = dict.fromkeys(
        model.document["context"]["protocol"] for group in compared.groups for model in group.models
    )
    facts["protocol"] = "; ".join(protocols)
    warning = (
        "The models were not all run with the same protocol, which alone can change the scores."
        if len(protocols) > 1
        else ""
    )
    return page.page(
        compared.title,
        page.facts(facts),
        *(page.paragraph(pair.comparison.sentence(), "lead") for pair in compared.pairs),
        page.paragraph(warning) if warning else None,
        page.heading("At the best threshold on these images"),
        _groups(compared, "best"),
        page.heading("At the operating threshold"),
        _groups(compared, "operating"),
        page.paragraph(f"{SPREAD_NOTE} Below: lowest..highest.", "soft"),
        page.heading("Precision over recall"),
        page.picture(
            "pr_curves.png", "Thin: each model; bold: a group's mean precision at equal recall."
        ),
        *(section for pair in compared.pairs for section in _pair(pair)),
        page.heading("Models"),
        _models(compared),
        page.paragraph("The same numbers: comparison.json, comparison.md.", "soft"),
    )


def _groups(compared: Compared, at: str) -> Html:
    shown = shown_quantities(compared, at)
    columns = [
        Column("group", "text"),
        Column("models"),
        *(Column(quantity.title) for quantity in shown),
    ]
    rows: list[list[Cell]] = []
    for group, summary in zip(compared.groups, compared.summaries, strict=True):
        row: list[Cell] = [group.name, str(len(group.models))]
        for quantity in shown:
            spread = summary[quantity.key]
            text = spread_text(quantity, spread)
            if len(group.models) > 1:
                text = f"{text}<br><small>{range_text(quantity, spread)}</small>"
            row.append(Html(text))
        rows.append(row)
    return page.table(columns, rows)


def _pair(pair: Pair) -> list[Html]:
    found = pair.comparison
    columns = [Column("in points", "text"), Column("difference", "points")]
    columns.append(Column("95 % interval"))
    rows: list[list[Cell]] = [
        [
            item.title,
            item.value,
            None
            if item.low is None or item.high is None
            else f"{100 * item.low:+.2f} to {100 * item.high:+.2f}",
        ]
        for item in found.differences
    ]
    sections = [
        page.heading(f"{found.first} against {found.second}"),
        page.table(
            columns,
            rows,
            caption=f"{found.first} less {found.second}; drawn over {found.drawn}. {INTERVAL_NOTE}",
        ),
    ]
    for kind, side in (("above", "furthest above"), ("below", "furthest below")):
        chosen = {name: text for name, text in pair.pictures.items() if f"_{kind}_" in name}
        if chosen:
            sections.append(page.heading(f"Where {found.first} is {side} {found.second}"))
            sections.append(page.paragraph(COLOURS, "soft"))
            sections += [page.picture(file, text, "wide four") for file, text in chosen.items()]
    return [
        *sections,
        page.heading(f"Every image: {found.first} and {found.second}"),
        _images(pair),
    ]


def _images(pair: Pair) -> Html:
    columns = [
        Column("image", "text"),
        Column(pair.comparison.first, hint="mean F1 of its models"),
        Column(pair.comparison.second, hint="mean F1 of its models"),
        Column("difference", "points"),
    ]
    rows: list[list[Cell]] = [
        [name, first, second, first - second] for name, first, second in pair.images
    ]
    return page.table(
        columns,
        rows,
        sortable=True,
        caption="F1 in percent within the 5x5 square at each model's operating threshold, mean "
        "over a group's models. Click a heading to sort.",
    )


def _models(compared: Compared) -> Html:
    columns = [Column("model", "text"), Column("group", "text"), Column("ODS"), Column("OIS")]
    columns += [Column("operating threshold", "text"), Column("protocol", "text")]
    rows: list[list[Cell]] = []
    for group in compared.groups:
        for model in group.models:
            context = model.document["context"]
            scores = [quantity.value(model) for quantity in (ODS, OIS)]
            report = page.link(f"models/{model.label}/index.html", model.label)
            words = (context["operating threshold"], context["protocol"])
            rows.append([report, group.description, *scores, *words])
    return page.table(columns, rows)
