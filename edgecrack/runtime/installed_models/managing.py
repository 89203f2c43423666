"""The commands of `edgecrack model`: test and switch to a model, switch back, list models."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgecrack.artifacts import ModelFile, read_model_file
from edgecrack.errors import ConfigError, EdgecrackError, ModelFileError
from edgecrack.onnx_contents import read_contents
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.runtime.detector import open_detector
from edgecrack.runtime.installed_models.self_test import SelfTest, require_self_test
from edgecrack.runtime.installed_models.store import (
    BUNDLED,
    ModelStore,
    StoreState,
    find_store,
    store_to_change,
)


@dataclass(frozen=True)
class Change:
    """A switch of the model in use.

    Attributes:
        name: of the model now in use.
        sha256: its hash.
        before: name of the previous one.
        folder: of installed models.
        self_test: its result on the built-in pictures.
        notes: further notes, as sentences without a full stop.
    """

    name: str
    sha256: str
    before: str
    folder: Path
    self_test: SelfTest
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        found = {**asdict(self), "folder": str(self.folder), "notes": list(self.notes)}
        return {**found, "self_test": self.self_test.to_dict()}


@dataclass(frozen=True)
class ListedModel:
    """A model that can be used.

    Attributes:
        name: name of its file.
        sha256: its hash; "" if it cannot be read.
        state: "in use", "before" for the one that `model back` switches to, else "".
        since: start of use of the one in use, installation of others; ISO 8601, UTC, or "".
        problem: why it does not work here; "" if it does.
        file: its path.
    """

    name: str
    sha256: str
    state: str
    since: str
    problem: str
    file: Path

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        works = not self.problem
        return {**asdict(self), "file": str(self.file), "works": works}


def use_model(path: Path, *, backend: str | None = None) -> Change:
    """Check and test a model, and switch to it.

    Args:
        path: the file, with its sidecar beside it; "bundled" is the bundled one.
        backend: for the self-test, see `open_runner`.

    Raises:
        ModelFileError: the file cannot be used, or fails the self-test.
        DeviceError, MissingDependencyError, ConfigError: it cannot run here.
        OutputError: it cannot be installed.
    """
    store = store_to_change()
    is_bundled = str(path) == BUNDLED and not path.exists()
    before = _name_in(store.state(), store.state().in_use)
    file = read_model_file(BUNDLED_MODEL if is_bundled else path)
    tested = try_model(file, backend)
    if is_bundled:
        store.use_bundled()
    else:
        store.use(file)
    return Change(file.path.name, file.spec.sha256, before, store.folder, tested)


def go_back(*, backend: str | None = None) -> Change:
    """Switch to the last model that was in use before and works.

    Raises:
        ConfigError: there is none.
        OutputError, ModelFileError: the store cannot be written or read.
    """
    store = store_to_change()
    state = store.state()
    if not state.before:
        raise ConfigError(
            "no other model was in use before", "install one with `edgecrack model use`"
        )
    notes: list[str] = []
    for id in reversed(state.before):
        try:
            file = _read(store, state, id)
            tested = try_model(file, backend)
        except EdgecrackError as error:
            notes.append(f"skipped: {error.problem}")
            continue
        store.back_to(id)
        name = _name_in(state, state.in_use)
        return Change(file.path.name, file.spec.sha256, name, store.folder, tested, tuple(notes))
    raise ModelFileError(
        f"no model that was in use before works ({'; '.join(notes)})",
        "install one with `edgecrack model use`",
    )


def list_models(*, backend: str | None = None) -> tuple[Path | None, list[ListedModel]]:
    """The store's folder, if there is one, and all models, the newest first.

    Raises:
        ConfigError, ModelFileError: the store cannot be found or read.
    """
    store = find_store()
    state = StoreState() if store is None else store.state()
    listed = []
    if store is not None:
        listed = [_listed(store, state, each.id, backend) for each in reversed(state.models)]
    bundled = _listed(store, state, BUNDLED, backend)
    return (None if store is None else store.folder), [*listed, bundled]


def try_model(file: ModelFile, backend: str | None = None) -> SelfTest:
    """Run the self-test of a model, after a check of its operators.

    Raises:
        EdgecrackError: it cannot be run here, or fails.
    """
    if file.spec.kind == "onnx":
        contents = read_contents(file.content)
        if foreign := contents.foreign_operators:
            raise ModelFileError(
                f"{file.path} contains operators that are not standard ONNX: {', '.join(foreign)}",
                "export the model again with `edgecrack export`",
            )
    with open_detector(file, backend=backend) as detector:
        return require_self_test(detector, file.path.name, twice=True)


def _listed(
    store: ModelStore | None, state: StoreState, id: str, backend: str | None
) -> ListedModel:
    model = state.model(id)
    path = BUNDLED_MODEL if model is None or store is None else store.path_of(model)
    is_before = bool(state.before) and state.before[-1] == id
    status = "in use" if id == state.in_use else "before" if is_before else ""
    installed_at = "" if model is None else model.installed_at
    since = state.since if id == state.in_use else installed_at
    sha256 = "" if model is None else model.sha256
    try:
        file = _read(store, state, id)
        sha256 = file.spec.sha256
        try_model(file, backend)
    except EdgecrackError as error:
        return ListedModel(path.name, sha256, status, since, error.problem, path)
    return ListedModel(path.name, sha256, status, since, "", path)


def _read(store: ModelStore | None, state: StoreState, id: str) -> ModelFile:
    model = state.model(id)
    if model is None or store is None:
        return read_model_file(BUNDLED_MODEL)
    return store.read(model)


def _name_in(state: StoreState, id: str) -> str:
    model = state.model(id)
    return BUNDLED_MODEL.name if model is None else model.name
