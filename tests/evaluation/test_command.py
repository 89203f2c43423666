"""The words of `edgecrack evaluate` reach the evaluation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edgecrack.cli import main
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.output_place import take_place
from tests.evaluation.checkpoints import write_checkpoint
from tests.evaluation.test_evaluation_run import write_set

pytest.importorskip("matplotlib", reason="a report needs matplotlib, of the train extra")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "one" / "best.safetensors", "max", 1)
    write_checkpoint(tmp_path / "two" / "best.safetensors", "max", 2)
    write_set(tmp_path / "walls", ["a", "b", "c"], {"val": ["a"], "test": ["b", "c"]})


def run(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["edgecrack", "evaluate", *words.split()])
    main()


def scores(folder: str) -> Any:
    return json.loads((Path(folder) / "scores.json").read_text())


@pytest.mark.parametrize(
    "words",
    [
        "one/best.safetensors --data walls --protocol patch-stride 16 --patch 32 --out r",
        "--protocol patch-stride-16 --patch 32 --data walls one/best.safetensors --out r",
        "one/best.safetensors --data walls --protocol=patch-stride --stride 16 --patch 32 --out r",
    ],
)
def test_patches(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    run(monkeypatch, f"{words} --device cpu --threshold-from val")
    document = scores("r")
    protocol = document["context"]["protocol"]
    assert protocol == "mean over 32x32 px patches at stride 16 px, torch"
    assert document["operating"]["chosen"] == "validation"


def test_several_models(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "one/best.safetensors two/best.safetensors --data walls --protocol tiled")
    folder = Path("runs/compare-walls")
    assert f"report: {folder}/index.html" in capsys.readouterr().out
    assert (folder / "comparison.json").is_file()
    assert "256x256 px tiles" in scores(f"{folder}/models/two")["context"]["protocol"]


def test_a_named_layout_is_demanded_and_names_the_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "one/best.safetensors --data generic=walls --device cpu")
    assert scores("runs/evaluate-one-best-generic")["context"]["data"] == "generic, test, 2 images"
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "one/best.safetensors --data deepcrack=walls")
    assert stopped.value.code == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--protocol sliding", "the protocol is 'sliding'"),
        ("--protocol patch-stride", "no stride"),
        ("--protocol whole --patch 48", "without patches"),
        ("--threshold-from best", "'best'"),
        ("--precision 8", "'8'"),
        ("--device gpu", "'gpu'"),
    ],
)
def test_words_that_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, f"one/best.safetensors --data walls {words}")
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


class TestSecondReport:
    """Checkpoints of all trainings are called best.safetensors."""

    def test_two_models_of_one_name_share_no_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run(monkeypatch, "one/best.safetensors --data walls --device cpu")
        run(monkeypatch, "two/best.safetensors --data walls --device cpu")
        found = [scores(f"runs/evaluate-{name}-best-walls") for name in ("one", "two")]
        assert found[0]["context"]["model"] != found[1]["context"]["model"]

    def test_other_settings_go_beside(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(monkeypatch, "one/best.safetensors --data walls --out r --device cpu")
        first = (Path("r") / "scores.json").read_bytes()
        run(monkeypatch, "two/best.safetensors --data walls --out r --device cpu --split all")
        assert capsys.readouterr().out.splitlines()[-2:] == [
            "r holds other results, which stay; those of this run go to r-2",
            "report: r-2/index.html",
        ]
        assert (Path("r") / "scores.json").read_bytes() == first
        assert scores("r-2")["images"] == 3

    def test_overwriting_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run(monkeypatch, "one/best.safetensors two/best.safetensors --data walls --out r")
        (Path("r") / "notes.txt").write_text("mine")
        run(monkeypatch, "one/best.safetensors --data walls --out r --device cpu --overwrite")
        names = {path.name for path in Path("r").iterdir()}
        assert "notes.txt" in names
        assert "scores.json" in names
        assert not {"comparison.json", "models"} & names
        assert [path.name for path in Path().glob("r*")] == ["r"]

    @pytest.mark.parametrize("more", ["", "--overwrite"])
    def test_foreign_files_are_never_touched(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: str
    ) -> None:
        Path("r").mkdir()
        (Path("r") / "scores.json").write_text("mine")
        with pytest.raises(SystemExit) as stopped:
            run(monkeypatch, f"one/best.safetensors --data walls --out r --device cpu {more}")
        assert stopped.value.code == 6
        assert "r holds scores.json, which no earlier run made" in capsys.readouterr().err
        assert [path.name for path in Path("r").iterdir()] == ["scores.json"]
        assert (Path("r") / "scores.json").read_text() == "mine"

    def test_a_folder_that_nobody_chose_gives_way_to_foreign_files(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Such as the report of edgecrack 0.1, which kept no list."""
        before = Path("runs/evaluate-one-best-walls")
        before.mkdir(parents=True)
        (before / "scores.json").write_text("mine")
        run(monkeypatch, "one/best.safetensors --data walls --device cpu")
        assert (before / "scores.json").read_text() == "mine"
        assert scores("runs/evaluate-one-best-walls-2")["images"] == 2

    def test_two_at_the_same_moment_share_no_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = take_place(Path("r"), ["scores.json"])  # has written nothing yet
        run(monkeypatch, "one/best.safetensors --data walls --out r --device cpu")
        other.folder.discard()
        assert scores("r-2")["images"] == 2

    def test_a_report_that_fails_leaves_the_earlier_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        OutputFolder(Path("r")).claim("scores.json").write_text("earlier")
        for image in Path("walls/images").iterdir():
            image.write_bytes(b"damaged")
        with pytest.raises(SystemExit):
            run(monkeypatch, "one/best.safetensors --data walls --out r --device cpu --overwrite")
        assert (Path("r") / "scores.json").read_text() == "earlier"
        with pytest.raises(SystemExit):
            run(monkeypatch, "one/best.safetensors --data walls --out new --device cpu")
        assert not Path("new").exists()
