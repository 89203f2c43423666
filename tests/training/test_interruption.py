"""Runs that end early, by real signals, and go on to the very weights of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import edgecrack.training.fit
import edgecrack.training.module
from edgecrack.artifacts import read_verified_spec
from edgecrack.errors import InterruptedTrainingError, TrainingError
from edgecrack.training.fit import train
from edgecrack.training.losses import segmentation_loss
from edgecrack.training.module import CrackModule
from tests.training.dying import MOMENTS
from tests.training.runs import (
    STEPS,
    assert_same,
    make_walls,
    run,
    tiny_config,
    training_state_of,
    weights_of,
)
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_walls(tmp_path_factory.mktemp("data") / "walls")


@pytest.fixture(scope="module")
def whole(walls: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run(tiny_config(walls, out, average_decay=0.5, epochs=3))
    return out


@pytest.fixture(scope="module")
def killed(walls: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, each killed by SIGKILL at the moment that it is named by."""
    folder = tmp_path_factory.mktemp("killed")
    program = subprocess.run(
        [sys.executable, "-m", "tests.training.dying", str(walls), str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert program.returncode == 0, program.stderr
    ended = [line for line in program.stdout.splitlines() if line.split(" ")[0] in MOMENTS]
    assert ended == [f"{moment} {int(signal.SIGKILL)}" for moment in MOMENTS], program.stdout
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_run_goes_on_to_the_same_weights(
    walls: Path, whole: Path, killed: Path, moment: str
) -> None:
    out = killed / moment
    resume = (out / "last.safetensors").exists()
    # Until the first epoch is written the same command starts over, without `resume`.
    assert resume == ("first" not in moment or moment.startswith("third"))
    result = run(tiny_config(walls, out, average_decay=0.5, epochs=3, resume=resume))
    assert_same(
        training_state_of(out / "last.safetensors"), training_state_of(whole / "last.safetensors")
    )
    assert_same(weights_of(result.best), weights_of(whole / "best.safetensors"))
    for name in ("best", "last"):
        read_verified_spec(out / f"{name}.safetensors")
    assert sorted(path.name for path in out.iterdir()) == sorted(
        path.name for path in whole.iterdir()
    )


def test_a_sidecar_that_lags_behind_is_mended_by_a_resume_that_has_nothing_left_to_do(
    walls: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    first = run(tiny_config(walls, out, average_decay=0.5, epochs=1))
    older = (out / "last.safetensors.json").read_bytes()
    run(tiny_config(walls, out, average_decay=0.5, epochs=2, resume=True))
    (out / "last.safetensors.json").write_bytes(older)
    run(tiny_config(walls, out, average_decay=0.5, epochs=2, resume=True))
    assert read_verified_spec(first.last).kind == "checkpoint"


@pytest.mark.parametrize(
    ("step", "remedy"),
    [
        (1, "no epoch was complete yet"),
        (STEPS + 1, "with `resume` to continue from the last complete"),
    ],
)
def test_sigterm_ends_a_run_at_once_with_a_sentence(
    walls: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    remedy: str,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    calls = iter(range(10**6))

    def loss(*arguments: Any, **options: Any) -> torch.Tensor:
        if next(calls) == step:
            signal.raise_signal(signal.SIGTERM)
        return segmentation_loss(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(edgecrack.training.module, "segmentation_loss", loss)
        words = rf"ended by SIGTERM at step {step}; .*{remedy}"
        with pytest.raises(InterruptedTrainingError, match=words) as caught:
            train(tiny_config(walls, tmp_path, average_decay=0.5, epochs=3))
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is before
    resume = step > STEPS
    run(tiny_config(walls, tmp_path, average_decay=0.5, epochs=3, resume=resume))
    last = tmp_path / "last.safetensors"
    assert_same(training_state_of(last), training_state_of(whole / "last.safetensors"))


def test_sigterm_while_data_are_read(
    walls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(edgecrack.training.fit, "load_training_set", load)
    words = "training was ended by SIGTERM; no epoch was complete"
    with pytest.raises(InterruptedTrainingError, match=words):
        train(tiny_config(walls, tmp_path))


def test_diverging_run_stops_and_its_last_checkpoint_goes_on(walls: Path, tmp_path: Path) -> None:
    """A poisoned weight, as a fault of memory would leave it, spoils no checkpoint."""
    out = tmp_path / "run"
    run(tiny_config(walls, out, epochs=1))
    good = weights_of(out / "last.safetensors")

    class Poisoned(CrackModule):
        def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
            if self.global_step == STEPS + 1:
                next(self.parameters()).data.fill_(float("nan"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edgecrack.training.fit, "CrackModule", Poisoned)
        with pytest.raises(
            TrainingError, match=rf"the loss became nan at step {STEPS + 1}; lower"
        ) as caught:
            train(tiny_config(walls, out, epochs=2, resume=True))
    assert caught.value.exit_code == 8
    assert_same(weights_of(out / "last.safetensors"), good)
    assert run(tiny_config(walls, out, epochs=2, resume=True)).steps == 2 * STEPS
