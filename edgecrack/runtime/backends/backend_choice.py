"""Which backend runs an ONNX file on this machine's CPU: measured once, and kept.

ONNX Runtime serves everywhere and says what is right. OpenVINO is often faster; it is taken where
a short self-test on built-in walls finds it faster and its values equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgecrack import __version__
from edgecrack.artifacts import ModelFile
from edgecrack.errors import ConfigError, EdgecrackError, ModelFileError, OutputError
from edgecrack.files import write_atomic
from edgecrack.preprocess import prepare
from edgecrack.runtime.backends.base import Runner
from edgecrack.runtime.backends.onnx_runtime import OnnxRuntimeRunner
from edgecrack.runtime.backends.openvino_module import has_openvino, import_openvino
from edgecrack.runtime.backends.openvino_runner import (
    CpuPrecision,
    OpenVINORunner,
    OpenVINOSettings,
)
from edgecrack.synthetic import WallConfig, generate_wall

Backend = Literal["auto", "onnxruntime", "openvino", "openvino-bf16"]
BACKENDS: tuple[str, ...] = get_args(Backend)

# Of 255; more than rounding makes between two programs that reckon with float32.
MOST_DIFFERENCE = 2
# A gain that is smaller is not worth another program.
_LEAST_GAIN = 1.05
_VERSION = 1
_PASSES = 3
_BUDGET_S = 10.0
_FEWEST_TILES, _MOST_TILES = 8, 32
_SMALLEST_WALL_PX = 32
_CACHE = "XDG_CACHE_HOME"

Clock = Callable[[], float]
Told = Callable[[str], None]


@dataclass(frozen=True)
class TriedBackend:
    """What a self-test found of one way to run a model.

    Attributes:
        settings: of OpenVINO; None for ONNX Runtime.
        seconds: of the fastest pass.
        difference: the largest one from ONNX Runtime's values, of 255.
        problem: why it cannot be used; "" where it can.
    """

    settings: OpenVINOSettings | None
    seconds: float
    difference: int = 0
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        settings = None if self.settings is None else self.settings.to_dict()
        return {
            "settings": settings,
            "seconds": round(self.seconds, 5),
            "difference": self.difference,
            "problem": self.problem,
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> TriedBackend:
        """From `to_dict`."""
        settings = given["settings"]
        return cls(
            None if settings is None else OpenVINOSettings(**settings),
            float(given["seconds"]),
            int(given["difference"]),
            str(given["problem"]),
        )


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
        """A runner of that kind."""
        if self.settings is None:
            return OnnxRuntimeRunner(model, threads=threads)
        return OpenVINORunner(model, self.settings, threads=threads)


def choose_backend(
    model: ModelFile, threads: int, backend: str = "auto", on_told: Told = lambda text: None
) -> BackendChoice:
    """Choose how to run a model on the CPU.

    The first time on a machine this takes some seconds; the result is kept under
    `~/.cache/edgecrack/backends/`.

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
    import_openvino()
    precision: CpuPrecision = "bf16" if backend == "openvino-bf16" else "f32"
    tried, origin = _kept_or_tested(model, threads, precision, on_told)
    return _chosen(tried, backend, model, origin)


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
    best = min(usable, key=lambda each: each.seconds)
    gain = base.seconds / best.seconds
    if backend == "auto" and gain < _LEAST_GAIN:
        return BackendChoice(
            None, f"ONNX Runtime, since OpenVINO takes {1 / gain:.2f} of its time ({origin})"
        )
    assert best.settings is not None
    return BackendChoice(
        best.settings,
        f"OpenVINO, {best.settings.words}: {gain:.2f} times as fast as ONNX Runtime, values at "
        f"most {best.difference} of 255 apart ({origin})",
    )


def _kept_or_tested(
    model: ModelFile, threads: int, precision: CpuPrecision, on_told: Told
) -> tuple[tuple[TriedBackend, ...], str]:
    """The self-test's result and whence it is."""
    machine = machine_facts(threads)
    path = _result_path(model, machine, precision)
    kept, why_not = read_result(path, machine)
    if kept is not None:
        return kept, "self-test of an earlier start"
    on_told("trying which backend is the fastest on this machine, once for this model")
    began = time.monotonic()
    tried = self_test(model, threads, precision)
    took = f"self-test of {time.monotonic() - began:.0f} s"
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


def self_test(
    model: ModelFile, threads: int, precision: CpuPrecision = "f32", clock: Clock = time.monotonic
) -> tuple[TriedBackend, ...]:
    """Run a model on built-in walls in every way that might be the fastest.

    Args:
        model: an ONNX file.
        threads: CPU threads.
        precision: of OpenVINO; with "bf16", values may differ.
        clock: seconds.

    Returns:
        ONNX Runtime first. What takes too long to try is left out.
    """
    tiles = built_in_tiles(model, threads)
    end = clock() + _BUDGET_S
    with ExitStack() as stack:
        base = stack.enter_context(OnnxRuntimeRunner(model, threads=threads))
        wanted = base.infer(tiles)
        runners: list[tuple[OpenVINOSettings | None, Runner]] = [(None, base)]
        differences = {0: 0}
        refused = []
        for settings in _settings_to_try(model, threads, precision):
            try:
                runner = stack.enter_context(OpenVINORunner(model, settings, threads=threads))
                found = runner.infer(tiles)
            except (EdgecrackError, RuntimeError) as error:
                refused.append(TriedBackend(settings, 0.0, 0, str(error)))
                continue
            apart = int(np.abs(found.astype(np.int16) - wanted).max())
            if apart > MOST_DIFFERENCE and precision == "f32":
                problem = f"its values are up to {apart} of 255 apart"
                refused.append(TriedBackend(settings, 0.0, apart, problem))
                continue
            differences[len(runners)] = apart
            runners.append((settings, runner))
        fastest = _fastest_passes([runner for _, runner in runners], tiles, clock, end)
    tried = [
        TriedBackend(settings, fastest[place], differences[place])
        for place, (settings, _) in enumerate(runners)
    ]
    return (tried[0], *tried[1:], *refused)


def _fastest_passes(
    runners: list[Runner], tiles: NDArray[np.uint8], clock: Clock, end: float
) -> list[float]:
    """Of each runner its fastest pass; in turn, so that a busy moment strikes all."""
    fastest = [float("inf")] * len(runners)
    for number in range(_PASSES):
        if number and clock() > end:
            break
        for place, runner in enumerate(runners):
            began = clock()
            runner.infer(tiles)
            fastest[place] = min(fastest[place], clock() - began)
    return fastest


def built_in_tiles(model: ModelFile, threads: int) -> NDArray[np.uint8]:
    """Prepared tiles of generated walls with cracks, uint8 [N, 1, H, W]."""
    spec = model.spec
    count = int(np.clip(4 * threads, _FEWEST_TILES, _MOST_TILES))
    height, width = spec.tile_hw
    hw = max(height, _SMALLEST_WALL_PX), max(width, _SMALLEST_WALL_PX)
    walls = [generate_wall(WallConfig(seed, hw)).image for seed in range(_FEWEST_TILES)]
    tiles = [np.asarray(prepare(wall[:height, :width], spec.preprocess)) for wall in walls]
    return np.stack([tiles[number % len(tiles)] for number in range(count)])[:, None]


def _settings_to_try(
    model: ModelFile, threads: int, precision: CpuPrecision
) -> list[OpenVINOSettings]:
    """Many pieces at a time first, which is the fastest on most machines."""
    streams = sorted({threads, -(-threads // 2), 1}, reverse=True)
    batches: tuple[int | None, ...] = (2, 1, None) if model.spec.batch is None else (None,)
    return [
        OpenVINOSettings(precision, count, batch)
        for count in streams
        for batch in batches
        # Everything in one piece leaves other streams without work.
        if not (batch is None and count > 1 and model.spec.batch is None)
        and not (batch == 1 and count == 1 and threads > 1)
    ]


def machine_facts(threads: int) -> dict[str, Any]:
    """What a self-test's result depends on, but for the model."""
    return {
        "processor": processor_name(),
        "instructions": sorted(_INSTRUCTIONS & _flags()),
        "threads": threads,
        **{name: _version(name) for name in ("onnxruntime", "openvino")},
        "edgecrack": __version__,
    }


_INSTRUCTIONS = frozenset(
    {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8"}
)


def processor_name() -> str:
    """As the system calls it."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


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


def _result_path(model: ModelFile, machine: Mapping[str, Any], precision: CpuPrecision) -> Path:
    of_machine = hashlib.sha256(f"{machine['processor']}{machine['threads']}".encode()).hexdigest()
    name = f"{(model.spec.sha256 or '')[:16]}-{of_machine[:8]}-{precision}.json"
    root = Path(os.environ.get(_CACHE) or Path.home() / ".cache")
    return root / "edgecrack" / "backends" / name


def read_result(
    path: Path, machine: Mapping[str, Any]
) -> tuple[tuple[TriedBackend, ...] | None, str]:
    """A kept result; or None, and why it cannot be used, "" where there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return None, ""
    except (ValueError, RecursionError):
        return None, f"{path} is damaged, and was written anew"
    try:
        if document["schema_version"] != _VERSION:
            return None, f"{path} is of another version, and was written anew"
        if document["machine"] != dict(machine):
            return None, f"{path} is of another machine or version, and was written anew"
        tried = tuple(TriedBackend.from_dict(each) for each in document["tried"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None, f"{path} is damaged, and was written anew"
    if not tried or tried[0].settings is not None or not tried[0].seconds > 0:
        return None, f"{path} is damaged, and was written anew"
    return tried, ""
