"""Runs of two real processes: one result whatever their number, and one end for all of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgecrack.data.datasets import open_dataset
from edgecrack.errors import DataError, TrainingError
from edgecrack.metrics import count_image, ods, pool
from edgecrack.training.checkpoints import SafetensorsCheckpointIO
from edgecrack.training.config import LossConfig, OptimizerConfig, TrainingConfig
from edgecrack.training.launch import run_in_processes
from edgecrack.training.loss_curves import read_logs
from edgecrack.training.predictor import CheckpointPredictor
from edgecrack.training.presets import to_yaml
from edgecrack.training.processes import find_process_rank
from tests.training.runs import make_walls, run, tiny_config, training_state_of
from tests.training.work import fail_in_the_second
from tests.waiting import PATIENCE_S, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
# Sums in another order: float32 has 24 bits, and a few steps let differences grow.
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 1e-4

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config_in(folder: Path, **changes: object) -> TrainingConfig:
    """One step per epoch, so that every step's loss is logged; all that crosses processes is on."""
    config = tiny_config(
        folder / "walls",
        folder / "run",
        optimizer=OptimizerConfig("sgd", 0.01, warmup_steps=0, schedule="constant"),
        loss=LossConfig(cl_dice_weight=0.5, cl_dice_iterations=2),
        average_decay=0.5,
        steps_per_epoch=1,
        processes_per_machine=2,
        device="cpu",
    )
    return replace(config, **changes)  # type: ignore[arg-type]


def children(process: int) -> list[int]:
    """The processes that a process started to compute."""
    numbers = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    commands = {int(number): Path(f"/proc/{number}/cmdline").read_bytes() for number in numbers}
    return [number for number, command in commands.items() if b"spawn_main" in command]


def wait_until_gone(processes: list[int]) -> None:
    for number in processes:
        wait_until(lambda number=number: not Path(f"/proc/{number}").exists(), f"end of {number}")  # type: ignore[misc]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from the command line, one of whose two processes was killed after some epochs."""
    folder = tmp_path_factory.mktemp("killed")
    make_walls(folder / "walls")
    preset = folder / "preset.yaml"
    preset.write_text(to_yaml(config_in(folder, epochs=100_000)))
    command = ["-m", "edgecrack", "train", "--preset", str(preset), "--out", str(folder / "run")]
    program = subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        try:
            last = folder / "run" / "last.safetensors.json"
            wait_until(lambda: last.exists() or program.poll() is not None, "a checkpoint")
            assert program.poll() is None, program.communicate()
            workers = children(program.pid)
            assert len(workers) == 2
            os.kill(workers[1], signal.SIGKILL)
            _, complained = program.communicate(timeout=PATIENCE_S)
        finally:
            program.kill()
    assert program.returncode == TrainingError.exit_code, complained
    assert complained.startswith("edgecrack: process 2 of 2 was ended by SIGKILL; ")
    assert complained.endswith("--resume to continue from the last complete epoch.\n")
    assert complained.count("\n") == 1
    wait_until_gone(workers)
    return folder


def test_killed_run_of_two_processes_goes_on_to_what_one_process_alone_reaches(
    killed: Path, tmp_path: Path
) -> None:
    out = killed / "run"
    done = SafetensorsCheckpointIO().load_checkpoint(out / "last.safetensors")["global_step"]
    shutil.copytree(out, tmp_path / "again")
    messages: list[str] = []
    resumed = run(config_in(killed, epochs=done + 3, resume=True), messages.append)
    alone = run(config_in(killed, epochs=done + 3, processes_per_machine=1, out=tmp_path / "alone"))

    assert sum("in 2 processes" in message for message in messages) == 1
    assert len(messages) == len(set(messages))
    ours, wanted = read_logs(out / "logs"), read_logs(tmp_path / "alone" / "logs")
    # What the killed processes had not yet written down is missing from their log.
    steps = dict(ours["train_loss"])
    assert {done, done + 1, done + 2} <= steps.keys()
    for step, loss in wanted["train_loss"]:
        if step in steps:
            assert steps[step] == pytest.approx(loss, rel=LOSS_TOLERANCE), step
    first, second = (
        training_state_of(path / "last.safetensors") for path in (out, tmp_path / "alone")
    )
    for kind in ("state_dict", "current_model_state"):
        for name, value in second[kind].items():
            difference = (first[kind][name] - value).abs().max() / value.abs().max()
            assert difference < WEIGHT_TOLERANCE, (kind, name, difference)
    assert resumed.validation_ods == pytest.approx(alone.validation_ods, rel=1e-3)
    # Counts are whole numbers, so the same weights have the same scores to the last digit.
    predictor = CheckpointPredictor(resumed.best)
    samples = open_dataset(killed / "walls").samples("val")
    counts = pool(
        count_image(predictor(item.image()), item.mask() > 0, "strict") for item in samples
    )
    assert ods(counts).f1 == resumed.validation_strict_f1
    assert ods(counts).threshold == predictor.spec.threshold
    # The same checkpoint is gone on with by one process, too.
    again = run(
        config_in(
            killed, epochs=done + 1, processes_per_machine=1, resume=True, out=tmp_path / "again"
        )
    )
    assert again.steps == done + 1


def test_ctrl_c_to_all_while_they_start_is_answered_by_one_sentence(tmp_path: Path) -> None:
    make_walls(tmp_path / "walls")
    preset = tmp_path / "preset.yaml"
    preset.write_text(to_yaml(config_in(tmp_path, epochs=100_000)))
    program = subprocess.Popen(
        # A shell may have had Ctrl-C ignored for what it started in the background.
        [
            sys.executable,
            "-c",
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from edgecrack.cli import main; main()",
            *("train", "--preset", str(preset), "--out", str(tmp_path / "run")),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with program:
        try:
            wait_until(
                lambda: program.poll() is not None or len(children(program.pid)) >= 2,
                "both processes",
            )
            assert program.poll() is None, program.communicate()
            workers = children(program.pid)
            for _ in range(50):  # over the time in which they import
                for worker in workers:
                    os.kill(worker, signal.SIGINT)
                time.sleep(0.02)
            os.killpg(program.pid, signal.SIGINT)
            _, complained = program.communicate(timeout=PATIENCE_S)
        finally:
            program.kill()
    assert complained.startswith("edgecrack: training was interrupted; "), complained
    assert complained.count("\n") == 1
    assert program.returncode == 130
    wait_until_gone(workers)


def test_an_error_in_one_process_ends_the_other_and_arrives_whole(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    config.out.mkdir()
    told: list[str] = []
    with pytest.raises(DataError, match=r"^mask 7 is torn; mend it\.$") as caught:
        run_in_processes(
            fail_in_the_second, config, find_process_rank(config), tmp_path / "last", told.append
        )
    assert "fail_in_the_second" in str(caught.value.__cause__)
    wait_until_gone([int(told[0])])
