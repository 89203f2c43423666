"""Curves: logs of resumed and killed runs are read, and the picture shows what matters."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.errors import OutputError
from edgecrack.files import write_atomic
from edgecrack.training.loss_curves import draw_curves, read_logs

HEADER = "epoch,step,train_loss,val_iou,val_ods,val_strict_f1\n"


def write_log(folder: Path, version: int, text: str) -> None:
    (folder / f"version_{version}").mkdir(parents=True)
    write_atomic(folder / f"version_{version}" / "metrics.csv", HEADER + text)


def test_quantities_are_read_where_they_were_logged(tmp_path: Path) -> None:
    write_log(tmp_path, 0, "0,9,0.5,,,\n0,19,0.4,,,\n0,19,,0.1,0.2,0.3\n")
    assert read_logs(tmp_path) == {
        "train_loss": [(9.0, 0.5), (19.0, 0.4)],
        "val_iou": [(19.0, 0.1)],
        "val_ods": [(19.0, 0.2)],
        "val_strict_f1": [(19.0, 0.3)],
    }


def test_steps_repeated_after_a_resume_replace_the_lost_ones(tmp_path: Path) -> None:
    write_log(tmp_path, 0, "0,9,0.5,,,\n0,19,0.4,,,\n")
    write_log(tmp_path, 1, "0,19,0.3,,,\n0,29,0.2,,,\n")
    assert read_logs(tmp_path)["train_loss"] == [(9.0, 0.5), (19.0, 0.3), (29.0, 0.2)]


def test_line_that_a_killed_run_did_not_finish_is_left_out(tmp_path: Path) -> None:
    write_log(tmp_path, 0, "0,9,0.5,,,\n0")
    assert read_logs(tmp_path) == {"train_loss": [(9.0, 0.5)]}


def test_no_logs_yet(tmp_path: Path) -> None:
    assert read_logs(tmp_path / "nothing") == {}
    draw_curves(tmp_path / "nothing", tmp_path / "curves.png")
    assert cv2.imread(str(tmp_path / "curves.png")) is not None


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_loss_is_visible_whatever_its_size(tmp_path: Path, scale: float) -> None:
    losses = [scale * (0.3 + math.exp(-step / 20)) for step in range(100)]
    write_log(tmp_path / "logs", 0, "".join(f"0,{i},{loss},,,\n" for i, loss in enumerate(losses)))
    draw_curves(tmp_path / "logs", tmp_path / "curves.png")
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture is not None
    left = picture[:, : picture.shape[1] // 2].astype(int)
    dark_blue = (np.abs(left - (0x79, 0x4E, 0x1F)).max(axis=2) < 40).any(axis=0)
    # The median's line spans most of the left half's width.
    assert dark_blue.mean() > 0.7


def test_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"curves\.png"):
        draw_curves(tmp_path, tmp_path / "nowhere" / "curves.png")
