"""A comparison of models as Markdown and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecrack.evaluation.model_groups import ODS, QUANTITIES, ScoredQuantity, Spread

if TYPE_CHECKING:
    from edgecrack.evaluation.comparison.base import Compared

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
