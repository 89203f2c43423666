"""How several models compare: numbers, curves, and the images on which groups differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecrack.evaluation import curves
from edgecrack.evaluation.comparison.side_by_side import (
    comparison_markdown,
    comparison_page,
    comparison_text,
)
from edgecrack.evaluation.image_results import LabelledSample, predict_sample
from edgecrack.evaluation.model_groups import Group, ScoredModel, Spread, group_models, summarise
from edgecrack.evaluation.paired import Comparison, compare, image_f1
from edgecrack.files import make_folder, write_atomic, write_png
from edgecrack.runtime.outputs.output_folder import OutputFolder, file_in


@dataclass(frozen=True, eq=False)
class Pair:
    """The first group against another one.

    Attributes:
        groups: the two.
        comparison: their scores' differences.
        images: (name, mean F1 of the first, mean F1 of the second), by falling difference.
        pictures: file name and caption of the overlays where the first is better, and where worse.
    """

    groups: tuple[Group, Group]
    comparison: Comparison
    images: tuple[tuple[str, float, float], ...]
    pictures: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Compared:
    """All that a comparison's page shows.

    Attributes:
        title: one line.
        groups: in the order of the models that were given.
        summaries: for each group, mean and spread by quantity.
        pairs: the first group against each of the others.
    """

    title: str
    groups: tuple[Group, ...]
    summaries: tuple[Mapping[str, Spread], ...]
    pairs: tuple[Pair, ...]


# What `write_comparison` writes, as patterns.
COMPARISON_FILES = (
    "comparison.json", "comparison.md", "pr_curves.png", "index.html", "pair*_*.png",
)  # fmt: skip
_EXAMPLES = 3


def write_comparison(
    models: Sequence[ScoredModel],
    samples: Sequence[LabelledSample],
    folder: Path | OutputFolder,
    *,
    title: str,
) -> tuple[dict[str, Any], str]:
    """Write `comparison.json`, `comparison.md`, `pr_curves.png`, overlays and `index.html`.

    Args:
        models: at least one, all scored on `samples` in this order.
        samples: the images.
        folder: made if it does not exist; older files of these names in a plain folder are
            replaced.
        title: one line.

    Returns:
        The content of `comparison.json`, and the comparison as text for a terminal.

    Raises:
        DataError: a sample cannot be read.
        MissingDependencyError: matplotlib or scipy is not installed.
        OutputError: a file cannot be written.
    """
    if not isinstance(folder, OutputFolder):
        make_folder(folder)
        for stale in folder.glob("pair*_*.png"):
            stale.unlink()  # of an earlier comparison that drew more
    groups = group_models(models)
    pairs = tuple(
        _compare_pair(number, groups[0], other, samples, folder)
        for number, other in enumerate(groups[1:], start=1)
    )
    compared = Compared(title, tuple(groups), tuple(map(summarise, groups)), pairs)
    document = comparison_document(compared)
    files: dict[str, str | bytes] = {
        "comparison.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        "comparison.md": comparison_markdown(compared),
        "pr_curves.png": curves.compared_curves_png(
            {group.name: group.evaluations for group in groups}, title
        ),
        "index.html": comparison_page(compared),
    }
    for name, content in files.items():
        write_atomic(file_in(folder, name), content)
    return document, comparison_text(compared)


def comparison_document(compared: Compared) -> dict[str, Any]:
    """The comparison as plain values for JSON; scores from 0 to 1."""
    return {
        "title": compared.title,
        "groups": [
            {
                "name": group.name,
                "description": group.description,
                "models": [
                    {
                        "label": model.label,
                        "report": f"models/{model.label}",
                        "sha256": model.spec.sha256,
                        "context": model.document["context"],
                    }
                    for model in group.models
                ],
                "scores": {key: asdict(spread) for key, spread in summary.items()},
            }
            for group, summary in zip(compared.groups, compared.summaries, strict=True)
        ],
        "pairs": [
            {
                "first": pair.comparison.first,
                "second": pair.comparison.second,
                "sentence": pair.comparison.sentence(),
                "drawn_over": pair.comparison.drawn,
                "differences": [
                    asdict(item) | {"distinguishable": item.distinguishable}
                    for item in pair.comparison.differences
                ],
                "per_image": [
                    {"name": name, "first_f1": first, "second_f1": second}
                    for name, first, second in pair.images
                ],
            }
            for pair in compared.pairs
        ],
    }


def _compare_pair(
    number: int,
    first: Group,
    second: Group,
    samples: Sequence[LabelledSample],
    folder: Path | OutputFolder,
) -> Pair:
    groups = (first, second)
    scores = [np.array([image_f1(found) for found in group.evaluations]) for group in groups]
    means = [values.mean(axis=0) for values in scores]
    difference = means[0] - means[1]
    order = np.argsort(-difference, kind="stable").tolist()
    above = [place for place in order[:_EXAMPLES] if difference[place] > 0]
    below = [place for place in order[::-1][:_EXAMPLES] if difference[place] < 0]
    pictures: dict[str, str] = {}
    for kind, places in (("above", above), ("below", below)):
        for rank, place in enumerate(places, start=1):
            name = f"pair{number}_{kind}_{rank}.png"
            # Of each group the model that is nearest to its group's mean on this very image.
            nearest = [
                int(np.argmin(np.abs(values - values.mean(axis=0))[:, place])) for values in scores
            ]
            shown = [group.models[index] for group, index in zip(groups, nearest, strict=True)]
            _write_pair(file_in(folder, name), samples[place], place, shown)
            pictures[name] = f"{samples[place].name}: mean F1 " + ", ".join(
                f"{group.name} {100 * mean[place]:.1f}"
                for group, mean in zip(groups, means, strict=True)
            )
    images = tuple(
        (samples[place].name, float(means[0][place]), float(means[1][place])) for place in order
    )
    return Pair(groups, compare(first, second), images, pictures)


def _write_pair(
    path: Path, sample: LabelledSample, place: int, models: Sequence[ScoredModel]
) -> None:
    """Draw the models' predictions of one image, each under its name and score."""
    image, truth, _ = predict_sample(models[0].predict, sample)
    predictions = []
    for model in models:
        score = 100 * image_f1(model.evaluation)[place]
        threshold = model.evaluation.operating_threshold
        title = f"{model.label}: F1 {score:.1f} at threshold {threshold:.2f}"
        predictions.append(curves.PredictedImage(model.predict(image), threshold, title))
    write_png(path, curves.overlays(image, truth, predictions, sample.name))
