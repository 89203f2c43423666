"""The processes of a run: the rank and device of this one, and sums over all of them.

A run of several processes is started by `launch.py` or from outside, by torchrun or Slurm, which
pass each process its rank in the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, distributed

from edgecrack.errors import ConfigError
from edgecrack.metrics import THRESHOLDS, ThresholdCounts, Tolerance
from edgecrack.training.config import TrainingConfig

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment


_RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
Starter = Literal["ourselves", "torchrun", "slurm"]


@dataclass(frozen=True)
class ProcessRank:
    """One of the processes of a run.

    Attributes:
        rank: its rank, or that of the first process that it will start.
        ranks: number of processes in the run.
        starter: what starts the processes.
        device: "cuda" or "cpu".
    """

    rank: int
    ranks: int
    starter: Starter
    device: Literal["cuda", "cpu"]

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    @property
    def starts_processes(self) -> bool:
        """Whether the processes have yet to be started."""
        return self.starter == "ourselves" and self.ranks > 1

    def environment(self) -> ClusterEnvironment:
        """How Lightning finds the other processes."""
        # Imported here: Lightning takes seconds to import, and only training needs it.
        from lightning.fabric.plugins.environments.lightning import LightningEnvironment
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
        from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

        if self.starter == "torchrun":
            return TorchElasticEnvironment()
        if self.starter == "slurm":
            # Lightning's requeueing saves mid-epoch, which does not resume exactly.
            return SLURMEnvironment(auto_requeue=False)
        return LightningEnvironment()


def find_process_rank(config: TrainingConfig) -> ProcessRank:
    """The rank of this process in a run.

    Raises:
        ConfigError: the machine lacks the GPUs, the precision needs one, or the number of processes
            started from outside is not the configured one.
    """
    device = _device(config)
    starter, rank, ranks = _started_from_outside()
    if starter == "ourselves":
        rank, ranks = _node_rank(config) * config.processes_per_machine, config.processes
    elif ranks != config.processes:
        raise ConfigError(
            f"{starter} started {ranks} processes, but {config.processes_per_machine} on each of "
            f"{config.machines} machines were requested",
            "set `processes_per_machine` to the processes on each machine, and `machines`",
        )
    return ProcessRank(rank, ranks, starter, device)


def _device(config: TrainingConfig) -> Literal["cuda", "cpu"]:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.device == "cuda" and not count:
        raise ConfigError(
            "`device` is 'cuda', but PyTorch finds no CUDA GPU",
            "give `device` cpu, or install a PyTorch build for CUDA and the GPU's driver",
        )
    if count and config.device != "cpu":
        if config.processes_per_machine > count:
            raise ConfigError(
                f"{config.processes_per_machine} processes were requested, but this machine has "
                f"{count} GPUs",
                f"give `processes_per_machine` {count}, or `device` cpu",
            )
        return "cuda"
    if config.precision == "16":
        raise ConfigError(
            "`precision` is '16', which needs a CUDA GPU, but training runs on the CPU",
            "give `precision` bf16 or 32",
        )
    return "cpu"


def _started_from_outside() -> tuple[Starter, int, int]:
    """What started this process, its rank and the number of ranks; else ("ourselves", 0, 1)."""
    environment = os.environ
    if distributed.is_available() and distributed.is_torchelastic_launched():
        return "torchrun", int(environment["RANK"]), int(environment["WORLD_SIZE"])
    # An interactive allocation sets the number of tasks, but runs one process.
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1")))
    if tasks > 1 and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        if "SLURM_NTASKS_PER_NODE" not in environment:
            raise ConfigError(
                f"Slurm started {tasks} tasks without a number per machine",
                "start through srun, and give srun and sbatch --ntasks-per-node, not --ntasks",
            )
        return "slurm", int(environment["SLURM_PROCID"]), tasks
    return "ourselves", 0, 1


def _node_rank(config: TrainingConfig) -> int:
    """The rank of this machine in a run that is started by hand on each machine."""
    if config.machines == 1:
        return 0
    address, port, number = (os.environ.get(name, "") for name in _RENDEZVOUS)
    whole = all(re.fullmatch(r"\d+", value) for value in (port, number))
    if not address or not whole or int(number) >= config.machines:
        found = ", ".join(f"{name} is {os.environ.get(name, '')!r}" for name in _RENDEZVOUS)
        raise ConfigError(
            f"{config.machines} machines were requested, but {found}",
            "start on every machine with torchrun or srun, or set MASTER_ADDR, MASTER_PORT "
            f"and NODE_RANK (0 to {config.machines - 1}) there",
        )
    return int(number)


_FIELDS = ("predicted", "predicted_matched", "truth", "truth_matched")


def process_count() -> int:
    """Number of connected processes; 1 without any connection."""
    return distributed.get_world_size() if _connected() else 1


def _connected() -> bool:
    return distributed.is_available() and distributed.is_initialized()


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        # Every process has this gradient of the whole batch's loss and derives the part of its
        # own patches. The sum of the parts is wanted, but weight gradients are averaged over
        # processes, hence the factor.
        return gradient * distributed.get_world_size()


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum a tensor over all processes, gradient included.

    With weight gradients averaged over processes, as `DistributedDataParallel` does, a loss of such
    sums has the gradient that one process with all patches would have.

    Returns:
        The sum, the same in every process.
    """
    if process_count() == 1:
        return values
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def pool_over_processes(
    counts: Sequence[ThresholdCounts], tolerance: Tolerance, device: torch.device | str = "cpu"
) -> ThresholdCounts:
    """Sum the counts of all images over all processes; exact, since they are integers.

    Args:
        counts: one item per image of this process; may be empty.
        tolerance: of the counts.
        device: on which this process can exchange tensors.
    """
    sums = np.zeros((len(_FIELDS), len(THRESHOLDS)), dtype=np.int64)
    for item in counts:
        sums += np.stack([getattr(item, name) for name in _FIELDS])
    if process_count() > 1:
        total = torch.from_numpy(sums).to(device)
        distributed.all_reduce(total)
        sums = total.cpu().numpy()
    return ThresholdCounts(tolerance, *sums)
