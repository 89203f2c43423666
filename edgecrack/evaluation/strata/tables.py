"""Scores by stratum as rows that a page, a Markdown file and a terminal share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecrack.evaluation.page import Cell, Column
from edgecrack.evaluation.strata.item_result import STRICT, TOLERANT
from edgecrack.evaluation.strata.stratum_scores import FEWEST_IMAGES, KINDS
from edgecrack.metrics import Tolerance
from edgecrack.terminal.wording import counted
from edgecrack.yardstick.strata import WIDTH_CLASSES

NAMES: Mapping[Tolerance, str] = {TOLERANT: "within the 5x5 square", STRICT: "strict"}
Documents = Mapping[str, Mapping[str, Any]]
"""By model label: the scores from `StrataScores.to_dict`, and "detection"."""


@dataclass(frozen=True)
class Table:
    """Columns and rows under a heading.

    Attributes:
        heading: title of the table.
        columns: as for `page.table`.
        rows: one cell per column.
        note: explanation for readers.
    """

    heading: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def markdown(self) -> str:
        """The table in Markdown, under a heading of the second level."""
        numeric = [column.kind != "text" for column in self.columns]
        lines = [
            f"## {self.heading}",
            "",
            "| " + " | ".join(markdown_text(column.title) for column in self.columns) + " |",
            "|" + "|".join("---:" if item else "---" for item in numeric) + "|",
        ]
        for row in self.rows:
            lines.append("| " + " | ".join(map(markdown_text, self.texts(row))) + " |")
        return "\n".join([*lines, "", markdown_text(self.note), ""] if self.note else [*lines, ""])

    def texts(self, row: Sequence[Cell]) -> list[str]:
        """A row's cells as they are shown."""
        return [column.shown(cell) for column, cell in zip(self.columns, row, strict=True)]


def markdown_text(text: str) -> str:
    """Text escaped for Markdown, also within a table, on one line."""
    for sign, shown in (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), ("|", "\\|")):
        text = text.replace(sign, shown)
    return " ".join(text.split())


def all_tables(documents: Documents) -> list[Table]:
    """Every table of a report, the most important first."""
    tables = [
        mean_and_worst(documents),
        strata(documents, TOLERANT),
        recall_by_width(documents),
        detection(documents),
        false_alarms(documents),
        calibration(documents),
        strata(documents, STRICT),
    ]
    return [table for table in tables if table.rows]


def mean_and_worst(documents: Documents) -> Table:
    """Two rows for each model: within the tolerance, and strictly."""
    columns = [
        Column("model", "text"),
        Column("measure", "text"),
        Column("threshold", "number", "the one that the model is shipped with"),
        Column("F1"),
        Column("precision"),
        Column("recall"),
        Column("best F1", hint="at the one threshold that is best for this mean"),
        Column("at", "number", "the threshold of the best F1"),
        Column("worst stratum", "text"),
        Column("its F1"),
    ]
    rows = [
        _mean_row(label, document, kind)
        for label, document in documents.items()
        for kind in (TOLERANT, STRICT)
    ]
    return Table(
        "Mean and worst over the strata",
        columns,
        rows,
        f"In percent. {_weights(next(iter(documents.values()))['strata'])} "
        "Precision, recall and F1 are means of their own over strata; where a stratum has nothing "
        "flagged, its precision counts as 100. The best threshold is chosen on these pictures: no "
        "user has it in advance.",
    )


def _weights(strata: Sequence[Mapping[str, Any]]) -> str:
    """What the mean is made of, in words."""
    sizes = [
        sum(row["in_mean"] for row in strata if row["kind"] == kind) for kind in KINDS.values()
    ]
    if all(sizes):
        return (
            f"Half of the mean are {counted(sizes[0], 'stratum', 'strata')} of photos, half "
            f"{sizes[1]} of rendered and generated pictures."
        )
    missing, other = ("photos", "made") if sizes[1] else ("made pictures", "real")
    return (
        f"The mean is over {counted(sum(sizes), f'{other} stratum', f'{other} strata')}: no "
        f"stratum of {missing} has {FEWEST_IMAGES} pictures."
    )


def _mean_row(label: str, document: Mapping[str, Any], kind: Tolerance) -> list[Cell]:
    shipped, best = document["mean"][kind]["shipped"], document["mean"][kind]["best"]
    worst = document["worst"][kind]
    scores = [shipped["f1"], shipped["precision"], shipped["recall"]]
    scores += [best["f1"], best["threshold"]]
    where = f"{worst['stratum']} ({counted(worst['images'], 'picture')})"
    return [label, NAMES[kind], document["threshold"], *scores, where, worst["f1"]]


def strata(documents: Documents, kind: Tolerance) -> Table:
    """A row for each stratum that has pictures; several models side by side."""
    first = next(iter(documents.values()))
    single = len(documents) == 1
    columns = [Column("cracks", "text"), Column("stratum", "text"), Column("pictures", "count")]
    columns.append(Column("photos", "count"))
    for label in documents:
        prefix = "" if single else f"{label}: "
        columns.append(Column(f"{prefix}F1" if single else label, hint="at its own threshold"))
        if single:
            columns += [Column("precision"), Column("recall")]
        columns.append(Column(f"{prefix}best", hint="at this stratum's own best threshold"))
        if single:
            columns.append(Column("at threshold", "number"))
    rows = []
    for number, stratum in enumerate(first["strata"]):
        if stratum["images"]:
            row = _stratum_head(stratum)
            for document in documents.values():
                row += _stratum_cells(document["strata"][number][kind], single)
            rows.append(row)
    note = "In percent; at the shipped threshold, and at the stratum's own best one. Real are the "
    note += "cracks of photos, made those that were rendered or generated. Each picture counts in "
    note += "the strata of its width, surface and contrast. "
    if not all(stratum["in_mean"] for stratum in first["strata"] if stratum["images"]):
        note += f"* has fewer than {FEWEST_IMAGES} pictures and counts for neither mean nor worst. "
    return Table(f"By stratum: F1 {NAMES[kind]}", columns, rows, note + _without(first["strata"]))


def _without(strata: Sequence[Mapping[str, Any]]) -> str:
    """Which strata have no pictures, in words."""
    parts = []
    for kind in KINDS.values():
        own = [row for row in strata if row["kind"] == kind]
        empty = [_shown(row["value"]) for row in own if not row["images"]]
        if empty:
            parts.append(
                f"all that are {kind}" if len(empty) == len(own) else f"{kind}: {', '.join(empty)}"
            )
    return f"Strata without any picture: {'; '.join(parts)}." if parts else ""


def _shown(value: str) -> str:
    """A stratum's name beside others, e.g. of the surface "vehicle"."""
    return "vehicle's view" if value == "vehicle" else value


def _stratum_head(stratum: Mapping[str, Any]) -> list[Cell]:
    mark = "" if stratum["in_mean"] else " *"
    return [
        stratum["kind"],
        f"{_shown(stratum['value'])}{mark}",
        stratum["images"],
        stratum["photos"],
    ]


def _stratum_cells(scores: Mapping[str, Any], single: bool) -> list[Cell]:
    shipped, best = scores["shipped"], scores["best"]
    if not single:
        return [shipped["f1"], best["f1"]]
    return [
        shipped["f1"],
        shipped["precision"],
        shipped["recall"],
        best["f1"],
        best["threshold"],
    ]


def recall_by_width(documents: Documents) -> Table:
    """A row for each width class that pictures show; photos and made pictures apart."""
    columns = [Column("crack width", "text"), *_model_column(documents)]
    columns += [Column("real pictures", "count"), Column("recall, real")]
    columns += [Column("made pictures", "count"), Column("recall, made")]
    rows: list[list[Cell]] = []
    for number, width in enumerate(WIDTH_CLASSES):
        for label, document in documents.items():
            real, made = (document["recall_by_width"][kind][number] for kind in KINDS.values())
            if real["images"] or made["images"]:
                row: list[Cell] = [width, *_model_cell(label, documents)]
                rows.append([*row, real["images"], real["recall"], made["images"], made["recall"]])
    return Table(
        "Recall by crack width",
        columns,
        rows,
        "Share in percent of the crack pixels of that width within the 5x5 square around what is "
        "flagged at the shipped threshold; a pixel's width is that of the widest disc in the crack "
        "over it, so a picture counts for each width that it shows.",
    )


def _model_column(documents: Documents) -> list[Column]:
    """A column for the model's label, where there are several."""
    return [Column("model", "text")] if len(documents) > 1 else []


def _model_cell(label: str, documents: Documents) -> list[Cell]:
    return [label] if len(documents) > 1 else []


def detection(documents: Documents) -> Table:
    """A row for each class of width in mm."""
    first = next(iter(documents.values()))["detection"]
    columns = [Column("width, mm", "text"), *_model_column(documents)]
    columns += [Column("cracks", "count"), Column("photos", "count")]
    columns += [Column("found"), Column("at least", hint="lower 95 % bound")]
    unlisted = first["cracks_of_other_widths"]
    rows: list[list[Cell]] = []
    for number, entry in enumerate(first["widths"]):
        low, high = entry["width_mm"]
        for label, document in documents.items():
            own = document["detection"]["widths"][number]
            row: list[Cell] = [f"{low:.3g} to {high:.3g}", *_model_cell(label, documents)]
            rows.append([*row, *(own[key] for key in ("cracks", "photos")), *_shares(own)])
    blur = "" if first["blur_px"] is None else f" and a blur of {first['blur_px']:g} px"
    return Table(
        f"Detection probability at {first['mm_per_px']:g} mm/px{blur}",
        columns,
        rows,
        "In percent, of cracks of known width. A crack is found when something is flagged within "
        "half its width, or in the 5x5 square, of at least half of its centre line. A model that "
        "flags everything finds everything, so compare with the false alarms. Found is the mean "
        "over photos, at least its one-sided 95 % lower bound, with one trial per photo. "
        + " ".join(_from_width(label, document) for label, document in documents.items())
        + (f" {unlisted} cracks are narrower or wider than these." if unlisted else ""),
    )


def _shares(row: Mapping[str, Any]) -> list[Cell]:
    return [row["probability"], row["lower_95"]]


def _from_width(label: str, document: Mapping[str, Any]) -> str:
    """From which width on a model's bound reaches the target, in words."""
    found = document["detection"]
    width_mm = found["smallest_width_mm_with_bound_above_target"]
    reached = "for no width" if width_mm is None else f"from {width_mm:.3g} mm on"
    return f"{label}: the bound reaches {100 * found['target']:.0f} % {reached}."


def false_alarms(documents: Documents) -> Table:
    """A row for each kind, over all surfaces."""
    columns = [Column("what is shown", "text"), *_model_column(documents)]
    columns += [
        Column("pictures", "count"),
        Column("flagged", "fine"),
        Column("published", "fine", "without groups that stream drops"),
        Column("pictures with any"),
    ]
    first = next(iter(documents.values()))["false_alarms"]
    rows: list[list[Cell]] = []
    for number, entry in enumerate(first):
        for label, document in documents.items() if not entry["surface"] else ():
            own = document["false_alarms"][number]
            row: list[Cell] = [own["kind"], *_model_cell(label, documents), own["images"]]
            rows.append([*row, own["flagged"], own["published"], own["images_flagged"]])
    return Table(
        "False alarms, on pictures without any crack",
        columns,
        rows,
        "Share of the pixels in percent at the shipped threshold; published: without groups that "
        "stream drops; and the share of the pictures on which anything is published.",
    )


def calibration(documents: Documents) -> Table:
    """The expected calibration error of each model."""
    columns = [Column("model", "text"), Column("all"), Column("real"), Column("made")]
    rows: list[list[Cell]] = [
        [
            label,
            *(
                document["calibration"][name]["expected_calibration_error"]
                for name in ("all", "real", "made")
            ),
        ]
        for label, document in documents.items()
    ]
    return Table(
        "Expected calibration error",
        columns,
        rows,
        "In percent: mean difference of crack share and probability over 15 bins, for pixels with "
        "a probability of 0.01 or more.",
    )
