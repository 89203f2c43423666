"""Groups of models side by side, as a text and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecrack.evaluation import page
from edgecrack.evaluation.model_groups import ODS, OIS, QUANTITIES, ScoredQuantity, Spread
from edgecrack.evaluation.page import Cell, Column, Html
from edgecrack.evaluation.report_page import COLOURS

if TYPE_CHECKING:
    from edgecrack.evaluation.comparison.comparing import Compared, Pair

SPREAD_NOTE = (
    "Mean ± standard deviation (n - 1) over a group's models, in percent except thresholds. ODS, "
    "OIS, precision, recall, AP and F1 are within the 5x5 square, strict values without tolerance."
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
