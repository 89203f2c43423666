"""Whether a checkpoint is of the run that is to go on with it.

Knows configurations and descriptions of models, nothing of files or weights.

The folder of a run: who may write into it, and what must be right before anything is read.

It holds `config.yaml`, `best.safetensors` and `last.safetensors` with their sidecars, `logs/`
(CSV) and `curves.png`. Knows files and configurations, nothing of data or training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgecrack.artifacts import ModelSpec
from edgecrack.data.pairing import image_files
from edgecrack.data.plan import EpochPlan
from edgecrack.data.sources import DataSource, parse_sources
from edgecrack.errors import ConfigError, ModelFileError, TrainingError
from edgecrack.files import make_folder, write_atomic
from edgecrack.model.unet import CrackUNet
from edgecrack.training.checkpoints import (
    SUFFIX,
    load_network,
    mend_sidecar,
    read_description,
    whole_epochs,
)
from edgecrack.training.config import TrainingConfig
from edgecrack.training.presets import to_yaml
from edgecrack.training.run_lock import only_run_in

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


BEST, LAST = "best", "last"


def last_checkpoint(config: TrainingConfig) -> Path:
    """The checkpoint from which a run is resumed."""
    return config.out / f"{LAST}{SUFFIX}"


@contextmanager
def own_folder(config: TrainingConfig) -> Iterator[None]:
    """Check a run, then keep its folder for it alone for the time of the block.

    Raises:
        ConfigError: another run is writing into the folder, or as `check_run`.
        OutputError: it cannot be written into.
        EdgecrackError: as `check_run`.
    """
    check_place(config)
    if not config.out.is_dir():
        check_run(config)  # so that a run that cannot be leaves no folder
        make_folder(config.out)
    with only_run_in(config.out):
        check_run(config)  # what another run may have left until now
        claim_folder(config)
        yield


def check_place(config: TrainingConfig) -> None:
    """Refuse to write among the files of a dataset.

    Raises:
        ConfigError: `out` is a dataset's folder, or in one of its folders of images or labels.
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
    """Refuse to mix two runs in one folder, to resume what is not there, and unfit checkpoints.

    Raises:
        ConfigError: the folder holds another run, there is nothing to resume, more epochs are
            done than were asked for, or data and plan do not go together.
        TrainingError: what is to be resumed is another run's, or the teacher wants frames that
            are prepared otherwise.
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
                f"{last} has {done} epochs behind it, but {config.epochs} were asked for",
                f"give `epochs` {done} or more",
            )
    elif last.exists():
        raise ConfigError(
            f"{config.out} already holds a run", "add `resume` to go on, or give another `out`"
        )
    elif config.init is not None:
        initial_network(config, config.init)
    if config.teacher is not None:
        teaching_network(config, config.teacher)


def _description(last: Path) -> ModelSpec:
    """That of a checkpoint to resume from, whose loss is not the loss of the run's best."""
    try:
        return read_description(last)
    except ModelFileError as error:
        best = last.with_name(f"{BEST}{SUFFIX}")
        if not best.is_file():
            raise
        raise ModelFileError(
            error.problem,
            f"{best} is still there to be used, or to start a new run from with `init` and "
            "another `out`",
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
    """Make the folder a run's own, after `check_run`; what a killed run left half-done is mended.

    Raises:
        OutputError: it cannot be written into.
        ModelFileError: the checkpoint to resume from is damaged.
    """
    make_folder(config.out)
    for partial in config.out.glob(f".edgecrack-*{SUFFIX}"):
        partial.unlink(missing_ok=True)
    for name in (BEST, LAST):
        checkpoint = config.out / f"{name}{SUFFIX}"
        if config.resume and checkpoint.is_file():
            mend_sidecar(checkpoint)
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
                f"{path} has {name} {found}, but {asked} was asked for",
                f"give {given}, or another `init`",
            )
    return network


def teaching_network(config: TrainingConfig, path: Path) -> tuple[CrackUNet, ModelSpec]:
    """The network that teaches, and its description.

    Raises:
        ModelFileError: the checkpoint is missing or damaged.
        TrainingError: it knows frames that are prepared otherwise than the run's.
    """
    network, spec = load_network(path)
    found, asked = spec.preprocess.to_dict(), config.preprocess.to_dict()
    for name, value in found.items():
        if value != asked[name]:
            raise TrainingError(
                f"the teacher {path} knows frames with {name} {value}, the run prepares them with "
                f"{asked[name]}",
                f"give `preprocess.{name}`={value}, or another teacher",
            )
    return network, spec
