"""Where this process stands among those of a run, and what it computes on.

A run of several processes is started either by ourselves (`launch.py`) or from outside, by
torchrun or Slurm, which tell each process its number in the environment. Knows the environment
and the machine's GPUs, nothing of data or training.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import distributed

from edgecrack.errors import ConfigError
from edgecrack.training.config import TrainingConfig

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

_RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
Starter = Literal["ourselves", "torchrun", "slurm"]


@dataclass(frozen=True)
class ProcessRank:
    """One process among those of a run.

    Attributes:
        rank: its number, or that of the first process that it will start.
        ranks: number of processes of the run.
        starter: who starts the processes.
        device: "cuda" or "cpu".
    """

    rank: int
    ranks: int
    starter: Starter
    device: Literal["cuda", "cpu"]

    @property
    def is_main(self) -> bool:
        """Whether it is the one that prints and writes."""
        return self.rank == 0

    @property
    def starts_processes(self) -> bool:
        """Whether the processes have yet to be started."""
        return self.starter == "ourselves" and self.ranks > 1

    def environment(self) -> ClusterEnvironment:
        """How Lightning finds the other processes, once they are started."""
        # Not above: Lightning takes seconds to import, and only training itself needs it.
        from lightning.fabric.plugins.environments.lightning import LightningEnvironment
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
        from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

        if self.starter == "torchrun":
            return TorchElasticEnvironment()
        if self.starter == "slurm":
            # Lightning's requeueing saves in the middle of an epoch, which is not exact.
            return SLURMEnvironment(auto_requeue=False)
        return LightningEnvironment()


def find_process_rank(config: TrainingConfig) -> ProcessRank:
    """The place of this process in a run.

    Raises:
        ConfigError: the machine has no such GPUs, the precision needs one, or the processes that
            were started from outside are not those that the configuration asks for.
    """
    device = _device(config)
    starter, rank, ranks = _started_from_outside()
    if starter == "ourselves":
        rank, ranks = _node_rank(config) * config.processes_per_machine, config.processes
    elif ranks != config.processes:
        raise ConfigError(
            f"{starter} started {ranks} processes, but {config.processes_per_machine} on each of "
            f"{config.machines} machines were asked for",
            "give `processes_per_machine` with the processes on each machine and `machines`",
        )
    return ProcessRank(rank, ranks, starter, device)


def _device(config: TrainingConfig) -> Literal["cuda", "cpu"]:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.device == "cuda" and not count:
        raise ConfigError(
            "device is 'cuda', but PyTorch finds no CUDA GPU here",
            "give `device` cpu, or install a PyTorch build for CUDA and the GPU's driver",
        )
    if count and config.device != "cpu":
        if config.processes_per_machine > count:
            raise ConfigError(
                f"{config.processes_per_machine} processes were asked for, but this machine has "
                f"{count} GPUs",
                f"give `processes_per_machine` {count}, or `device` cpu",
            )
        return "cuda"
    if config.precision == "16":
        raise ConfigError(
            "precision is '16', which needs a CUDA GPU, but training runs on the CPU",
            "give `precision` bf16 or 32",
        )
    return "cpu"


def _started_from_outside() -> tuple[Starter, int, int]:
    """Who started this process, its number and the number of all; ("ourselves", 0, 1) if no one."""
    environment = os.environ
    if distributed.is_available() and distributed.is_torchelastic_launched():
        return "torchrun", int(environment["RANK"]), int(environment["WORLD_SIZE"])
    # An interactive allocation has the number of tasks set, but runs one process.
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1")))
    if tasks > 1 and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        if "SLURM_NTASKS_PER_NODE" not in environment:
            raise ConfigError(
                f"Slurm started {tasks} tasks without a number for each machine",
                "start through srun, and give srun and sbatch --ntasks-per-node, not --ntasks",
            )
        return "slurm", int(environment["SLURM_PROCID"]), tasks
    return "ourselves", 0, 1


def _node_rank(config: TrainingConfig) -> int:
    """The number of this machine among those of a run that is started by hand on each."""
    if config.machines == 1:
        return 0
    address, port, number = (os.environ.get(name, "") for name in _RENDEZVOUS)
    whole = all(re.fullmatch(r"\d+", value) for value in (port, number))
    if not address or not whole or int(number) >= config.machines:
        found = ", ".join(f"{name} is {os.environ.get(name, '')!r}" for name in _RENDEZVOUS)
        raise ConfigError(
            f"{config.machines} machines were asked for, but {found}",
            "start it on every machine with torchrun or srun, or set MASTER_ADDR, MASTER_PORT "
            f"and NODE_RANK (0 to {config.machines - 1}) there",
        )
    return int(number)
