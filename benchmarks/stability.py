"""Which warm-up and clipping keep a network without normalisation layers from diverging.

Trains widths 8, 16 and 32 from five seeds with each recipe for a few hundred steps of the paper's
patches of CFD, and counts the runs whose loss became infinite or not a number, and those that
collapsed: at the end they find no crack in the patches they were trained on (best F1 below 0.1).

    python benchmarks/stability.py [--data DIR] [--steps 200] [--widths 8,16,32] [--seeds 5]
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.data.training_set import load_training_set  # noqa: E402
from edgecrack.model.unet import CrackUNet, NetworkConfig  # noqa: E402
from edgecrack.preprocess import PreprocessConfig  # noqa: E402
from edgecrack.training.config import LossConfig, PatchConfig  # noqa: E402
from edgecrack.training.losses import segmentation_loss  # noqa: E402
from edgecrack.training.module import to_network_input  # noqa: E402
from edgecrack.training.patch_sampler import DevicePatchSampler  # noqa: E402

# name: optimizer, learning rate, warm-up steps, clip norm
RECIPES: dict[str, tuple[str, float, int, float]] = {
    "AdamW 2e-3, warm-up 100, clip 1": ("adamw", 2e-3, 100, 1.0),
    "AdamW 2e-3, warm-up 100": ("adamw", 2e-3, 100, 0.0),
    "AdamW 2e-3, clip 1": ("adamw", 2e-3, 0, 1.0),
    "AdamW 2e-3": ("adamw", 2e-3, 0, 0.0),
    "AdamW 8e-3, warm-up 100, clip 1": ("adamw", 8e-3, 100, 1.0),
    "SGD 1e-3, Dice of sums": ("sgd", 1e-3, 0, 0.0),
    "SGD 1e-3 (paper)": ("sgd", 1e-3, 0, 0.0),
    "SGD 1e-3, warm-up 100, clip 1": ("sgd", 1e-3, 100, 1.0),
}
_BATCH = 32
_LOSSES = {"SGD 1e-3 (paper)": LossConfig(dice_denominator="squares")}


def run(
    sampler: DevicePatchSampler, recipe: str, width: int, seed: int, steps: int
) -> dict[str, Any]:
    """One short training run: its losses and whether it ended well."""
    name, rate, warmup, clip = RECIPES[recipe]
    torch.manual_seed(seed)
    network = CrackUNet(NetworkConfig(width=width)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = list(network.parameters())
    optimizer: torch.optim.Optimizer
    if name == "sgd":
        optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-4)
    losses: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / max(1, warmup))
        patches, masks = sampler.batch(seed * steps + step, _BATCH)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(to_network_input(patches))
        config = _LOSSES.get(recipe, LossConfig())
        loss = segmentation_loss(logits.float(), masks[:, 0], config)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            break
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip or math.inf)
        if not torch.isfinite(norm):
            losses.append(math.nan)
            break
        optimizer.step()
    finite = math.isfinite(losses[-1])
    return {
        "finite": finite,
        "first_loss": losses[0],
        "largest_loss": max(filter(math.isfinite, losses), default=math.inf),
        "final_loss": statistics.mean(losses[-20:]) if finite else None,
        "f1": best_f1(network, sampler, seed * steps) if finite else 0.0,
    }


@torch.no_grad()
def best_f1(network: CrackUNet, sampler: DevicePatchSampler, step: int) -> float:
    """Best strict F1 over thresholds on four of the batches that were trained on."""
    drawn = [sampler.batch(step + number, _BATCH) for number in range(4)]
    truth = torch.cat([masks[:, 0] for _, masks in drawn]) > 0
    logits = torch.cat([network(to_network_input(patches)) for patches, _ in drawn])
    probability = torch.softmax(logits.float(), 1)[:, 1]
    found = []
    for threshold in torch.arange(0.05, 1.0, 0.05):
        predicted = probability >= threshold
        found.append(2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()).clamp(min=1))
    return float(max(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--widths", default="8,16,32")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipes", default="", help="names, separated by semicolons")
    parser.add_argument("--result", default="stability")
    options = parser.parse_args()
    folder = str(options.data / "cfd")
    images = load_training_set([folder], PreprocessConfig(), seed=0, hold_out=0.0).train
    sampler = DevicePatchSampler(images.images, images.masks, PatchConfig(patch_px=48))
    rows: list[dict[str, Any]] = []
    chosen = options.recipes.split(";") if options.recipes else list(RECIPES)
    for recipe in chosen:
        for width in map(int, options.widths.split(",")):
            runs = [
                run(sampler, recipe, width, seed, options.steps) for seed in range(options.seeds)
            ]
            rows.append(
                {
                    "recipe": recipe,
                    "width": width,
                    "not_finite": sum(not item["finite"] for item in runs),
                    "collapsed": sum(item["finite"] and item["f1"] < 0.1 for item in runs),
                    "largest_loss": max(item["largest_loss"] for item in runs),
                    "runs": runs,
                }
            )
            print({key: value for key, value in rows[-1].items() if key != "runs"}, flush=True)
    figures = {"steps": options.steps, "seeds": options.seeds, "rows": rows}
    write_result(options.result, figures, "torch")


if __name__ == "__main__":
    main()
