"""Imports of what only some installs have, with an error that says what to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from edgecrack.errors import MissingDependencyError


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: dotted name, e.g. "scipy.io".
        extra: the extra of this package that brings it.
        purpose: what it is needed for, as it stands in the error.

    Raises:
        MissingDependencyError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{purpose} needs {error.name}, which is not installed",
            f'run: pip install "edgecrack[{extra}]"',
        ) from error
