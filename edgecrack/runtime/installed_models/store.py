"""The folder of installed models: which exist, which is in use, which was in use before.

    FOLDER/state.json              the model in use; replaced atomically, which is the switch
    FOLDER/files/ID/NAME           a model file, with its sidecar beside it; never changed
    FOLDER/lock                    held during a change

A model is completely on the disk under its own ID before the state names it. A kill or a full disk
at any moment leaves the old one in use and intact.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgecrack.artifacts import ModelFile, read_model_file, write_model
from edgecrack.errors import ConfigError, ModelFileError, OutputError
from edgecrack.file_lock import lock_file
from edgecrack.files import make_folder, output_error, write_atomic
from edgecrack.outside_text import read_json

MODELS_VARIABLE = "EDGECRACK_MODELS"
BUNDLED = "bundled"
MOST_KEPT = 5
STATE_NAME = "state.json"
_FILES, _LOCK, _UNFINISHED = "files", "lock", ".new-"
_SCHEMA_VERSION = 1
_ID = re.compile(r"[0-9a-f]{16}")
_WAIT_S, _POLL_S = 30.0, 0.05


@dataclass(frozen=True)
class InstalledModel:
    """A model in the store.

    Attributes:
        id: hash of its bytes and description, 16 hexadecimal digits.
        name: name of its file.
        sha256: hash of its bytes.
        installed_at: ISO 8601, UTC.
    """

    id: str
    name: str
    sha256: str
    installed_at: str


@dataclass(frozen=True)
class StoreState:
    """The installed models.

    Attributes:
        in_use: id of the model in use, or `BUNDLED`.
        since: start of its use, ISO 8601, UTC; "" if nothing was ever installed.
        before: ids that were in use before, the latest last.
        models: all models kept, the oldest first.
    """

    in_use: str = BUNDLED
    since: str = ""
    before: tuple[str, ...] = ()
    models: tuple[InstalledModel, ...] = ()

    def model(self, id: str) -> InstalledModel | None:
        """The model of an id; None for the bundled one."""
        return next((each for each in self.models if each.id == id), None)

    @property
    def in_order(self) -> tuple[str, ...]:
        """Ids in the order a start tries them: in use, then earlier ones, the bundled one last."""
        ids = dict.fromkeys((self.in_use, *reversed(self.before)))
        wanted = list(ids)
        if BUNDLED in wanted:  # later ones are never reached
            wanted = wanted[: wanted.index(BUNDLED)]
        return (*wanted, BUNDLED)


class ModelStore:
    """The models installed in a folder, which need not exist.

    Args:
        folder: absolute.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def state(self) -> StoreState:
        """The installed models.

        Raises:
            ModelFileError: the state cannot be read.
        """
        path = self.folder / STATE_NAME
        try:
            return _state_of(read_json(path))
        except FileNotFoundError:
            return StoreState()
        except (OSError, KeyError, TypeError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ModelFileError(
                f"the list of installed models {path} cannot be read ({reason})",
                "move it away, and install the model again with `edgecrack model use`",
            ) from error

    def path_of(self, model: InstalledModel) -> Path:
        """The path of a model's file."""
        return self.folder / _FILES / model.id / model.name

    def read(self, model: InstalledModel) -> ModelFile:
        """Read and verify an installed model.

        Raises:
            ModelFileError: it is missing, damaged, or another one.
        """
        found = read_model_file(self.path_of(model))
        if _id_of(found) != model.id:
            raise ModelFileError(
                f"{found.path} is not the model that was installed", "install it again"
            )
        return found

    def use(self, model: ModelFile) -> StoreState:
        """Install a model and switch to it.

        Raises:
            OutputError: it cannot be written; the model in use stays.
            ModelFileError: the state cannot be read.
        """
        with self._locked():
            state = self.state()
            self._remove_unfinished()
            id = _id_of(model)
            self._keep(id, model)
            installed = InstalledModel(id, model.path.name, model.spec.sha256, _now())
            known = state.model(id)
            others = tuple(each for each in state.models if each.id != id)
            state = replace(state, models=(*others, known or installed))
            return self._switch(state, id)

    def use_bundled(self) -> StoreState:
        """Switch to the bundled model; installed ones are kept.

        Raises:
            OutputError, ModelFileError: as `use`.
        """
        with self._locked():
            return self._switch(self.state(), BUNDLED)

    def back_to(self, id: str) -> StoreState:
        """Switch to a model that was in use before, and forget the later ones.

        Raises:
            ConfigError: it was not in use before.
            OutputError, ModelFileError: as `use`.
        """
        with self._locked():
            state = self.state()
            if id not in state.before:
                raise ConfigError(
                    f"the model {id} was not in use before", "see edgecrack model list"
                )
            last = len(state.before) - 1 - state.before[::-1].index(id)
            state = replace(state, in_use=id, since=_now(), before=state.before[:last])
            self._write(state)
            return state

    def _switch(self, state: StoreState, id: str) -> StoreState:
        if id != state.in_use:
            before = tuple(each for each in (*state.before, state.in_use) if each != id)
            state = replace(state, in_use=id, since=_now(), before=before)
        kept, gone = _pruned(state)
        self._write(kept)
        for each in gone:
            shutil.rmtree(self.folder / _FILES / each.id, ignore_errors=True)
        return kept

    def _keep(self, id: str, model: ModelFile) -> None:
        """Store a model's file and sidecar completely in their own folder."""
        files = self.folder / _FILES
        target, unfinished = files / id, files / f"{_UNFINISHED}{secrets.token_hex(6)}"
        if target.exists():
            with suppress(ModelFileError):
                if _id_of(read_model_file(target / model.path.name)) == id:
                    return  # it exists and is intact
        try:
            unfinished.mkdir(parents=True)
            write_model(unfinished / model.path.name, model.content, model.spec)
            _sync_folder(unfinished)
            if target.exists():  # damaged: moved away, since a folder cannot be replaced
                target.rename(files / f"{_UNFINISHED}{secrets.token_hex(6)}")
            unfinished.rename(target)
            _sync_folder(files)
        except OSError as error:
            raise output_error(unfinished, error) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _write(self, state: StoreState) -> None:
        document = {"schema_version": _SCHEMA_VERSION, **asdict(state)}
        write_atomic(self.folder / STATE_NAME, json.dumps(document, indent=1) + "\n")
        with suppress(OSError):
            _sync_folder(self.folder)

    def _remove_unfinished(self) -> None:
        for left in (self.folder / _FILES).glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time; the system lets the lock go with the process that holds it."""
        make_folder(self.folder)
        path = self.folder / _LOCK
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise output_error(path, error) from error
        try:
            _take_lock(descriptor, path)
            yield
        finally:
            os.close(descriptor)


def find_store(environment: Mapping[str, str] | None = None) -> ModelStore | None:
    """The store of this user: in EDGECRACK_MODELS, or below XDG_DATA_HOME or `~/.local/share`.

    Returns:
        The store; None if there is no place for one, as for a container's user without a name.

    Raises:
        ConfigError: EDGECRACK_MODELS is not an absolute path.
    """
    environment = os.environ if environment is None else environment
    if given := environment.get(MODELS_VARIABLE):
        if not Path(given).is_absolute():
            raise ConfigError(f"{MODELS_VARIABLE} is {given!r}", "give an absolute path")
        return ModelStore(Path(given))
    if (data := environment.get("XDG_DATA_HOME")) and Path(data).is_absolute():
        return ModelStore(Path(data) / "edgecrack" / "models")
    try:
        home = Path(environment["HOME"]) if environment.get("HOME") else Path.home()
    except RuntimeError:  # the system does not know the user
        return None
    is_real = home.is_absolute() and home != Path(home.anchor)
    return ModelStore(home / ".local" / "share" / "edgecrack" / "models") if is_real else None


def store_to_change() -> ModelStore:
    """The store, for a change.

    Raises:
        OutputError: there is no place for one.
    """
    store = find_store()
    if store is None:
        raise OutputError(
            "there is no folder for installed models, since this user has no home",
            f"set {MODELS_VARIABLE} to an absolute path",
        )
    return store


def _id_of(model: ModelFile) -> str:
    described = json.dumps(model.spec.to_dict(), sort_keys=True)
    return hashlib.sha256(f"{model.spec.sha256} {described}".encode()).hexdigest()[:16]


def _pruned(state: StoreState) -> tuple[StoreState, list[InstalledModel]]:
    """The state without the oldest models, and these models."""
    recent = [each for each in state.in_order if each != BUNDLED]
    behind = [each.id for each in reversed(state.models) if each.id not in recent]
    wanted = set([*recent, *behind][:MOST_KEPT])
    models = tuple(each for each in state.models if each.id in wanted)
    before = tuple(each for each in state.before if each in wanted or each == BUNDLED)
    gone = [each for each in state.models if each.id not in wanted]
    return replace(state, models=models, before=before[-2 * MOST_KEPT :]), gone


def _state_of(document: Any) -> StoreState:
    """Parse a state as `ModelStore` writes it.

    Raises:
        KeyError, TypeError, ValueError: it is invalid.
    """
    if not isinstance(document, dict) or document["schema_version"] != _SCHEMA_VERSION:
        raise ValueError("it is of another version")
    models = tuple(InstalledModel(**each) for each in document["models"])
    state = StoreState(document["in_use"], document["since"], tuple(document["before"]), models)
    for model in models:
        texts = (model.id, model.name, model.sha256, model.installed_at)
        if not all(isinstance(text, str) for text in texts) or not _ID.fullmatch(model.id):
            raise ValueError("a model without an id")
        if Path(model.name).name != model.name:
            raise ValueError(f"the name {model.name!r}")
    known = {BUNDLED, *(model.id for model in models)}
    if unknown := [each for each in (state.in_use, *state.before) if each not in known]:
        raise ValueError(f"the model {unknown[0]!r} is not listed")
    return state


def _take_lock(descriptor: int, path: Path) -> None:
    end_s = time.monotonic() + _WAIT_S
    try:
        while lock_file(descriptor, required=True) == "busy":
            if time.monotonic() > end_s:
                raise OutputError(
                    f"another program has held {path} for {_WAIT_S:g} s", "wait until it ends"
                )
            time.sleep(_POLL_S)
    except OSError as error:
        raise output_error(path, error) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
