"""Finds and imports TensorRT, and collects its log messages for errors and results."""

from __future__ import annotations

import gc
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edgecrack.errors import ConfigError, MissingDependencyError, first_line
from edgecrack.extras import origin
from edgecrack.nvidia.engine_info import FLAVOURS

Made = TypeVar("Made")
_SHOWN_ERRORS = 3
_KEPT_MESSAGES = 64
_SHOWN_CHARACTERS = 400


@dataclass
class BuildLog:
    """TensorRT's messages without duplicates, in order; the oldest are dropped.

    Attributes:
        errors: of severity ERROR and INTERNAL_ERROR.
        warnings: of severity WARNING.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, messages: list[str], text: str) -> None:
        """Add a message to one of the lists, on one line."""
        line = " ".join(text.split())
        if line and line not in messages:
            messages.append(line)
            del messages[:-_KEPT_MESSAGES]

    def clear(self) -> None:
        """Clear, so that the next failure is not explained by an earlier one."""
        self.errors.clear()
        self.warnings.clear()

    def reason(self) -> str:
        """The first errors as a clause, for an exception; never empty."""
        shown = [_shorten(message) for message in self.errors[:_SHOWN_ERRORS]]
        more = len(self.errors) - len(shown)
        shown += [f"and {more} more messages"] if more > 0 else []
        return "; ".join(shown) or "TensorRT gave no reason"


def make_logger(trt: Any) -> tuple[Any, BuildLog]:
    """A TensorRT logger and the log that it fills.

    Args:
        trt: the TensorRT module.
    """
    log = BuildLog()

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity == trt.ILogger.WARNING:
                log.add(log.warnings, message)
            elif severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                log.add(log.errors, message)

    return Logger(), log


def construct(factory: Callable[[Any], Made], logger: Any) -> Made:
    """Make a Builder or Runtime with Python's cycle collector paused.

    TensorRT calls the logger while it holds a lock of its own. If the collector runs in that call
    and finds an older Builder or Runtime that was left in a cycle, as by an exception that
    somebody kept, its end waits for the same lock, for ever.

    Args:
        factory: `trt.Builder` or `trt.Runtime`.
        logger: its only argument.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return factory(logger)
    finally:
        if was_enabled:
            gc.enable()


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


OLDEST_TENSORRT = (10, 3)  # JetPack 6.1
# Features that not every TensorRT version has, and the tested versions that have them. Each use
# must be guarded by `TensorRT.has`; a test compares the table and the uses with each version's API.
OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "ComputeCapability": ("tensorrt_rtx 1.7.1.116",),
    "CudaGraphStrategy": ("tensorrt_rtx 1.7.1.116",),
    "EngineInvalidityDiagnostics": ("tensorrt_rtx 1.7.1.116",),
    "IBuilderConfig.num_compute_capabilities": ("tensorrt_rtx 1.7.1.116",),
    "IBuilderConfig.set_compute_capability": ("tensorrt_rtx 1.7.1.116",),
    "ICudaEngine.create_runtime_config": (
        "tensorrt 10.13.0.35",
        "tensorrt 11.4.0.106",
        "tensorrt_rtx 1.7.1.116",
    ),
    "IRuntimeConfig.create_runtime_cache": ("tensorrt_rtx 1.7.1.116",),
    "IRuntimeConfig.cuda_graph_strategy": ("tensorrt_rtx 1.7.1.116",),
    "IRuntimeConfig.set_runtime_cache": ("tensorrt_rtx 1.7.1.116",),
    "Runtime.get_engine_validity": ("tensorrt_rtx 1.7.1.116",),
}


@dataclass(frozen=True)
class TensorRT:
    """A TensorRT that can be used.

    Attributes:
        flavour: "tensorrt" or "tensorrt_rtx".
        version: as in "10.3.0".
        module: the imported module.
    """

    flavour: str
    version: str
    module: Any

    @property
    def is_rtx(self) -> bool:
        """Whether this is TensorRT for RTX."""
        return self.flavour == "tensorrt_rtx"

    def has(self, name: str) -> bool:
        """Whether this TensorRT has an optional class or member.

        Args:
            name: a key of `OPTIONAL`, as in "Runtime.get_engine_validity".

        Raises:
            KeyError: `OPTIONAL` does not name it.
        """
        OPTIONAL[name]
        found = self.module
        for part in name.split("."):
            found = getattr(found, part, None)
        return found is not None


def find_tensorrt(flavour: str | None = None) -> TensorRT:
    """Import TensorRT.

    Args:
        flavour: "tensorrt" or "tensorrt_rtx"; None takes the first of them that is there.

    Raises:
        ConfigError: no such flavour.
        MissingDependencyError: it is not installed, cannot be loaded, or is too old.
    """
    if flavour is not None and flavour not in FLAVOURS:
        raise ConfigError(f"the TensorRT is {flavour!r}", f"give one of: {', '.join(FLAVOURS)}")
    failures = []
    for name in [flavour] if flavour else FLAVOURS:
        if importlib.util.find_spec(name) is None:
            continue
        try:
            module = importlib.import_module(name)
            return _checked(name, module)
        except (Exception, SystemExit) as error:  # a broken install fails in any way
            failures.append(f"{name} cannot be loaded ({first_line(error)})")
    wanted = flavour or " or ".join(FLAVOURS)
    problem = "; ".join(failures) or f"{wanted} is not installed"
    raise MissingDependencyError(problem, how_to_install())


def how_to_install() -> str:
    """The remedy that installs TensorRT."""
    return (
        "on a Jetson it comes with JetPack (sudo apt-get install python3-libnvinfer); "
        f"for desktop RTX GPUs run: {origin().install('rtx')}"
    )


def _checked(name: str, module: Any) -> TensorRT:
    version = str(getattr(module, "__version__", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    # A folder called tensorrt, or a package without its libraries, imports as an empty module.
    if len(numbers) < 2 or not hasattr(module, "Builder"):
        raise ImportError("it holds no builder")
    if name == "tensorrt" and numbers < OLDEST_TENSORRT:
        raise ImportError(f"version {version} is older than 10.3, which JetPack 6.1 has")
    return TensorRT(name, version, module)


def installed_flavours() -> tuple[str, ...]:
    """Names of the installed TensorRT packages, the preferred one first.

    Looks for them without loading any; one that is found may still fail to load.
    """
    return tuple(name for name in FLAVOURS if importlib.util.find_spec(name) is not None)
