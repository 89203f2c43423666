"""Opens the model of a run: the one that is given, the installed one, or the bundled one.

If an installed model does not start, the last one that does is used, with a warning. If a given
model does not start, that is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgecrack.errors import DeviceError, MissingDependencyError, ModelFileError
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.runtime.detector import CrackDetector, open_detector
from edgecrack.runtime.installed_models.self_test import require_self_test
from edgecrack.runtime.installed_models.store import (
    BUNDLED,
    InstalledModel,
    ModelStore,
    find_store,
)
from edgecrack.runtime.telemetry.stats import ModelInUse, Origin

# A wrong option is for the user to fix, and no reason to run another model.
_MODEL_FAILURES = (ModelFileError, DeviceError, MissingDependencyError)

Told = Callable[[str], object]


def open_model_in_use(
    model: Path | None, *, on_fallback: Told, **options: Any
) -> tuple[CrackDetector, ModelInUse]:
    """Open the model of a run.

    Args:
        model: the requested one; None for the installed one, or else the bundled one.
        on_fallback: called with a sentence that says why the installed model does not start and
            what runs instead.
        options: for `open_detector`.

    Returns:
        The open model, and which it is.

    Raises:
        EdgecrackError: as `open_detector`. With an installed model, only if an option is wrong or
            the bundled model does not start either.
    """
    if model is not None:
        detector = open_detector(model, **options)
        return detector, _in_use(detector, "given")
    problems: list[str] = []
    store = find_store()
    if store is not None:
        for installed in _to_try(store, problems):
            opened = _try_installed(store, installed, options, problems)
            if opened is not None:
                return opened, _told(opened, "installed", problems, on_fallback)
    detector = open_detector(BUNDLED_MODEL, **options)
    return detector, _told(detector, "bundled", problems, on_fallback)


def _to_try(store: ModelStore, problems: list[str]) -> list[InstalledModel]:
    try:
        state = store.state()
    except ModelFileError as error:
        problems.append(error.problem)
        return []
    models = [state.model(id) for id in state.in_order if id != BUNDLED]
    return [model for model in models if model is not None]


def _try_installed(
    store: ModelStore, installed: InstalledModel, options: dict[str, Any], problems: list[str]
) -> CrackDetector | None:
    try:
        detector = open_detector(store.read(installed), **options)
    except _MODEL_FAILURES as error:
        problems.append(error.problem)
        return None
    try:
        require_self_test(detector, installed.name)
    except BaseException as error:
        detector.close()
        if not isinstance(error, _MODEL_FAILURES):
            raise
        problems.append(error.problem)
        return None
    return detector


def _told(
    detector: CrackDetector, origin: Origin, problems: list[str], on_fallback: Told
) -> ModelInUse:
    fallback = ""
    if problems:
        fallback = (
            f"the installed model does not start, and {origin} {detector.model_name} runs "
            f"instead: {'; '.join(problems)}"
        )
        on_fallback(fallback)
    return _in_use(detector, origin, fallback)


def _in_use(detector: CrackDetector, origin: Origin, fallback: str = "") -> ModelInUse:
    return ModelInUse(detector.model_name, detector.runner.spec.sha256, origin, fallback)
