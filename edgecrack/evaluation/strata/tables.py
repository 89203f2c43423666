"""Scores by stratum as rows that a page, a Markdown file and a terminal share.

Knows the plain values of `ScoredStrata.document`; must not know models or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecrack.evaluation.page import Cell, Column
from edgecrack.evaluation.strata.item_result import STRICT, TOLERANT

NAMES = {TOLERANT: "tolerant F1 (5x5 square)", STRICT: "strict F1"}
Documents = Mapping[str, Mapping[str, Any]]
"""Of each model's label the scores as `StrataScores.to_dict` gives them, and "detection"."""


@dataclass(frozen=True)
class Table:
    """Columns and rows under a heading.

    Attributes:
        heading: what it is about.
        columns: as `page.table` takes them.
        rows: a cell for each column.
        note: how it is to be read.
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
            "| " + " | ".join(column.title for column in self.columns) + " |",
            "|" + "|".join("---:" if item else "---" for item in numeric) + "|",
        ]
        lines += ["| " + " | ".join(self.texts(row)) + " |" for row in self.rows]
        return "\n".join([*lines, "", self.note, ""] if self.note else [*lines, ""])

    def texts(self, row: Sequence[Cell]) -> list[str]:
        """A row's cells as they are shown."""
        return [_text(column, cell) for column, cell in zip(self.columns, row, strict=True)]


def all_tables(documents: Documents) -> list[Table]:
    """Every table of a report, the most important first."""
    tables = [
        mean_and_worst(documents),
        strata(documents, TOLERANT),
        strata(documents, STRICT),
        recall_by_width(documents),
        detection(documents),
        false_alarms(documents),
        calibration(documents),
    ]
    return [table for table in tables if table.rows]


def mean_and_worst(documents: Documents) -> Table:
    """One row for each model."""
    columns = [
        Column("model", "text"),
        Column("threshold", "number", "the one that the model is shipped with"),
        Column("tolerant F1"),
        Column("precision"),
        Column("recall"),
        Column("at best threshold"),
        Column("which", "number"),
        Column("worst stratum", "text"),
        Column("its F1"),
        Column("strict F1"),
        Column("at best threshold"),
        Column("which", "number"),
        Column("worst stratum", "text"),
        Column("its strict F1"),
    ]
    rows = [_mean_row(label, document) for label, document in documents.items()]
    return Table(
        "Mean and worst over the strata",
        columns,
        rows,
        "In percent. Photos weigh half of the mean, rendered and generated pictures half. The "
        "best threshold is chosen on these pictures: no user has it in advance.",
    )


def _mean_row(label: str, document: Mapping[str, Any]) -> list[Cell]:
    row: list[Cell] = [label, document["threshold"]]
    for kind in (TOLERANT, STRICT):
        shipped, best = document["mean"][kind]["shipped"], document["mean"][kind]["best"]
        worst = document["worst"][kind]
        row.append(shipped["f1"])
        if kind == TOLERANT:
            row += [shipped["precision"], shipped["recall"]]
        row += [best["f1"], best["threshold"], worst["stratum"], worst["f1"]]
    return row


def strata(documents: Documents, kind: str) -> Table:
    """A row for each stratum that has pictures; several models side by side."""
    first = next(iter(documents.values()))
    single = len(documents) == 1
    columns = [Column("", "text"), Column("stratum", "text"), Column("pictures", "count")]
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
    empty = [f"{row['kind']}, {row['value']}" for row in first["strata"] if not row["images"]]
    note = "In percent; at the shipped threshold, and at the stratum's own best one. "
    note += "* has too few pictures to count for mean and worst. "
    note += f"Strata without any picture: {', '.join(empty) or 'none'}."
    return Table(f"By stratum: {NAMES[kind]}", columns, rows, note)  # type: ignore[index]


def _stratum_head(stratum: Mapping[str, Any]) -> list[Cell]:
    mark = "" if stratum["in_mean"] else " *"
    value = "vehicle's view" if stratum["value"] == "vehicle" else stratum["value"]
    return [stratum["kind"], f"{value}{mark}", stratum["images"], stratum["photos"]]


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
    """A row for each width class; photos and made pictures apart."""
    columns = [Column("crack width", "text")]
    for label in documents:
        prefix = "" if len(documents) == 1 else f"{label}: "
        columns += [Column(f"{prefix}photos"), Column(f"{prefix}made")]
    first = next(iter(documents.values()))["recall_by_width"]
    rows: list[list[Cell]] = []
    for number, entry in enumerate(first["made"]):
        row: list[Cell] = [entry["width"]]
        for document in documents.values():
            found = document["recall_by_width"]
            row += [found["real"][number]["recall"], found["made"][number]["recall"]]
        rows.append(row)
    return Table(
        "Recall by crack width",
        columns,
        rows,
        "Share in percent of the crack pixels of that width within 2 px of what is flagged at the "
        "shipped threshold; a pixel's width is that of the widest disc in the crack over it.",
    )


def detection(documents: Documents) -> Table:
    """A row for each class of width in mm."""
    first = next(iter(documents.values()))["detection"]
    columns = [Column("width, mm", "text"), Column("cracks", "count"), Column("photos", "count")]
    for label in documents:
        prefix = "" if len(documents) == 1 else f"{label}: "
        columns += [Column(f"{prefix}found"), Column(f"{prefix}at least", hint="lower 95 % bound")]
    rows: list[list[Cell]] = []
    for number, entry in enumerate(first["widths"]):
        low, high = entry["width_mm"]
        row: list[Cell] = [f"{low:.3g} to {high:.3g}", entry["cracks"], entry["photos"]]
        for document in documents.values():
            own = document["detection"]["widths"][number]
            row += [own["probability"], own["lower_95"]]
        rows.append(row)
    blur = "" if first["blur_px"] is None else f" and a blur of {first['blur_px']:g} px"
    return Table(
        f"Detection probability at {first['mm_per_px']:g} mm/px{blur}",
        columns,
        rows,
        "In percent, of rendered cracks of known width. A crack is found when something is flagged "
        "within half its width, at least within 2 px, along at least half of its length. The "
        "second figure is the one-sided 95 % lower bound over photos.",
    )


def false_alarms(documents: Documents) -> Table:
    """A row for each kind, over all surfaces."""
    columns = [Column("what is shown", "text"), Column("pictures", "count")]
    for label in documents:
        prefix = "" if len(documents) == 1 else f"{label}: "
        columns += [
            Column(f"{prefix}flagged", "fine"),
            Column(f"{prefix}published", "fine", "without groups that stream drops"),
            Column(f"{prefix}pictures with any"),
        ]
    first = next(iter(documents.values()))["false_alarms"]
    rows: list[list[Cell]] = []
    for number, entry in enumerate(first):
        if entry["surface"]:
            continue
        row: list[Cell] = [entry["kind"], entry["images"]]
        for document in documents.values():
            own = document["false_alarms"][number]
            row += [own["flagged"], own["published"], own["images_flagged"]]
        rows.append(row)
    return Table(
        "False alarms, on pictures without any crack",
        columns,
        rows,
        "Share of the pixels in percent at the shipped threshold; published: without groups that "
        "stream drops; and the share of the pictures on which anything is published.",
    )


def calibration(documents: Documents) -> Table:
    """The expected calibration error of each model."""
    columns = [Column("model", "text"), Column("all"), Column("photos"), Column("made")]
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
        "In percent: how far the share of crack lies from the probability, over 15 bins, of pixels "
        "with a probability of 0.01 and more.",
    )


def _text(column: Column, value: Cell) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    forms = {"percent": f"{100 * value:.1f}", "fine": f"{100 * value:.2f}", "count": f"{value:g}"}
    return forms.get(column.kind, f"{value:.2f}")
