"""What is measured: each model file with each backend that runs it here."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgecrack.artifacts import ModelFile, read_model_file
from edgecrack.errors import ConfigError
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.runtime.backends.openvino_module import has_openvino
from edgecrack.runtime.detector import CrackDetector, open_detector


@dataclass(frozen=True)
class Candidate:
    """A model file and what runs it.

    Attributes:
        model: the file.
        backend: as `open_runner` takes it; None for an engine.
        precision: as the sidecar says.
        file: the model as it was read; None reads it when it is opened.
    """

    model: Path
    backend: str | None
    precision: str
    file: ModelFile | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.model.name}, {self.backend or 'tensorrt'}"

    @property
    def size_bytes(self) -> int:
        """Of the model file."""
        return self.model.stat().st_size if self.file is None else len(self.file.content)

    def options(self, threads: int | None) -> str:
        """What to add to `edgecrack stream` to run it so, for a shell.

        Args:
            threads: CPU threads that were asked for; None where none were.
        """
        words = [] if self.model == BUNDLED_MODEL else ["--model", str(self.model)]
        if self.backend is not None:
            words += ["--backend", self.backend]
            words += [] if threads is None else ["--threads", str(threads)]
        return shlex.join(words)

    def open(
        self, threads: int | None, on_told: Callable[[str], None] = lambda text: None
    ) -> CrackDetector:
        """A detector that runs so.

        Args:
            threads: CPU threads; an engine needs none.
            on_told: told of a self-test, and what came of it.
        """
        threads = None if self.backend is None else threads
        return open_detector(
            self.file or self.model, threads=threads, backend=self.backend, on_told=on_told
        )


def candidates(models: Sequence[Path]) -> list[Candidate]:
    """Each model with each backend that this machine may have.

    Args:
        models: ONNX files and engines; of none the bundled one.

    Raises:
        ModelFileError: a file is missing, or is no model.
        ConfigError: a file is given twice.
    """
    if len(set(models)) < len(models):
        raise ConfigError("a model is given twice", "give each once")
    found = []
    for model in models or [BUNDLED_MODEL]:
        file = read_model_file(model)
        spec = file.spec
        backends: list[str | None] = ["onnxruntime"]
        if spec.kind == "engine":
            backends = [None]
        elif has_openvino():
            backends += ["openvino", "openvino-bf16"]
        found += [Candidate(model, backend, spec.precision or "fp32", file) for backend in backends]
    return found
