"""Whole runs, tiny and real: results, resuming after every kind of end, and refusals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import edgecrack.training.module
from edgecrack.artifacts import read_verified_spec
from edgecrack.cli import main
from edgecrack.data.datasets import open_dataset
from edgecrack.errors import (
    ConfigError,
    DataError,
    InterruptedTrainingError,
    ModelFileError,
    TrainingError,
)
from edgecrack.metrics import count_image, ods
from edgecrack.model.unet import NetworkConfig
from edgecrack.training.checkpoints import SafetensorsCheckpointIO, load_network
from edgecrack.training.config import PatchConfig, TrainingConfig
from edgecrack.training.fit import TrainingResult
from edgecrack.training.loss_curves import read_logs
from edgecrack.training.losses import segmentation_loss
from edgecrack.training.predictor import CheckpointPredictor
from edgecrack.training.presets import config_of_run
from tests.training.runs import (
    STEPS,
    assert_same,
    make_walls,
    run,
    tiny_config,
    training_state_of,
    weights_of,
)
from tests.waiting import PATIENCE_S, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums in one order, so that runs can be compared bit for bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_walls(tmp_path_factory.mktemp("data") / "walls")


@pytest.fixture(scope="module")
def finished(
    walls: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainingConfig, TrainingResult, list[str]]:
    """A run that nothing disturbed, with averaged weights."""
    messages: list[str] = []
    config = tiny_config(walls, tmp_path_factory.mktemp("runs") / "run", average_decay=0.5)
    return config, run(config, messages.append, with_curves=True), messages


def fail_at(monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException) -> None:
    """Make the training step number `step` raise, as a crash or a Ctrl-C would."""
    calls = iter(range(10**6))

    def loss(*arguments: Any, **options: Any) -> torch.Tensor:
        if next(calls) == step:
            raise error
        return segmentation_loss(*arguments, **options)

    monkeypatch.setattr(edgecrack.training.module, "segmentation_loss", loss)


# ---- a run that goes well


def test_run_leaves_everything_it_promises(
    finished: tuple[TrainingConfig, TrainingResult, list[str]],
) -> None:
    config, result, messages = finished
    assert sorted(path.name for path in config.out.iterdir()) == [
        "best.safetensors",
        "best.safetensors.json",
        "config.yaml",
        "curves.png",
        "last.safetensors",
        "last.safetensors.json",
        "logs",
    ]
    assert (result.best, result.last, result.curves) == tuple(
        config.out / name for name in ("best.safetensors", "last.safetensors", "curves.png")
    )
    assert result.steps == 2 * STEPS
    assert config_of_run(str(config.out / "config.yaml"), {}) == config
    assert cv2.imread(str(result.curves)) is not None
    assert set(read_logs(config.out / "logs")) >= {"train_loss", "val_ods", "val_strict_f1"}
    assert messages[0].partition("\n")[2] == (config.out / "config.yaml").read_text()
    assert messages[1] == "reading walls: 4 train, 2 validation"
    assert "2 x 3 steps of 4 patches of 32 px" in messages[2]


def test_sidecars_tell_how_the_model_was_made_but_not_where(
    finished: tuple[TrainingConfig, TrainingResult, list[str]],
) -> None:
    config, result, _ = finished
    spec = read_verified_spec(result.best)
    assert (spec.kind, spec.width, spec.preprocess) == ("checkpoint", 2, config.preprocess)
    assert spec.extra["training"]["data"] == ["walls"]
    assert str(config.out.parent) not in (config.out / "best.safetensors.json").read_text()
    assert spec.scores[0]["val_ods"] == result.validation_ods


def test_best_is_a_quarter_of_last_and_holds_no_training_state(
    finished: tuple[TrainingConfig, TrainingResult, list[str]],
) -> None:
    _, result, _ = finished
    assert result.best.stat().st_size < 0.5 * result.last.stat().st_size
    assert "optimizer_states" not in SafetensorsCheckpointIO().load_checkpoint(result.best)


def test_best_reproduces_the_logged_score_with_the_averaged_weights(
    walls: Path, finished: tuple[TrainingConfig, TrainingResult, list[str]]
) -> None:
    config, result, _ = finished
    predictor = CheckpointPredictor(result.best)
    counts = [
        count_image(predictor(sample.image()), sample.mask() > 0, "strict")
        for sample in open_dataset(walls).samples("val")
    ]
    score = ods(counts[0] + counts[1])
    assert score.f1 == pytest.approx(result.validation_strict_f1, abs=1e-9)
    assert score.threshold == predictor.spec.threshold
    logged = read_logs(config.out / "logs")["val_strict_f1"]
    assert max(value for _, value in logged) == pytest.approx(score.f1, abs=1e-6)


def test_last_holds_averaged_weights_for_use_and_current_ones_for_resuming(
    finished: tuple[TrainingConfig, TrainingResult, list[str]],
) -> None:
    whole = SafetensorsCheckpointIO().load_checkpoint(finished[1].last)
    averaged, current = whole["state_dict"], whole["current_model_state"]
    assert any(not torch.equal(averaged[name], current[name]) for name in averaged)
    loaded = load_network(finished[1].last)[0].state_dict()
    assert all(torch.equal(averaged[f"network.{name}"], loaded[name]) for name in loaded)


def test_average_is_the_exponential_one(walls: Path, tmp_path: Path) -> None:
    plain = []
    averaged = tiny_config(
        walls, tmp_path / "averaged", average_decay=0.75, epochs=3, steps_per_epoch=1
    )
    for epochs in (1, 2, 3):
        config = tiny_config(walls, tmp_path / f"{epochs}", epochs=epochs, steps_per_epoch=1)
        plain.append(weights_of(run(config).last))
    found = weights_of(run(averaged).last)
    for name, value in found.items():
        wanted = plain[0][name].double()
        for later in plain[1:]:
            wanted = 0.75 * wanted + 0.25 * later[name].double()
        assert torch.allclose(value.double(), wanted, rtol=1e-5, atol=1e-7), name


def test_same_seed_same_weights_other_seed_other_weights(
    walls: Path, tmp_path: Path, finished: tuple[TrainingConfig, TrainingResult, list[str]]
) -> None:
    again = run(tiny_config(walls, tmp_path / "again", average_decay=0.5))
    assert_same(training_state_of(again.last), training_state_of(finished[1].last))
    other = run(tiny_config(walls, tmp_path / "other", average_decay=0.5, seed=6, epochs=1))
    assert not torch.equal(
        *(next(iter(weights_of(item).values())) for item in (again.last, other.last))
    )


def test_mixed_bfloat16_trains_float32_weights(walls: Path, tmp_path: Path) -> None:
    result = run(tiny_config(walls, tmp_path, precision="bf16", epochs=1))
    network, _ = load_network(result.best)
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


@pytest.mark.slow
def test_one_image_is_learned_by_heart(walls: Path, tmp_path: Path) -> None:
    """Trained and validated on one image, the loss falls and the score rises."""
    for kind in ("images", "masks"):
        (tmp_path / "one" / kind).mkdir(parents=True)
        shutil.copy(walls / kind / "0001.png", tmp_path / "one" / kind)
    result = run(
        tiny_config(
            tmp_path / "one",
            tmp_path / "run",
            network=NetworkConfig(width=4),
            patches=PatchConfig(32),
            epochs=2,
            steps_per_epoch=80,
            batch_size=8,
        )
    )
    losses = [value for _, value in read_logs(tmp_path / "run" / "logs")["train_loss"]]
    assert losses[-1] < 0.5 * losses[0]
    assert result.steps == 160


# ---- going on after an end


@pytest.mark.parametrize("average_decay", [0.0, 0.5])
def test_crashed_run_goes_on_to_the_same_weights(
    walls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, average_decay: float
) -> None:
    whole = run(tiny_config(walls, tmp_path / "whole", average_decay=average_decay))
    out = tmp_path / "crashed"
    with monkeypatch.context() as patch:
        fail_at(patch, STEPS + 1, MemoryError("the machine gave up"))
        with pytest.raises(MemoryError):
            run(tiny_config(walls, out, average_decay=average_decay))
    # What the crash left can be used as it is.
    assert load_network(out / "best.safetensors")[1].scores[0]["val_ods"] >= 0
    resumed = run(tiny_config(walls, out, average_decay=average_decay, resume=True))
    assert resumed.steps == whole.steps
    assert_same(training_state_of(resumed.last), training_state_of(whole.last))
    assert_same(weights_of(resumed.best), weights_of(whole.best))
    assert (resumed.validation_ods, resumed.validation_strict_f1) == (
        whole.validation_ods,
        whole.validation_strict_f1,
    )
    assert read_logs(out / "logs") == read_logs(tmp_path / "whole" / "logs")


def test_finished_run_can_be_lengthened_and_resuming_it_unchanged_changes_nothing(
    walls: Path, tmp_path: Path
) -> None:
    first = run(tiny_config(walls, tmp_path / "run"))
    best = first.best.read_bytes()
    again = run(tiny_config(walls, tmp_path / "run", resume=True))
    assert again == first
    with pytest.raises(ConfigError, match="has completed 2 epochs, but 1 were requested; give"):
        run(tiny_config(walls, tmp_path / "run", epochs=1, resume=True))
    assert first.best.read_bytes() == best
    longer = run(tiny_config(walls, tmp_path / "run", epochs=3, resume=True))
    whole = run(tiny_config(walls, tmp_path / "whole", epochs=3))
    assert longer.steps == 3 * STEPS
    assert_same(training_state_of(longer.last), training_state_of(whole.last))


def test_moved_run_goes_on_without_forgetting_its_best(walls: Path, tmp_path: Path) -> None:
    first = run(tiny_config(walls, tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    moved = run(tiny_config(walls, tmp_path / "there", epochs=3, resume=True))
    assert moved.best == tmp_path / "there" / "best.safetensors"
    assert moved.validation_strict_f1 >= first.validation_strict_f1
    assert not (tmp_path / "here").exists()
    logged = read_logs(tmp_path / "there" / "logs")["val_strict_f1"]
    assert max(value for _, value in logged) == pytest.approx(moved.validation_strict_f1, abs=1e-6)


def test_ctrl_c_in_the_first_epoch_says_to_start_over(
    walls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        fail_at(patch, 1, KeyboardInterrupt())
        with pytest.raises(
            InterruptedTrainingError,
            match=r"interrupted at step 1; no epoch was complete yet.*start over",
        ):
            run(tiny_config(walls, tmp_path))
    assert signal.getsignal(signal.SIGINT) is before
    assert run(tiny_config(walls, tmp_path)).steps == 2 * STEPS


def start_program(*arguments: str) -> subprocess.Popen[str]:
    # Ctrl-C is ignored in programs that a shell started in the background; undo that.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from edgecrack.cli import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, program: subprocess.Popen[str]) -> None:
    def is_there() -> bool:
        assert program.poll() is None, program.communicate()
        return path.exists()

    wait_until(is_there, f"{path}")


@pytest.mark.slow
def test_ctrl_c_at_the_command_line_and_going_on_from_there(walls: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "run", "--width 2 --patch 32 --batch 4 --steps-per-epoch 3 --seed 5"
    options += " --warmup-steps 2 --schedule constant --average-decay 0.5 --epochs 100000"
    program = start_program("train", "--data", str(walls), "--out", str(out), *options.split())
    with program:
        try:
            wait_for(out / "last.safetensors.json", program)
            program.send_signal(signal.SIGINT)
            printed, complained = program.communicate(timeout=PATIENCE_S)
        finally:
            program.kill()
    assert program.returncode == 130, complained
    assert complained.count("\n") == 1
    assert complained.startswith("edgecrack: training was interrupted at step ")
    assert complained.endswith(
        "; give the same command with --resume to continue from the last complete epoch.\n"
    )
    assert "Warning" not in printed + complained
    done = SafetensorsCheckpointIO().load_checkpoint(out / "last.safetensors")["global_step"]
    assert done > 0
    assert done % STEPS == 0

    changes = {"epochs": done // STEPS + 1, "resume": True}
    config = config_of_run(str(out / "config.yaml"), changes)
    resumed = run(config)
    whole = run(replace(config, out=tmp_path / "whole", resume=False))
    assert_same(training_state_of(resumed.last), training_state_of(whole.last))


def words_of_a_short_run(walls: Path, out: Path) -> list[str]:
    options = "--width 4 --patch 32 --epochs 2 --steps-per-epoch 3"
    return ["train", "--data", str(walls), "--out", str(out), *options.split()]


def check_what_is_printed(printed: str, out: Path) -> None:
    settings, reading, after = printed.partition("reading walls: 4 train, 2 validation\n")
    assert (out / "config.yaml").read_text() in settings
    lines = [reading, *after.splitlines()]
    assert [line[:9] for line in lines[2:4]] == ["Epoch 1/2", "Epoch 2/2"]
    assert all("loss: " in line and "F1: " in line for line in lines[2:4])
    assert lines[4].startswith("trained 6 steps: validation ODS ")
    assert lines[-1] == f"next: edgecrack export {out}/best.safetensors -o {out}/model.onnx"


def test_the_command_says_how_it_goes_and_what_is_next(
    walls: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["edgecrack", *words_of_a_short_run(walls, tmp_path / "run")])
    monkeypatch.setenv("COLUMNS", "80")
    main()
    printed, complained = capfd.readouterr()
    assert complained == ""
    check_what_is_printed(printed, tmp_path / "run")


@pytest.mark.slow
def test_a_process_of_its_own_prints_no_warning_of_any_library(walls: Path, tmp_path: Path) -> None:
    program = start_program(*words_of_a_short_run(walls, tmp_path / "run"))
    printed, complained = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, complained) == (0, "")
    check_what_is_printed(printed, tmp_path / "run")


# ---- refusals


def test_folder_that_holds_a_run_is_not_mixed_with_another(
    finished: tuple[TrainingConfig, TrainingResult, list[str]],
) -> None:
    config = finished[0]
    before = {path: path.read_bytes() for path in config.out.glob("*.*")}
    with pytest.raises(ConfigError, match=r"already contains a run; add `resume`"):
        run(config)
    with pytest.raises(TrainingError, match="has width 2, but 4 was requested"):
        run(
            tiny_config(
                config.data[0], config.out, network=NetworkConfig(4), average_decay=0.5, resume=True
            )
        )
    assert {path: path.read_bytes() for path in config.out.glob("*.*")} == before


def test_there_must_be_a_run_to_resume(walls: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no .*last\.safetensors to resume from; leave out"):
        run(tiny_config(walls, tmp_path / "none", resume=True))
    assert not (tmp_path / "none").exists()
    (tmp_path / "last.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelFileError, match=r"cannot read checkpoint .*last\.safetensors"):
        run(tiny_config(walls, tmp_path, resume=True))


def test_mistakes_in_the_data_come_out_as_they_are(walls: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        run(tiny_config("nowhere", tmp_path))
    for path in shutil.copytree(
        walls / "masks", tmp_path / "blank" / "masks", dirs_exist_ok=True
    ).iterdir():
        cv2.imwrite(str(path), np.zeros((60, 76), np.uint8))
    shutil.copytree(walls / "images", tmp_path / "blank" / "images")
    with pytest.raises(DataError, match="no training image has any crack"):
        run(tiny_config(tmp_path / "blank", tmp_path / "run"))


def test_loss_that_is_not_a_number_stops_the_run_and_keeps_its_checkpoints(
    walls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(10**6))

    def loss(*arguments: Any, **options: Any) -> torch.Tensor:
        value = segmentation_loss(*arguments, **options)
        return value * float("nan") if next(calls) == STEPS + 1 else value

    monkeypatch.setattr(edgecrack.training.module, "segmentation_loss", loss)
    with pytest.raises(
        TrainingError, match=rf"the loss became nan at step {STEPS + 1}; lower `learning_rate`"
    ):
        run(tiny_config(walls, tmp_path))
    for name in ("best", "last"):
        _, spec = load_network(tmp_path / f"{name}.safetensors")
        assert spec.scores[0]["data"] == "validation"
    monkeypatch.undo()
    assert run(tiny_config(walls, tmp_path, resume=True)).steps == 2 * STEPS


def test_gradient_that_is_not_a_number_in_an_epoch_s_last_step_spoils_no_checkpoint(
    walls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(10**6))

    def loss(*arguments: Any, **options: Any) -> torch.Tensor:
        value = segmentation_loss(*arguments, **options)
        if next(calls) == 2 * STEPS - 1:
            value.register_hook(lambda gradient: gradient * float("nan"))  # type: ignore[no-untyped-call]
        return value

    monkeypatch.setattr(edgecrack.training.module, "segmentation_loss", loss)
    with pytest.raises(TrainingError, match="the gradient became nan at step 5; lower"):
        run(tiny_config(walls, tmp_path))
    for name in ("best", "last"):
        load_network(tmp_path / f"{name}.safetensors")
