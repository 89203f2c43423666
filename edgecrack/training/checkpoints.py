"""Checkpoints as safetensors: weights and training state in one file, without pickle.

The tensors of Lightning's checkpoint are stored as they are; everything else is JSON in the file's
header. One file, replaced atomically, is always complete. The sidecar beside it repeats the model's
description for readers that need only that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from edgecrack.artifacts import (
    ModelFile,
    ModelSpec,
    read_model_file,
    read_verified_spec,
    write_sidecar,
)
from edgecrack.errors import ConfigError, ModelFileError, first_line
from edgecrack.files import write_atomic
from edgecrack.model.unet import CrackUNet, NetworkConfig
from edgecrack.outside_text import parse_json

SPEC_KEY = "edgecrack"
NETWORK_PREFIX = "network."
SUFFIX = ".safetensors"
_HEADER = "edgecrack.training_state"
_MOST_LEVELS = 300
_RETRAIN = "train again, or copy the file again from where it was made"


def flatten(tree: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """Move the tensors of a nested structure into `tensors`; return the rest as JSON values.

    Raises:
        TypeError: the structure contains something that is neither a tensor nor plain data.
    """
    if isinstance(tree, Tensor):
        while path in tensors:  # {"a": {"b": x}, "a/b": y} gives one path twice
            path += "'"
        # Copied, because safetensors refuses two names for one storage.
        tensors[path] = tree.detach().cpu().clone().contiguous()
        return {"__tensor__": path}
    if isinstance(tree, dict):
        pairs = [
            [flatten(key, tensors), flatten(value, tensors, f"{path}/{key}" if path else str(key))]
            for key, value in tree.items()
        ]
        return {"__dict__": pairs}
    if isinstance(tree, (list, tuple)):
        items = [flatten(item, tensors, f"{path}/{index}") for index, item in enumerate(tree)]
        return items if isinstance(tree, list) else {"__tuple__": items}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, Path):
        return str(tree)
    raise TypeError(f"a checkpoint cannot hold {type(tree).__name__} at {path!r}")


def unflatten(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `flatten`."""
    if isinstance(tree, list):
        return [unflatten(item, tensors) for item in tree]
    if isinstance(tree, dict):
        if "__tensor__" in tree:
            return tensors[tree["__tensor__"]]
        if "__tuple__" in tree:
            return tuple(unflatten(item, tensors) for item in tree["__tuple__"])
        return {unflatten(k, tensors): unflatten(v, tensors) for k, v in tree["__dict__"]}
    return tree


class SafetensorsCheckpointIO(CheckpointIO):
    """Lets Lightning save and resume without pickle."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint and, where it describes a model, its sidecar.

        Raises:
            OutputError: the file cannot be written.
        """
        tensors: dict[str, Tensor] = {}
        state = flatten(checkpoint, tensors)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, tensors, state)
        if SPEC_KEY in checkpoint:
            write_sidecar(target, ModelSpec.from_dict(checkpoint[SPEC_KEY]))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint with all its training state.

        Raises:
            ModelFileError: the file is damaged or has no training state.
        """
        header, tensors = _read(Path(path))
        if header is None:
            raise ModelFileError(f"{path} has no training state", "resume from last.safetensors")
        try:
            loaded: dict[str, Any] = dict(unflatten(header, tensors))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"the header of {path} is damaged", _RETRAIN) from error
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint and its sidecar."""
        for suffix in ("", ".json"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)


def _write(path: Path, tensors: dict[str, Tensor], state: Any) -> None:
    # The library's own writer creates files that only their owner can read.
    write_atomic(path, save(tensors, metadata={_HEADER: json.dumps(state)}))


def strip_training_state(path: Path) -> ModelSpec:
    """Keep only the weights and the description of a checkpoint, a quarter of its size.

    Returns:
        The model's description with the new file's hash.

    Raises:
        ModelFileError: the file is damaged or has no model description.
    """
    checkpoint = _load_described(path)
    names = ("state_dict", SPEC_KEY, "epoch", "global_step")
    lacking = [name for name in names if name not in checkpoint]
    if lacking:
        raise ModelFileError(f"{path} lacks {', '.join(lacking)}", _RETRAIN)
    kept = {name: checkpoint[name] for name in names}
    SafetensorsCheckpointIO().save_checkpoint(kept, path)
    return read_verified_spec(path)


def repair_sidecar(path: Path) -> None:
    """Rewrite a checkpoint's sidecar if it does not match.

    A run killed between the two writes leaves a new checkpoint beside an old sidecar.

    Raises:
        ModelFileError: the checkpoint is damaged or has no model description.
        OutputError: the sidecar cannot be written.
    """
    try:
        read_verified_spec(path)
    except ModelFileError:
        write_sidecar(path, read_description(path))


def read_description(path: Path) -> ModelSpec:
    """The description inside a checkpoint, with or without a sidecar.

    Raises:
        ModelFileError: the file is damaged or has no model description.
    """
    return ModelSpec.from_dict(_load_described(path)[SPEC_KEY])


def whole_epochs(path: Path) -> int:
    """Epochs that the run of a checkpoint has completed.

    Raises:
        ModelFileError: the file is damaged, has no model description, or is not a run's.
    """
    epoch = _load_described(path).get("epoch")
    if not isinstance(epoch, int):
        raise ModelFileError(f"{path} does not name its epoch", "resume from last.safetensors")
    return epoch + 1


def _load_described(path: Path) -> dict[str, Any]:
    checkpoint = SafetensorsCheckpointIO().load_checkpoint(path)
    if not isinstance(checkpoint.get(SPEC_KEY), dict):
        raise ModelFileError(f"{path} has no model description", _RETRAIN)
    return checkpoint


def _read(path: Path) -> tuple[Any, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = _state_of(metadata[_HEADER]) if _HEADER in metadata else None
    # The library raises KeyError for an unknown dtype, torch its own error for an absurd shape.
    except (SafetensorError, OSError, ValueError, LookupError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    return header, tensors


def _state_of(text: str) -> Any:
    # A state may contain an infinite best score, and nests as deep as Lightning's.
    return parse_json(text, most_levels=_MOST_LEVELS, finite=False)


def _unreadable(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(f"cannot read checkpoint {path}: {first_line(error)}", _RETRAIN)


def save_weights(weights: Mapping[str, Tensor], spec: ModelSpec, target: Path) -> None:
    """Write a network's weights as a checkpoint without training state, and its sidecar.

    Args:
        weights: by the names of `CrackUNet.state_dict`.
        spec: description of the checkpoint.
        target: the file to write.

    Raises:
        OutputError: it cannot be written.
    """
    state = {f"{NETWORK_PREFIX}{name}": value for name, value in weights.items()}
    SafetensorsCheckpointIO().save_checkpoint(
        {"state_dict": state, SPEC_KEY: spec.to_dict(), "epoch": 0, "global_step": 0}, target
    )


def load_network(path: Path | ModelFile) -> tuple[CrackUNet, ModelSpec]:
    """The network of a checkpoint, in evaluation mode, and its description.

    Raises:
        ModelFileError: the file or its sidecar is missing or damaged, they do not match, or the
            weights are not those of the network that the sidecar describes.
    """
    model = read_model_file(path)
    path, spec = model.path, model.spec
    if spec.kind != "checkpoint":
        raise ModelFileError(
            f"{path} is a model of kind {spec.kind!r}", "give a checkpoint (*.safetensors)"
        )
    try:
        tensors = load(model.content)
    except (SafetensorError, ValueError, LookupError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    prefix = f"state_dict/{NETWORK_PREFIX}"
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    try:
        network = CrackUNet(
            NetworkConfig(width=spec.width, pooling=spec.pooling, gate_bias=spec.gate_bias)
        )
        network.load_state_dict(weights)
    except (ConfigError, RuntimeError) as error:
        last_line = str(error).strip().splitlines()[-1].strip().replace("`", "")
        raise ModelFileError(
            f"{path} does not contain a {spec.pooling} network of width {spec.width} ({last_line})",
            _RETRAIN,
        ) from error
    if not all(torch.isfinite(tensor).all() for tensor in network.state_dict().values()):
        raise ModelFileError(f"{path} contains weights that are not finite", _RETRAIN)
    return network.eval(), spec
