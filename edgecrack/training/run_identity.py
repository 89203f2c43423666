"""Whether a checkpoint is of the run that is to go on with it.

Knows configurations and descriptions of models, nothing of files or weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgecrack.artifacts import ModelSpec
from edgecrack.errors import TrainingError
from edgecrack.training.config import TrainingConfig

# What recipes of earlier versions leave unsaid, because there was no choice.
_UNSAID = {"loss dice denominator": "sums", "loss label smoothing": 0.0}


def check_same_run(saved: ModelSpec, config: TrainingConfig) -> None:
    """Check that a checkpoint can be gone on with under a configuration.

    Raises:
        TrainingError: it holds another network, or was made with other data or settings. Only
            the number of epochs may differ.
    """
    own, recipe = config.network, saved.extra.get("training", {})
    pairs: list[tuple[str, Any, Any]] = [
        ("width", saved.width, own.width),
        ("pooling", saved.pooling, own.pooling),
        ("gate bias", saved.gate_bias, own.gate_bias),
    ]
    known = _leaves(saved.preprocess.to_dict(), "preprocess")
    for name, asked in _leaves(config.preprocess.to_dict(), "preprocess").items():
        pairs.append((name, known[name], asked))
    # The length of a run may be changed, and nothing else that decides its steps.
    found_leaves = {**_UNSAID, **_leaves(recipe)}
    for name, asked in _leaves(config.recipe()).items():
        if name in found_leaves and name != "epochs":
            pairs.append((name, found_leaves[name], asked))
    for name, found, asked in pairs:
        if found != asked:
            raise TrainingError(
                f"the checkpoint has {name} {found}, but {asked} was asked for",
                f"give {_option(name, found)}, or another `out`",
            )


def _option(name: str, value: Any) -> str:
    """What to give so that a setting is the checkpoint's.

    A run's own `config.yaml` may be older than a setting of the preprocessing, and then says
    nothing of it.
    """
    group, _, setting = name.partition(" ")
    if group == "preprocess":
        return f"`preprocess.{setting.replace(' ', '_')}`={value}"
    return "the run's own options"


def _leaves(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Every single value under a readable name, as it comes back from JSON (pairs are lists)."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{path} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            found |= _leaves(value, name)
        else:
            found[name] = json.loads(json.dumps(value))
    return found
