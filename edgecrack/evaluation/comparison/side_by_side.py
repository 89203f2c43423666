"""The page that shows groups of models side by side.

Knows a comparison; must not know files beyond the names of the pictures beside the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecrack.evaluation import page
from edgecrack.evaluation.comparison.text import (
    INTERVAL_NOTE,
    SPREAD_NOTE,
    range_text,
    shown_quantities,
    spread_text,
)
from edgecrack.evaluation.model_groups import ODS, OIS
from edgecrack.evaluation.page import Cell, Column, Html
from edgecrack.evaluation.report_page import COLOURS

if TYPE_CHECKING:
    from edgecrack.evaluation.comparison.base import Compared, Pair


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
        "The models were not all run in the same way, which alone can move the scores."
        if len(protocols) > 1
        else ""
    )
    return page.page(
        compared.title,
        page.facts(facts),
        *(page.paragraph(pair.comparison.sentence(), "lead") for pair in compared.pairs),
        page.paragraph(warning) if warning else "",
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


def _groups(compared: Compared, at: str) -> str:
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


def _pair(pair: Pair) -> list[str]:
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


def _images(pair: Pair) -> str:
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
        "over a group's models. A click on a heading sorts.",
    )


def _models(compared: Compared) -> str:
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
