"""The words of `edgecrack evaluate` reach the evaluation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edgecrack.cli import main
from tests.evaluation.checkpoints import write_checkpoint
from tests.evaluation.test_run import write_set

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
    assert scores("runs/evaluate-best-generic")["context"]["data"] == "generic, test, 2 images"
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
