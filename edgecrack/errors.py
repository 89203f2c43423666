"""The errors that a user can cause and fix.

Every error says what is wrong, with the offending value, and what to do about it. Only `cli.py`
turns one into an exit code; library code raises it and never prints.
"""

from __future__ import annotations

from typing import ClassVar


class EdgecrackError(Exception):
    """Base of every error that a user can fix.

        >>> from edgecrack import EdgecrackError, open_source
        >>> try:
        ...     open_source("no-such-wall.mp4")
        ... except EdgecrackError as error:
        ...     error.problem, error.exit_code
        ('no-such-wall.mp4 does not exist', 5)

    Args:
        problem: what is wrong, naming the value; one clause without a final full stop.
        remedy: what to do about it; one clause without a final full stop.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}; {remedy}.")

    def __reduce__(self) -> tuple[type[EdgecrackError], tuple[str, str]]:
        """Rebuild from both parts, so that an error can be sent to another process."""
        return type(self), (self.problem, self.remedy)


class ConfigError(EdgecrackError):
    """An option or a configuration value is out of range or does not fit the others."""

    exit_code = 2


class DataError(EdgecrackError):
    """A dataset file is missing, unreadable, or does not fit its partner."""

    exit_code = 3


class ModelFileError(EdgecrackError):
    """A model file is missing, is not edgecrack's, or does not match its sidecar."""

    exit_code = 4


class SourceError(EdgecrackError):
    """A camera, stream, video or folder cannot be opened or fails while it is read."""

    exit_code = 5


class UnreadableInputsError(SourceError):
    """The work is done, except for some inputs that could not be read."""

    exit_code = 12


class OutputError(EdgecrackError):
    """A result cannot be written: folder not writable, disk full, unknown format."""

    exit_code = 6


class MissingDependencyError(EdgecrackError):
    """A command needs an extra that is not installed."""

    exit_code = 7


class TrainingError(EdgecrackError):
    """Training cannot continue: the loss is not finite, or a checkpoint does not fit."""

    exit_code = 8


class InterruptedTrainingError(TrainingError):
    """Ctrl-C or SIGTERM ended a training run, which can be resumed."""

    exit_code = 130


class ExportError(EdgecrackError):
    """An exported graph breaks the contract: a foreign operator, or outputs that differ."""

    exit_code = 9


class DeviceError(EdgecrackError):
    """The GPU or its driver does not support the request."""

    exit_code = 10


class AccuracyError(EdgecrackError):
    """A quantized model loses more accuracy than is allowed, and was not written."""

    exit_code = 11


def first_line(error: BaseException) -> str:
    """The first line of another library's error, or the error's type."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
