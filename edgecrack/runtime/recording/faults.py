"""What an error that ends a recording is called to a person, and what they can do."""

from __future__ import annotations

from pathlib import Path

from edgecrack.errors import EdgecrackError, first_line
from edgecrack.files import output_error


def described(error: Exception, folder: Path) -> tuple[str, str]:
    """Problem and remedy.

    Args:
        error: of any kind.
        folder: of the recording, for errors that name no file.
    """
    if isinstance(error, OSError):
        error = output_error(error.filename or folder, error)
    if isinstance(error, EdgecrackError):
        return error.problem, error.remedy
    if isinstance(error, MemoryError):
        return "the machine is out of memory", "free some and start the recording again"
    return first_line(error), "report it as a defect"
