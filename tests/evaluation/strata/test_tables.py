"""Tables and figures: names that would break them, and what is said of empty strata."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecrack.errors import ConfigError
from edgecrack.evaluation import page
from edgecrack.evaluation.strata import plots, tables
from edgecrack.evaluation.strata.item_result import TOLERANT
from edgecrack.evaluation.strata.scoring import ScoredStrata, score_yardstick
from edgecrack.evaluation.strata.strata_report import write_strata_report
from edgecrack.yardstick.manifest import Origin, TrueCrack, Yardstick
from tests.evaluation.pages import read_page
from tests.evaluation.strata.results import HW, Drawn, drawn, line_crack, predict

pytest.importorskip("matplotlib", reason="a report needs matplotlib, of the train extra")

EVIL = '<b>a|b</b> $x_$ "&'


def pictures(origin: Origin = "labelled", surface: str = "concrete") -> list[Drawn]:
    items = []
    for number in range(3):
        truth = line_crack(4, row=10 + number)
        points = np.column_stack([np.arange(HW[1]), np.full(HW[1], 11.5 + number)])
        crack = TrueCrack(points.astype(np.float32), np.full(HW[1], 4, np.float32))
        seen = np.where(truth, 220, 5).astype(np.uint8)
        name = f"{origin}-{surface}-{number}"
        items.append(drawn(name, truth, seen, origin=origin, surface=surface, cracks=(crack,)))
    blot = np.zeros(HW, np.uint8)
    blot[20:40, 20:40] = 255
    none = np.zeros(HW, bool)
    items.append(drawn(f"none-{origin}-{surface}", none, blot, kind=f"{surface} none"))
    return items


def scored(label: str, items: list[Drawn], threshold: float = 0.5) -> ScoredStrata:
    yardstick = Yardstick(Path("yard"), tuple(items), None)
    return score_yardstick(label, predict, yardstick, threshold)


def documents(*found: ScoredStrata) -> dict[str, Any]:
    return {model.label: model.document for model in found}


def test_names_break_neither_markdown_nor_html(tmp_path: Path) -> None:
    items = pictures(surface=EVIL)
    models = [scored(EVIL, items), scored("_plain", items)]
    write_strata_report(models, Yardstick(tmp_path, tuple(items), None), tmp_path / "r")
    found = read_page(tmp_path / "r" / "index.html")
    assert found.tags["b"] == 0
    assert EVIL in found.cells
    for line in (tmp_path / "r" / "strata.md").read_text().splitlines():
        assert "<b>" not in line
    for table in tables.all_tables(documents(*models)):
        lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
        bars = {line.replace("\\|", "").count("|") for line in lines}
        assert bars == {len(table.columns) + 1}, table.heading


def test_cells_of_page_and_markdown_are_the_same() -> None:
    for table in tables.all_tables(documents(scored("m", pictures()))):
        html = page.table(table.columns, table.rows)
        for row in table.rows:
            for text in table.texts(row):
                assert f">{text}</td>" in html, (table.heading, text)


def test_several_models_have_a_row_each_and_keep_their_own_figures() -> None:
    items = pictures()
    strict, lax = scored("strict", items, 0.9), scored("lax", items, 0.5)
    both = documents(strict, lax)
    detection = tables.detection(both)
    assert [row[1] for row in detection.rows] == ["strict", "lax"]
    assert [row[-2] for row in detection.rows] == [0.0, 1.0]  # 220 is found at 0.5, not at 0.9
    alarms = tables.false_alarms(both)
    assert [row[:3] for row in alarms.rows] == [
        ["concrete none", "strict", 1],
        ["concrete none", "lax", 1],
    ]
    recall = tables.recall_by_width(both)
    assert [(row[0], row[1], row[3]) for row in recall.rows] == [
        ("3-5 px", "strict", 0.0),
        ("3-5 px", "lax", 1.0),
    ]
    alone = tables.recall_by_width(documents(lax))
    assert [column.title for column in alone.columns][:2] == ["crack width", "real pictures"]
    mean = tables.mean_and_worst(both)
    assert [row[0] for row in mean.rows] == ["strict", "strict", "lax", "lax"]


def test_a_whole_kind_without_pictures_is_named_once() -> None:
    note = tables.strata(documents(scored("m", pictures())), TOLERANT).note
    assert "all that are made" in note
    assert "made: " not in note
    assert "real: 1-3 px" in note
    assert "*" not in note
    only = tables.mean_and_worst(documents(scored("m", pictures()))).note
    assert "The mean is over 3 real strata: no stratum of made pictures has 3" in only
    both = scored("m", [*pictures(), *pictures("rendered")])
    assert (
        "Half of the mean are 3 strata of photos, half 3"
        in tables.mean_and_worst(documents(both)).note
    )


def test_what_the_documents_hold_is_json() -> None:
    def refuse(name: str) -> Any:
        raise AssertionError(name)

    text = json.dumps(documents(scored("m", pictures("rendered"))))
    json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("name", ["_hidden", "a$b$c", "$", "_"])
def test_figures_show_any_name(name: str) -> None:
    found = scored(name, pictures()).document
    for png in (
        plots.recall_png({name: found["recall_by_width"], "other": found["recall_by_width"]}),
        plots.detection_png({name: found["detection"]}),
        plots.calibration_png({name: found["calibration"]}),
    ):
        assert png.startswith(b"\x89PNG")


def test_models_that_do_not_go_side_by_side(tmp_path: Path) -> None:
    items = pictures()
    one, other = scored("a", items), scored("b", items[:-1])
    yardstick = Yardstick(tmp_path, tuple(items), None)
    for models, message in (
        ([one, one], "labels are"),
        ([], "labels are"),
        ([one, other], "b was scored on other pictures than a"),
        ([one, replace(other, scores=scored("b", items[::-1]).scores)], "on other pictures"),
    ):
        with pytest.raises(ConfigError, match=message):
            write_strata_report(models, yardstick, tmp_path / "r")
    assert not (tmp_path / "r").exists()
