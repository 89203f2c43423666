"""How fast patches are made, how fast networks consume them, and what a DataLoader would do.

For the paper's patches (48 px, as they are) and a robot's (128 px, changed in every way), on
CFD's training images:

- patches per second of the sampler alone,
- patches per second that a training step takes (widths 8 and 16, bfloat16, AdamW), given the
  same batch again and again,
- patches per second of a DataLoader whose Dataset cuts and changes patches one by one in numpy
  and OpenCV, in the training process and in two workers. It knows fewer changes than the sampler:
  no free turns, motion blur, shadows or JPEG,
- training steps per second with the sampler and with either DataLoader.

All are measured in turns, several times over, and medians are reported.

    python benchmarks/sampler_speed.py [--data DIR] [--device cuda] [--seconds 2] [--repeats 5]
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.data.training_set import ImageSet, load_training_set  # noqa: E402
from edgecrack.model.unet import CrackUNet, NetworkConfig  # noqa: E402
from edgecrack.preprocess import PreprocessConfig  # noqa: E402
from edgecrack.training.config import ROBOT_AUGMENT, PatchConfig  # noqa: E402
from edgecrack.training.losses import segmentation_loss  # noqa: E402
from edgecrack.training.module import to_network_input  # noqa: E402
from edgecrack.training.patch_sampler import DevicePatchSampler  # noqa: E402
from tests.training.slow_patches import SlowPatchSampler  # noqa: E402

Batch = tuple[Tensor, Tensor]

# name: patches, and how many make a batch
RECIPES = {
    "paper_48px": (PatchConfig(48, 0.6), 32),
    "robot_128px": (PatchConfig(128, 0.6, ROBOT_AUGMENT), 16),
}
WIDTHS = (8, 16)
WORKERS = (0, 2)
_PREFETCHED_BATCHES = 2  # per worker, by PyTorch's default


class _OneByOne(Dataset[Batch]):
    """Patches of the slow sampler, one per item."""

    def __init__(self, images: ImageSet, config: PatchConfig) -> None:
        self._sampler = SlowPatchSampler(images.images, images.masks, config)

    def __len__(self) -> int:
        return 100_000_000

    def __getitem__(self, index: int) -> Batch:
        patches, masks = self._sampler.batch(index, 1)
        return torch.from_numpy(patches[0]), torch.from_numpy(masks[0])


def from_sampler(images: ImageSet, config: PatchConfig, batch: int, device: str) -> Iterator[Batch]:
    sampler = DevicePatchSampler(images.images, images.masks, config, device=device)
    return (sampler.batch(step, batch) for step in itertools.count())


def from_loader(
    images: ImageSet, config: PatchConfig, batch: int, device: str, workers: int
) -> Iterator[Batch]:
    dataset = _OneByOne(images, config)
    loader = DataLoader(
        dataset,
        batch,
        sampler=range(len(dataset)),
        num_workers=workers,
        pin_memory=device != "cpu",
    )
    return ((patches.to(device), masks.to(device)) for patches, masks in loader)


def training_step(width: int, device: str) -> Callable[[Batch], None]:
    """A step of training as `edgecrack train` takes it, on one batch."""
    torch.manual_seed(0)
    network = CrackUNet(NetworkConfig(width=width)).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step(batch: Batch) -> None:
        patches, masks = batch
        with torch.autocast(device, torch.bfloat16):
            loss = segmentation_loss(network(to_network_input(patches)), masks[:, 0])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return step


def per_second(work: Callable[[], object], seconds: float, device: str, untimed: int) -> float:
    """How often work is done in a second, after doing it a few times untimed."""
    for _ in range(untimed):
        work()
    _wait(device)
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        work()
        count += 1
        if device != "cpu" and count % 16 == 0:
            _wait(device)  # or the queue would hide how long work takes
    _wait(device)
    return count / (time.perf_counter() - begin)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def works(
    images: ImageSet, config: PatchConfig, batch: int, device: str
) -> dict[str, tuple[Callable[[], object], int]]:
    """Everything that is measured: what to do, and how often untimed beforehand."""
    sources = {"sampler": from_sampler(images, config, batch, device)}
    for workers in WORKERS:
        name = f"loader_{workers}_workers"
        sources[name] = from_loader(images, config, batch, device, workers)
    waiting = _PREFETCHED_BATCHES * max(WORKERS) + 1
    found: dict[str, tuple[Callable[[], object], int]] = {
        name: (lambda source=source: next(source), waiting)  # type: ignore[misc]
        for name, source in sources.items()
    }
    resident = next(from_sampler(images, config, batch, device))
    for width in WIDTHS:
        step = training_step(width, device)
        found[f"network_{width}"] = (lambda step=step: step(resident), 2)  # type: ignore[misc]
        for name, source in sources.items():
            found[f"training_{width}_{name}"] = (
                lambda step=step, source=source: step(next(source)),  # type: ignore[misc]
                waiting,
            )
    return found


def measure(
    images: ImageSet, config: PatchConfig, batch: int, options: argparse.Namespace
) -> dict[str, Any]:
    todo = works(images, config, batch, options.device)
    rates: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(options.repeats):
        for name, (work, untimed) in todo.items():
            rates[name].append(per_second(work, options.seconds, options.device, untimed))
    median = {name: statistics.median(values) for name, values in rates.items()}
    names = ["sampler", *(f"loader_{workers}_workers" for workers in WORKERS)]
    return {
        "patch_px": config.patch_px,
        "batch": batch,
        "patches_per_second": {
            name: round(batch * median[name], 1)
            for name in (*names, *(f"network_{width}" for width in WIDTHS))
        },
        "sampler_over_network": {
            f"width_{width}": round(median["sampler"] / median[f"network_{width}"], 1)
            for width in WIDTHS
        },
        "training_steps_per_second": {
            f"width_{width}": {
                "batch at hand": round(median[f"network_{width}"], 2),
                **{name: round(median[f"training_{width}_{name}"], 2) for name in names},
            }
            for width in WIDTHS
        },
        "runs_per_second": {
            name: [round(value, 2) for value in values] for name, values in rates.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--result", default="sampler_speed")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = str(options.data / "cfd")
    images = load_training_set([folder], PreprocessConfig(), seed=0, hold_out=0.0).train
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "threads": options.threads,
        "images": len(images.images),
        "seconds": options.seconds,
        "repeats": options.repeats,
    }
    for name, (config, batch) in RECIPES.items():
        figures[name] = measure(images, config, batch, options)
        print(name, {key: value for key, value in figures[name].items() if "runs" not in key})
    write_result(options.result, figures, "torch", "numpy", "opencv-python-headless")


if __name__ == "__main__":
    main()
