"""Groups models that differ only in their training run; mean and spread per group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgecrack.artifacts import ModelSpec, read_verified_spec
from edgecrack.errors import ConfigError
from edgecrack.evaluation.image_results import CHOOSING_TOLERANCE, Evaluation, Predict
from edgecrack.metrics import Tolerance, average_precision, iou


@dataclass(frozen=True, eq=False)
class ScoredModel:
    """One model and its scores.

    Attributes:
        label: name of the model; its report is in `models/LABEL`.
        path: the model file.
        spec: its description.
        evaluation: its scores.
        predict: returns its probability maps of the scored images again.
        document: its report as plain values.
    """

    label: str
    path: Path
    spec: ModelSpec
    evaluation: Evaluation
    predict: Predict
    document: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Group:
    """Models of one kind, pooling, width and precision, e.g. trained from several seeds.

    Attributes:
        name: what distinguishes it from the other groups.
        description: everything that its models have in common.
        models: at least one.
    """

    name: str
    description: str
    models: tuple[ScoredModel, ...]

    @property
    def evaluations(self) -> list[Evaluation]:
        """The scores of its models."""
        return [model.evaluation for model in self.models]


@dataclass(frozen=True)
class ScoredQuantity:
    """One number of an evaluation.

    Attributes:
        key: its name in JSON.
        title: its heading in a table.
        at: "best" for the best threshold on the scored images, else "operating".
        value: from a model to a number from 0 to 1.
        percent: whether it is shown in percent.
        digits: number of decimals shown.
    """

    key: str
    title: str
    at: Literal["best", "operating"]
    value: Callable[[ScoredModel], float]
    percent: bool = True
    digits: int = 1


def _best(name: str, tolerance: Tolerance) -> Callable[[ScoredModel], float]:
    return lambda model: float(getattr(model.evaluation.ods(tolerance), name))


def _used(name: str, tolerance: Tolerance) -> Callable[[ScoredModel], float]:
    def value(model: ScoredModel) -> float:
        found = model.evaluation
        return float(getattr(found.score_at(tolerance, found.operating_threshold), name))

    return value


def _average_precision(model: ScoredModel) -> float:
    return average_precision(model.evaluation.counts(CHOOSING_TOLERANCE))


def _used_iou(model: ScoredModel) -> float:
    return iou(model.evaluation.counts("strict"), model.evaluation.operating_threshold)


def _flagged(key: str) -> Callable[[ScoredModel], float]:
    return lambda model: float(model.document["unlabelled"][key])


_TOLERANT = CHOOSING_TOLERANCE
_FLAGGED = ("flagged", "flagged_published")
QUANTITIES: tuple[ScoredQuantity, ...] = (
    ScoredQuantity("ods", "ODS", "best", _best("f1", _TOLERANT)),
    ScoredQuantity("ois", "OIS", "best", lambda model: model.evaluation.ois(_TOLERANT)),
    ScoredQuantity("precision", "precision", "best", _best("precision", _TOLERANT)),
    ScoredQuantity("recall", "recall", "best", _best("recall", _TOLERANT)),
    ScoredQuantity("average_precision", "AP", "best", _average_precision),
    ScoredQuantity("ods_euclidean", "ODS, 2.0 px radius", "best", _best("f1", "euclidean")),
    ScoredQuantity("strict_f1", "strict F1", "best", _best("f1", "strict")),
    ScoredQuantity(
        "strict_iou", "strict IoU", "best", lambda model: iou(model.evaluation.counts("strict"))
    ),
    ScoredQuantity(
        "operating_threshold",
        "threshold",
        "operating",
        lambda model: model.evaluation.operating_threshold,
        percent=False,
        digits=2,
    ),
    ScoredQuantity("operating_f1", "F1", "operating", _used("f1", _TOLERANT)),
    ScoredQuantity("operating_precision", "precision", "operating", _used("precision", _TOLERANT)),
    ScoredQuantity("operating_recall", "recall", "operating", _used("recall", _TOLERANT)),
    ScoredQuantity("operating_strict_f1", "strict F1", "operating", _used("f1", "strict")),
    ScoredQuantity("operating_strict_iou", "strict IoU", "operating", _used_iou),
    ScoredQuantity(
        _FLAGGED[0], "flagged, unlabelled images", "operating", _flagged(_FLAGGED[0]), digits=2
    ),
    ScoredQuantity(_FLAGGED[1], "of that published", "operating", _flagged(_FLAGGED[1]), digits=2),
)
ODS, OIS = QUANTITIES[:2]


@dataclass(frozen=True)
class Spread:
    """The distribution of one quantity over several models.

    Attributes:
        mean: mean.
        deviation: standard deviation (n - 1); None for one model.
        lowest: lowest value.
        highest: highest value.
    """

    mean: float
    deviation: float | None
    lowest: float
    highest: float


def spread_of(values: Sequence[float]) -> Spread:
    """Mean and spread of at least one number."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), deviation, min(values), max(values))


def summarise(group: Group) -> dict[str, Spread]:
    """Mean and spread of every quantity over a group's models.

    If the dataset has no unlabelled images, the flagged shares are omitted.
    """
    has_unlabelled = all("unlabelled" in model.document for model in group.models)
    return {
        quantity.key: spread_of([quantity.value(model) for model in group.models])
        for quantity in QUANTITIES
        if has_unlabelled or quantity.key not in _FLAGGED
    }


def group_models(models: Sequence[ScoredModel]) -> list[Group]:
    """Group models by kind of file, pooling, gate bias, width and precision.

    A group's name contains what differs between groups, e.g. "gated-scale" if all widths are
    equal. Groups and models keep their order.
    """
    members: dict[tuple[str, ...], list[ScoredModel]] = {}
    for model in models:
        members.setdefault(_traits(model.spec), []).append(model)
    traits = list(members)
    differing = [place for place in range(len(traits[0])) if len({t[place] for t in traits}) > 1]
    groups = []
    for key, found in members.items():
        description = ", ".join(part for part in key if part)
        name = ", ".join(key[place] for place in differing if key[place]) or description
        groups.append(Group(name, description, tuple(found)))
    return groups


def _traits(spec: ModelSpec) -> tuple[str, ...]:
    bias = "gate bias" if spec.gate_bias else ""
    return (spec.pooling, f"width {spec.width}", spec.precision, bias, spec.kind)


def labels_of(paths: Sequence[Path]) -> list[str]:
    """A short name for each model file, unique and valid as a folder name.

    The stem if stems differ; else the folder's name, as in runs/NAME/best.safetensors, with the
    stem if two are still equal.
    """
    stems = [path.stem for path in paths]
    folders = [path.resolve().parent.name or "root" for path in paths]
    both = [f"{folder}-{stem}" for folder, stem in zip(folders, stems, strict=True)]
    for names in (stems, folders, both):
        if len(set(names)) == len(names):
            return names
    return [f"{name}-{number}" for number, name in enumerate(both, start=1)]


def check_distinct(paths: Sequence[Path]) -> None:
    """Check that no model is given twice: copies would look like a group without spread.

    Raises:
        ModelFileError: a file cannot be used.
        ConfigError: two files are the same model.
    """
    seen: dict[str, Path] = {}
    for path in paths:
        twin = seen.setdefault(read_verified_spec(path).sha256, path)
        if twin is not path:
            raise ConfigError(f"{twin} and {path} are the same model", "give every model once")
