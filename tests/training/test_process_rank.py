"""Which process of a run this is, as torchrun, Slurm or a person by hand say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from edgecrack.errors import ConfigError
from edgecrack.training.config import TrainingConfig
from edgecrack.training.processes import find_process_rank

_FOREIGN = "TORCHELASTIC_RUN_ID RANK WORLD_SIZE LOCAL_RANK NODE_RANK MASTER_ADDR MASTER_PORT"
_FOREIGN += " SLURM_NTASKS SLURM_STEP_NUM_TASKS"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _FOREIGN.split():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def config(**values: Any) -> TrainingConfig:
    return TrainingConfig(**{"data": ("cfd",), "out": Path("run"), **values})


def set_all(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))


def test_alone() -> None:
    place = find_process_rank(config())
    assert (place.rank, place.ranks, place.device) == (0, 1, "cpu")
    assert place.is_main
    assert not place.starts_processes


def test_processes_are_started_here_unless_something_else_did() -> None:
    place = find_process_rank(config(processes_per_machine=2))
    assert (place.rank, place.ranks) == (0, 2)
    assert place.starts_processes


def test_torchrun_tells_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, TORCHELASTIC_RUN_ID="x", RANK=3, WORLD_SIZE=4, LOCAL_RANK=1)
    place = find_process_rank(config(processes_per_machine=2, machines=2))
    assert (place.rank, place.ranks, place.starter) == (3, 4, "torchrun")
    assert not place.is_main
    assert not place.starts_processes
    assert place.environment().global_rank() == 3


def test_slurm_tells_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, SLURM_NTASKS=8, SLURM_NTASKS_PER_NODE=4, SLURM_PROCID=5, SLURM_LOCALID=1)
    set_all(monkeypatch, SLURM_NODEID=1, SLURM_JOB_NAME="training")
    place = find_process_rank(config(processes_per_machine=4, machines=2))
    assert (place.rank, place.ranks, place.starter) == (5, 8, "slurm")
    assert place.environment().global_rank() == 5
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(ConfigError, match="8 tasks without a number for each machine"):
        find_process_rank(config(processes_per_machine=4, machines=2))


@pytest.mark.parametrize("job", ["bash", "interactive"])
def test_an_interactive_slurm_shell_is_one_process(
    monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    set_all(monkeypatch, SLURM_NTASKS=8, SLURM_JOB_NAME=job)
    assert find_process_rank(config(processes_per_machine=2)).starts_processes


@pytest.mark.parametrize("processes", [1, 4])
def test_another_number_of_processes_than_asked_for(
    monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    set_all(monkeypatch, TORCHELASTIC_RUN_ID="x", RANK=0, WORLD_SIZE=2, LOCAL_RANK=0)
    with pytest.raises(
        ConfigError, match=rf"torchrun started 2 processes, but {processes} on each"
    ):
        find_process_rank(config(processes_per_machine=processes))


def test_machines_started_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="2 machines were requested, but MASTER_ADDR is ''"):
        find_process_rank(config(processes_per_machine=2, machines=2))
    set_all(monkeypatch, MASTER_ADDR="head", MASTER_PORT=29500, NODE_RANK=1)
    place = find_process_rank(config(processes_per_machine=2, machines=2))
    assert (place.rank, place.ranks, place.starts_processes) == (2, 4, True)
    set_all(monkeypatch, NODE_RANK=2)
    with pytest.raises(ConfigError, match=r"NODE_RANK is '2'; .*\(0 to 1\)"):
        find_process_rank(config(processes_per_machine=2, machines=2))


def test_what_needs_a_gpu_says_so() -> None:
    with pytest.raises(ConfigError, match=r"`device` is 'cuda', but PyTorch finds no CUDA GPU"):
        find_process_rank(config(device="cuda"))
    with pytest.raises(ConfigError, match=r"`precision` is '16', which needs a CUDA.*bf16 or 32"):
        find_process_rank(config(precision="16"))


def test_gpus_are_taken_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_process_rank(config(processes_per_machine=2, precision="16")).device == "cuda"
    assert find_process_rank(config(processes_per_machine=4, device="cpu")).device == "cpu"
    with pytest.raises(ConfigError, match="4 processes were requested, but this machine has 2"):
        find_process_rank(config(processes_per_machine=4))
    with pytest.raises(ConfigError, match="`precision` is '16'"):
        find_process_rank(config(device="cpu", precision="16"))
