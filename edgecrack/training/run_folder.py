"""The folder of a run: who may write into it, and what is checked before anything is read.

It contains `config.yaml`, `best.safetensors` and `last.safetensors` with their sidecars, `logs/`
(CSV) and `curves.png`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgecrack.artifacts import ModelSpec
from edgecrack.data.layouts import image_files
from edgecrack.data.patches import EpochPlan
from edgecrack.data.sources import DataSource, parse_sources
from edgecrack.errors import ConfigError, ModelFileError, TrainingError
from edgecrack.files import make_folder, write_atomic
from edgecrack.model.unet import CrackUNet
from edgecrack.training.checkpoints import (
    SUFFIX,
    load_network,
    read_description,
    repair_sidecar,
    whole_epochs,
)
from edgecrack.training.config import TrainingConfig
from edgecrack.training.presets import to_yaml
from edgecrack.training.run_lock import only_run_in

# Settings that recipes of earlier versions lack, because there was no choice.
_UNSAID = {"loss dice denominator": "sums", "loss label smoothing": 0.0}


def check_same_run(saved: ModelSpec, config: TrainingConfig) -> None:
    """Check that a checkpoint can be resumed with a configuration.

    Raises:
        TrainingError: it has another network, or was made with other data or settings. Only the
            number of epochs may differ.
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
    # The length of a run may change, but nothing else that decides its steps.
    found_leaves = {**_UNSAID, **_leaves(recipe)}
    for name, asked in _leaves(config.recipe()).items():
        if name in found_leaves and name != "epochs":
            pairs.append((name, found_leaves[name], asked))
    for name, found, asked in pairs:
        if found != asked:
            raise TrainingError(
                f"the checkpoint has {name} {found}, but {asked} was requested",
                f"give {_option(name, found)}, or another `out`",
            )


def _option(name: str, value: Any) -> str:
    """The option that makes a setting the checkpoint's.

    A run's own `config.yaml` may be older than a preprocessing setting and then lack it.
    """
    group, _, setting = name.partition(" ")
    if group == "preprocess":
        return f"`preprocess.{setting.replace(' ', '_')}`={value}"
    return "the run's own options"


def _leaves(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Every value under a readable name, as JSON returns it (pairs are lists)."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{path} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            found |= _leaves(value, name)
        else:
            found[name] = json.loads(json.dumps(value))
    return found


BEST, LAST = "best", "last"


def last_checkpoint(config: TrainingConfig) -> Path:
    """The checkpoint from which a run is resumed."""
    return config.out / f"{LAST}{SUFFIX}"


@contextmanager
def own_folder(config: TrainingConfig) -> Iterator[None]:
    """Check a run, then reserve its folder for the duration of the block.

    Raises:
        ConfigError: another run is writing into the folder, or as `check_run`.
        OutputError: it cannot be written into.
        EdgecrackError: as `check_run`.
    """
    check_place(config)
    if not config.out.is_dir():
        check_run(config)  # so that an invalid run leaves no folder
        make_folder(config.out)
    with only_run_in(config.out):
        check_run(config)  # another run may have finished meanwhile
        claim_folder(config)
        yield


def check_place(config: TrainingConfig) -> None:
    """Refuse to write into a dataset.

    Raises:
        ConfigError: `out` is a dataset's folder, or one of its image or label folders.
    """
    if config.resume:
        return
    out = config.out.resolve()
    for source in parse_sources(config.data):
        folder = None if source.folder is None else source.folder.resolve()
        if folder is None or (out != folder and folder not in out.parents):
            continue
        inside = [path for path in (out, *out.parents) if folder in path.parents and path.is_dir()]
        full = next((path for path in inside if image_files(path) or any(path.glob("*.mat"))), None)
        if out == folder or full is not None:
            raise ConfigError(
                f"{config.out} is {'the' if out == folder else 'among the files of the'} dataset "
                f"{source.folder}",
                "give another `out`, e.g. runs/NAME",
            )


def check_run(config: TrainingConfig) -> None:
    """Refuse two runs in one folder, a missing run to resume, and unsuitable checkpoints.

    Raises:
        ConfigError: the folder contains another run, there is nothing to resume, more epochs are
            done than were requested, or data and plan do not match.
        TrainingError: the run to resume is another one, or the teacher needs another
            preprocessing.
        ModelFileError: a checkpoint is missing, damaged, or another network's.
    """
    sources = parse_sources(config.data)
    if config.plan:
        _check_planned(config, sources)
    last = last_checkpoint(config)
    if config.resume:
        if not last.is_file():
            raise ConfigError(f"there is no {last} to resume from", "leave out `resume`")
        check_same_run(_description(last), config)
        done = whole_epochs(last)
        if done > config.epochs:
            raise ConfigError(
                f"{last} has completed {done} epochs, but {config.epochs} were requested",
                f"give `epochs` {done} or more",
            )
    elif last.exists():
        raise ConfigError(
            f"{config.out} already contains a run",
            "add `resume` to continue it, or give another `out`",
        )
    elif config.init is not None:
        initial_network(config, config.init)
    if config.teacher is not None:
        teaching_network(config, config.teacher)


def _description(last: Path) -> ModelSpec:
    """Description of the checkpoint to resume; if it is damaged, the error names the run's best."""
    try:
        return read_description(last)
    except ModelFileError as error:
        best = last.with_name(f"{BEST}{SUFFIX}")
        if not best.is_file():
            raise
        raise ModelFileError(
            error.problem,
            f"{best} can still be used, or start a new run with `init` and another `out`",
        ) from error


def _check_planned(config: TrainingConfig, sources: Sequence[DataSource]) -> None:
    EpochPlan(config.plan).ordered([source.name for source in sources])
    for source in sources:
        if source.weight is not None:
            raise ConfigError(
                f"the data source {source.name!r} has the weight {source.weight:g}, but the plan "
                "counts its patches",
                "leave out @WEIGHT, or give `plan`=[]",
            )


def claim_folder(config: TrainingConfig) -> None:
    """Claim the folder for a run, after `check_run`, and repair what a killed run left behind.

    Raises:
        OutputError: it cannot be written into.
        ModelFileError: the checkpoint to resume is damaged.
    """
    make_folder(config.out)
    for partial in config.out.glob(f".edgecrack-*{SUFFIX}"):
        partial.unlink(missing_ok=True)
    for name in (BEST, LAST):
        checkpoint = config.out / f"{name}{SUFFIX}"
        if config.resume and checkpoint.is_file():
            repair_sidecar(checkpoint)
    write_atomic(config.out / "config.yaml", to_yaml(config))


def initial_network(config: TrainingConfig, path: Path) -> CrackUNet:
    """The network whose weights a run starts from.

    Raises:
        ModelFileError: the checkpoint is missing, damaged, or of another network.
    """
    network, spec = load_network(path)
    wanted = config.network
    for name, option, found, asked in (
        ("width", "`width`", spec.width, wanted.width),
        ("pooling", "`pooling`", spec.pooling, wanted.pooling),
        ("gate bias", "`network.gate_bias`=", spec.gate_bias, wanted.gate_bias),
    ):
        if found != asked:
            value = str(found).lower()
            given = f"{option}{value}" if option.endswith("=") else f"{option} {value}"
            raise ModelFileError(
                f"{path} has {name} {found}, but {asked} was requested",
                f"give {given}, or another `init`",
            )
    return network


def teaching_network(config: TrainingConfig, path: Path) -> tuple[CrackUNet, ModelSpec]:
    """The teacher network and its description.

    Raises:
        ModelFileError: the checkpoint is missing or damaged.
        TrainingError: its preprocessing differs from the run's.
    """
    network, spec = load_network(path)
    found, asked = spec.preprocess.to_dict(), config.preprocess.to_dict()
    for name, value in found.items():
        if value != asked[name]:
            raise TrainingError(
                f"the teacher {path} was trained with {name} {value}, the run uses {asked[name]}",
                f"give `preprocess.{name}`={value}, or another teacher",
            )
    return network, spec
