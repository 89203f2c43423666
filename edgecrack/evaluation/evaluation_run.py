"""One `edgecrack evaluate`: open models and dataset, score, write the reports."""

from __future__ import annotations

import errno
import json
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edgecrack.artifacts import read_verified_spec
from edgecrack.data.datasets import CrackDataset, Sample, open_dataset, read_image
from edgecrack.data.sources import DataSource, parse_source
from edgecrack.errors import ConfigError, DataError
from edgecrack.evaluation.false_positives import false_positive_ratio
from edgecrack.evaluation.image_results import Evaluation, Predict, evaluate
from edgecrack.evaluation.model_groups import ScoredModel, check_distinct, labels_of
from edgecrack.evaluation.open_model import CachedPredictor, OpenModel, open_model
from edgecrack.evaluation.protocols import PredictionConfig
from edgecrack.evaluation.report import (
    REPORT_FILES,
    Report,
    report_document,
    report_text,
    write_report,
)
from edgecrack.evaluation.report_page import unlabelled_sentence
from edgecrack.evaluation.strata.stratum_scores import by_width
from edgecrack.evaluation.thresholds import ThresholdSource, validation_samples
from edgecrack.extras import require
from edgecrack.files import make_folder, output_error, write_atomic
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.output_place import Existing, take_place
from edgecrack.terminal.wording import all_of, counted

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of an evaluation.

    Attributes:
        models: ONNX files and checkpoints; several are compared.
        data: dataset folder.
        out: folder of the report.
        split: "train", "val", "test" or "all"; None uses "test" if it exists, else "all".
        split_set: set of splits, if the dataset has several.
        json_file: also write the scores here.
        prediction: how models are run.
        threshold: source of the operating threshold.
        unlabelled: whether to count flagged pixels on images without labels, too.
        layout: the required layout of the dataset; None detects it.
        name: name of the dataset in the report; "" for its folder's name.
        existing: what to do with an earlier report in `out`, as for `take_place`.
        named: whether the user chose the name `out`.
    """

    models: tuple[Path, ...]
    data: Path
    out: Path
    split: str | None = None
    split_set: str | None = None
    json_file: Path | None = None
    prediction: PredictionConfig = field(default_factory=PredictionConfig)
    threshold: ThresholdSource = field(default_factory=ThresholdSource)
    unlabelled: bool = True
    layout: str | None = None
    name: str = ""
    existing: Existing = "beside"
    named: bool = True

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("there is no model to evaluate", "give at least one model file")


@dataclass(frozen=True)
class _Images:
    """The images of one evaluation, the same for every model."""

    dataset: CrackDataset
    split: str
    scored: Sequence[Sample]
    validation: Sequence[Sample] | None
    unlabelled: Sequence[Path]

    @property
    def per_model(self) -> int:
        """Number of images that each model processes."""
        tuning = len(self.validation or ())
        return len(self.scored) + tuning + len(self.unlabelled)


def parse_labelled(text: str) -> DataSource:
    """Read `[NAME=]DIR`, the dataset to score on, as `data.sources.parse_source` reads it.

    Raises:
        ConfigError: it is another kind of data source, or has a weight.
    """
    source = parse_source(text)
    if source.kind != "labelled":
        raise ConfigError(
            f"{text!r} is {source.kind}, but scores need a labelled dataset",
            "give [NAME=]DIR; a folder of that name is ./NAME",
        )
    if source.weight is not None:
        raise ConfigError(
            f"the dataset {text!r} to score on has the weight {source.weight:g}",
            "leave out @WEIGHT, and check that the folder exists",
        )
    return source


def evaluate_models(config: EvaluationConfig, on_progress: Progress | None = None) -> Report:
    """Score models, write the report, and return the scores as a short text.

    The report of one model is written to `out`, or beside it if an earlier one exists. For several
    models a comparison is written there, and each model's own report in `models/LABEL`.

    Raises:
        ConfigError: the options do not fit each other, the models or the dataset.
        ModelFileError: a model cannot be used.
        DataError: a file of the dataset cannot be used.
        OutputError: the report cannot be written.
    """
    images = _open_images(config)
    several = len(config.models) > 1
    with ExitStack() as stack:
        # Done first, so that a long run does not fail on the folder at its end.
        taken = take_place(config.out, _patterns(several), config.existing, named=config.named)
        stack.callback(taken.folder.discard)
        labels = _check(config, images)
        total = len(config.models) * images.per_model
        scored: list[ScoredModel] = []
        maps = Path(stack.enter_context(TemporaryDirectory(prefix="edgecrack-evaluate-")))
        for number, (model, label) in enumerate(zip(config.models, labels, strict=True)):
            folder = taken.folder.within(f"models/{label}") if several else taken.folder
            (maps / str(number)).mkdir()
            scored.append(
                _score(
                    config,
                    images,
                    _Place(
                        model,
                        label,
                        folder,
                        maps / str(number),
                        replaces=config.existing == "overwrite" and number == 0,
                    ),
                    _Ticker(on_progress, number * images.per_model, total),
                )
            )
        if several:
            from edgecrack.evaluation.comparison import write_comparison

            title = f"{len(scored)} models on {images.dataset.name} ({images.split})"
            document, text = write_comparison(scored, images.scored, taken.folder, title=title)
        else:
            document, text = scored[0].document, report_text(scored[0])
    if config.json_file is not None:
        write_atomic(config.json_file, json.dumps(document, indent=2) + "\n")
    return Report(text, taken.folder.root, taken.note)


def _check(config: EvaluationConfig, images: _Images) -> Sequence[str]:
    """Refuse what cannot be scored before starting; return the models' labels."""
    if config.json_file is not None:
        make_folder(config.json_file.parent)
        if config.json_file.is_dir():
            problem = IsADirectoryError(errno.EISDIR, "it is a folder")
            raise output_error(config.json_file, problem)
    if len(config.models) > 1:
        require("scipy.stats", extra="train", purpose="comparing models")
        check_distinct(config.models)
    for model in config.models:
        read_verified_spec(model)
    _check_cracks(images)
    return labels_of(config.models)


def _patterns(several: bool) -> Sequence[str]:
    """Patterns of the files written for one or several models, relative to the report's folder."""
    if not several:
        return REPORT_FILES
    from edgecrack.evaluation.comparison import COMPARISON_FILES

    return (*COMPARISON_FILES, *(f"models/*/{name}" for name in REPORT_FILES))


def _open_images(config: EvaluationConfig) -> _Images:
    dataset = open_dataset(config.data, config.split_set, config.layout)
    dataset = replace(dataset, name=config.name or dataset.name)
    split = config.split or ("test" if "test" in dataset.splits else "all")
    scored = dataset.samples(split)
    chosen = config.threshold.name == "val"
    validation = validation_samples(dataset, scored) if chosen else None
    unlabelled = dataset.unlabelled if config.unlabelled else ()
    return _Images(dataset, split, scored, validation, unlabelled)


def _check_cracks(images: _Images) -> None:
    """Refuse labels that mark nothing or nearly everything: scores on them are meaningless."""
    folder, split, scored = images.dataset.folder, images.split, images.scored
    crack = pixels = 0
    for sample in scored:
        mask = sample.mask()
        crack, pixels = crack + int(np.count_nonzero(mask)), pixels + mask.size
    if crack == 0:
        raise DataError(
            f"no image of {folder} ({split}) has any crack: {all_of(len(scored), 'mask')} black",
            "check that crack is white in the masks, or score images that have cracks",
        )
    if 2 * crack > pixels:
        raise DataError(
            f"{100 * crack / pixels:.0f} % of the pixels in the {counted(len(scored), 'mask')} of "
            f"{folder} ({split}) are crack",
            "invert the masks: crack is white, the rest black",
        )


@dataclass(frozen=True)
class _Place:
    """A model and where its results go.

    Attributes:
        model: the model file.
        label: name of the model.
        folder: folder of its report.
        maps: an existing folder for its probability maps.
        replaces: whether to remove earlier reports in the folder once there is something to write.
    """

    model: Path
    label: str
    folder: OutputFolder
    maps: Path
    replaces: bool


class _Ticker:
    """Adds one model's images to the progress of all."""

    def __init__(self, show: Progress | None, before: int, total: int) -> None:
        self._show, self._done, self._total = show, before, total

    def __call__(self, *_: object) -> None:
        self._done += 1
        if self._show is not None:
            self._show(self._done, self._total)


def _score(config: EvaluationConfig, images: _Images, place: _Place, tick: _Ticker) -> ScoredModel:
    source, dataset = config.threshold, images.dataset
    with ExitStack() as stack:
        opened = open_model(place.model, config.prediction, stack)
        predict = CachedPredictor(opened.predict, place.maps)
        result = evaluate(
            predict,
            images.scored,
            threshold=source.given(opened.spec.threshold),
            validation=images.validation,
            operating=source.choice,
            given_name=source.given_name,
            on_progress=tick,
        )
        unlabelled = _flagged(opened.predict, images.unlabelled, result.operating_threshold, tick)
        context = _context(config, images, place, opened, result)
        if unlabelled is not None:
            context["unlabelled images"] = unlabelled_sentence(unlabelled)
        widths = by_width(predict, images.scored, result.operating_threshold)
        title = f"{place.model.name} on {dataset.name} ({images.split})"
        if place.replaces:
            place.folder.clear()
        write_report(
            result,
            place.folder,
            predict,
            images.scored,
            title=title,
            context=context,
            unlabelled=unlabelled,
            widths=widths,
        )
    document = report_document(result, title, context, unlabelled, widths)
    return ScoredModel(place.label, place.model, opened.spec, result, predict, document)


def _flagged(
    predict: Predict, unlabelled: Sequence[Path], threshold: float, tick: Callable[[], None]
) -> dict[str, object] | None:
    """`FalsePositives.to_dict` for the dataset's unlabelled images, if any."""
    if not unlabelled:
        return None
    images = map(read_image, unlabelled)
    found = false_positive_ratio(predict, images, threshold, on_image=tick)
    return found.to_dict([path.name for path in unlabelled])


def _context(
    config: EvaluationConfig,
    images: _Images,
    place: _Place,
    opened: OpenModel,
    result: Evaluation,
) -> dict[str, str]:
    spec = opened.spec
    sentence = config.threshold.sentence(len(images.validation or ()))
    return {
        "model": f"{place.model.name} ({spec.pooling}, width {spec.width}, {spec.precision}, "
        f"sha256 {spec.sha256[:12]})",
        "protocol": opened.protocol,
        "operating threshold": f"{result.operating_threshold:.2f}, {sentence}",
        "data": f"{images.dataset.name}, {images.split}, {counted(len(images.scored), 'image')}",
        "machine": platform.machine(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }
