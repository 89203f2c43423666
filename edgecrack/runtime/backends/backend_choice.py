"""Chooses the CPU backend of an ONNX file by a self-test, whose result is cached.

ONNX Runtime runs everywhere and is the reference. OpenVINO is often faster; it is chosen if a short
self-test on synthetic walls finds it faster and its values equal. On a processor with AMX, bfloat16
is tried, too: several times as fast there, and no stratum moves by more than 0.1 points
(docs/performance.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from edgecrack.artifacts import ModelFile
from edgecrack.errors import ConfigError, EdgecrackError, ModelFileError, OutputError
from edgecrack.files import write_atomic
from edgecrack.outside_text import read_json
from edgecrack.runtime.backends.base import Runner
from edgecrack.runtime.backends.cpu_self_test import (
    TriedBackend,
    judged_by_masks,
    self_test,
    settings_to_try,
)
from edgecrack.runtime.backends.onnx_runtime import OnnxRuntimeRunner
from edgecrack.runtime.backends.openvino_runner import (
    CpuPrecision,
    OpenVINORunner,
    OpenVINOSettings,
    has_openvino,
    import_openvino,
    instruction_limits,
)

Backend = Literal["auto", "onnxruntime", "openvino", "openvino-bf16"]
BACKENDS: tuple[str, ...] = get_args(Backend)

SELF_TEST_BEGINS = "trying which backend is the fastest on this machine, once for this model"
# A smaller gain does not justify another backend.
_LEAST_GAIN = 1.05
# Over float32; bfloat16 changes values, so it has to be worth it.
_LEAST_GAIN_OF_BFLOAT16 = 1.25
_ALIKE, _ALL_TILES = 1.05, 1_000_000
_VERSION = 2
_CACHE = "XDG_CACHE_HOME"

Told = Callable[[str], None]


@dataclass(frozen=True)
class BackendChoice:
    """How a model is run on this machine.

    Attributes:
        settings: of OpenVINO; None for ONNX Runtime.
        note: what was chosen and why, as a sentence without a full stop; "" where there was
            nothing to choose.
    """

    settings: OpenVINOSettings | None
    note: str = ""

    def open(self, model: ModelFile, threads: int) -> Runner:
        """Open such a runner."""
        if self.settings is None:
            return OnnxRuntimeRunner(model, threads=threads)
        return OpenVINORunner(model, self.settings, threads=threads)


def choose_backend(
    model: ModelFile, threads: int, backend: str = "auto", on_told: Told = lambda text: None
) -> BackendChoice:
    """Choose how to run a model on the CPU.

    The first time on a machine this takes some seconds; the result is kept under
    `~/.cache/edgecrack/backends/`, or under XDG_CACHE_HOME.

    Args:
        model: an ONNX file.
        threads: CPU threads.
        backend: one of `BACKENDS`.
        on_told: told when a self-test begins, as a sentence.

    Raises:
        ConfigError: the backend is unknown, or this processor cannot run it.
        MissingDependencyError: it is not installed.
        ModelFileError: it cannot run this model, or gives other values than ONNX Runtime.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"the backend is {backend!r}", f"give {', '.join(BACKENDS)}")
    if backend == "onnxruntime":
        return BackendChoice(None)
    if backend == "auto" and not has_openvino():
        return BackendChoice(None)
    precision: CpuPrecision = "bf16" if backend == "openvino-bf16" else "f32"
    try:
        import_openvino()
        tried, origin = _kept_or_tested(model, threads, precision, on_told)
        if backend == "auto" and model.spec.precision == "fp32" and has_amx():
            in_bfloat16, its_origin = _kept_or_tested(model, threads, "bf16", on_told)
            if _gain(in_bfloat16) >= _LEAST_GAIN_OF_BFLOAT16 * max(1.0, _gain(tried)):
                tried, origin = in_bfloat16, f"{its_origin}; `backend` openvino keeps float32"
    except EdgecrackError as error:
        if backend != "auto":
            raise
        return BackendChoice(None, f"ONNX Runtime, since OpenVINO cannot be used: {error.problem}")
    return _chosen(tried, backend, model, origin)


def open_chosen(
    model: ModelFile, threads: int, backend: str = "auto", on_told: Told = lambda text: None
) -> Runner:
    """Choose as `choose_backend` does, and open it; "auto" falls back if it fails.

    Args:
        model: an ONNX file.
        threads: CPU threads.
        backend: one of `BACKENDS`.
        on_told: told when a self-test begins, and what was chosen and why.

    Raises:
        ConfigError, MissingDependencyError, ModelFileError: as `choose_backend`, or the file
            cannot be loaded.
    """
    choice = choose_backend(model, threads, backend, on_told)
    try:
        runner = choice.open(model, threads)
    except EdgecrackError as error:
        if backend != "auto" or choice.settings is None:
            raise
        note = f"ONNX Runtime, since OpenVINO cannot be opened: {error.problem}"
        choice = BackendChoice(None, note)
        runner = choice.open(model, threads)
    if choice.note:
        on_told(choice.note)
    return runner


def _chosen(
    tried: tuple[TriedBackend, ...], backend: str, model: ModelFile, origin: str
) -> BackendChoice:
    base = tried[0]
    usable = [each for each in tried[1:] if not each.problem]
    if not usable:
        problem = next((each.problem for each in tried[1:]), "nothing was tried")
        if backend == "auto":
            return BackendChoice(None, f"ONNX Runtime, since OpenVINO: {problem} ({origin})")
        raise ModelFileError(
            f"OpenVINO cannot be used for {model.path}: {problem}", "give `backend` onnxruntime"
        )
    best = _steadiest(usable)
    gain = base.seconds / best.seconds
    if backend == "auto" and gain < _LEAST_GAIN:
        return BackendChoice(
            None, f"ONNX Runtime, since OpenVINO takes {1 / gain:.2f} of its time ({origin})"
        )
    assert best.settings is not None
    masks = ""
    if judged_by_masks(model, best.settings.precision) and best.agreement is not None:
        masks = f"masks agree to {best.agreement:.1%}, "
    return BackendChoice(
        best.settings,
        f"OpenVINO, {best.settings.words}: {gain:.2f} times as fast as ONNX Runtime, {masks}values "
        f"at most {best.difference} of 255 apart ({origin})",
    )


def _gain(tried: Sequence[TriedBackend]) -> float:
    """How many times as fast as ONNX Runtime the fastest way is; 0 if none can be used."""
    usable = [each.seconds for each in tried[1:] if not each.problem]
    return tried[0].seconds / min(usable) if usable else 0.0


def _steadiest(usable: Sequence[TriedBackend]) -> TriedBackend:
    """The fastest; among equals within noise, the one with the smallest pieces.

    Beside threads that decode and encode, streams that need not wait for each other after every
    layer lose less, and single tiles can be shared out evenly, however many there are: 4 to 12 %
    of `stream` between ways that were alike in the self-test (docs/performance.md).
    """
    fastest_s = min(each.seconds for each in usable)
    alike = [each for each in usable if each.seconds <= _ALIKE * fastest_s]

    def pieces(tried: TriedBackend) -> tuple[int, int]:
        settings = tried.settings or OpenVINOSettings()
        return settings.streams, -(settings.batch or _ALL_TILES)

    return max(alike, key=pieces)


def _kept_or_tested(
    model: ModelFile, threads: int, precision: CpuPrecision, on_told: Told
) -> tuple[tuple[TriedBackend, ...], str]:
    """The self-test's result and its origin."""
    machine = machine_facts(threads)
    path = _result_path(model, machine, precision)
    kept, why_not = None, ""
    if path is not None:
        kept, why_not = read_result(path, machine, model, precision)
    if kept is not None:
        return kept, "self-test of an earlier start"
    on_told(SELF_TEST_BEGINS if precision == "f32" else f"{SELF_TEST_BEGINS}, in bfloat16")
    began = time.monotonic()
    tried = self_test(model, threads, precision)
    took = f"self-test of {time.monotonic() - began:.0f} s"
    if path is None:
        return tried, f"{took}, not kept without a cache folder: set {_CACHE} to an absolute path"
    document = {
        "schema_version": _VERSION,
        "machine": machine,
        "model_sha256": model.spec.sha256,
        "tried": [each.to_dict() for each in tried],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(document, indent=1) + "\n")
    except (OSError, OutputError):
        return tried, f"{took}, which could not be kept in {path}"
    return tried, f"{took}; {why_not}" if why_not else took


def machine_facts(threads: int) -> dict[str, Any]:
    """What a self-test's result depends on, besides the model."""
    return {
        "processor": processor_name(),
        "instructions": sorted(_INSTRUCTIONS & _flags()),
        "instruction_limits": instruction_limits(),
        "threads": threads,
        **{name: _version(name) for name in ("onnxruntime", "openvino", "edgecrack")},
    }


_INSTRUCTIONS = frozenset(
    {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8"}
)


def has_amx() -> bool:
    """Whether the processor has AMX for bfloat16, and no variable forbids it.

    AVX-512's bfloat16 instructions alone do not count: on some processors they are slow.
    """
    limits = instruction_limits().values()
    return "amx_bf16" in _flags() and all("AMX" in each or each in _NO_LIMIT for each in limits)


def processor_name() -> str:
    """The processor's name, by the system."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


_NO_LIMIT = frozenset({"ALL", "DEFAULT"})


def _flags() -> set[str]:
    return set(_cpu_info("flags").split())


def _cpu_info(key: str) -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _result_path(
    model: ModelFile, machine: Mapping[str, Any], precision: CpuPrecision
) -> Path | None:
    folder = cache_folder()
    of_machine = hashlib.sha256(f"{machine['processor']}{machine['threads']}".encode()).hexdigest()
    name = f"{(model.spec.sha256 or '')[:16]}-{of_machine[:8]}-{precision}.json"
    return None if folder is None else folder / "edgecrack" / "backends" / name


def cache_folder() -> Path | None:
    """This user's cache folder; None if there is none.

    A relative path would mean another folder for each working folder, and the home folder of a
    container's nameless user is the root of the file system; neither is taken.
    """
    if given := os.environ.get(_CACHE):
        return Path(given) if Path(given).is_absolute() else None
    try:
        home = Path.home()
    except RuntimeError:  # an unknown user
        return None
    is_real = home.is_absolute() and home != Path(home.anchor)
    return home / ".cache" if is_real else None


def read_result(
    path: Path, machine: Mapping[str, Any], model: ModelFile, precision: CpuPrecision
) -> tuple[tuple[TriedBackend, ...] | None, str]:
    """Read a cached result; one that no self-test could have produced is refused.

    Returns:
        The result; or None and the reason, "" if there is no file.
    """
    try:
        document = read_json(path)
    except OSError:
        return None, ""
    except ValueError:
        return None, f"{path} is damaged, and was replaced"
    try:
        if document["schema_version"] != _VERSION:
            return None, f"{path} is of another version, and was replaced"
        if document["machine"] != dict(machine):
            return None, f"{path} is of another machine or version, and was replaced"
        if document["model_sha256"] != model.spec.sha256:
            return None, f"{path} is of another model, and was replaced"
        tried = tuple(TriedBackend.from_dict(each) for each in document["tried"])
    except (KeyError, TypeError, ValueError, OverflowError, ConfigError):
        return None, f"{path} is damaged, and was replaced"
    known = settings_to_try(model, machine["threads"], precision)
    if not _is_possible(tried, known, judged_by_masks(model, precision)):
        return None, f"{path} is damaged, and was replaced"
    return tried, ""


def _is_possible(
    tried: tuple[TriedBackend, ...], known: Sequence[OpenVINOSettings], by_masks: bool
) -> bool:
    """Whether a self-test of the `known` settings can produce this."""
    if len(tried) < 2 or tried[0].settings is not None or tried[0].problem:
        return False
    settings = [each.settings for each in tried[1:]]
    return (
        all(each in known for each in settings)
        and len(set(settings)) == len(settings)
        and not any(each.misfit(by_masks) for each in tried if not each.problem)
    )
