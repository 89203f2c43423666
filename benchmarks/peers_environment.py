"""A separate environment for the packages that edgecrack is compared with.

A virtual environment with edgecrack of this checkout and its extras `export` and `cpu`, and each
peer's package beside them. A package that does not install costs its own peers only.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers_tables import last_line
from edgecrack.errors import ConfigError, MissingDependencyError
from edgecrack.files import write_atomic
from edgecrack.runtime.backends.backend_choice import cache_folder

ROOT = Path(__file__).resolve().parents[1]
# By the name of the package that a peer imports. None of these is under the AGPL.
PACKAGES = {"monai": "monai==1.6.1"}  # Apache-2.0
_STAMP = "installed.json"


@dataclass(frozen=True)
class Environment:
    """Where peers run.

    Attributes:
        python: the environment's Python.
        failed: of each package that could not be installed, the last line of what pip said.
    """

    python: Path
    failed: dict[str, str]


def default_folder() -> Path:
    """Where the environment is kept from one run to the next.

    Raises:
        ConfigError: there is no cache folder.
    """
    folder = cache_folder()
    if folder is None:
        raise ConfigError("there is no cache folder for the environment", "give --environment")
    return folder / "edgecrack" / "peers"


def prepare_environment(folder: Path, pip_arguments: Sequence[str] = ()) -> Environment:
    """Make the environment, or take the one that is there where it still fits.

    Args:
        folder: where it lies; made where it is missing.
        pip_arguments: further options of pip, such as an index of CPU builds of PyTorch.

    Raises:
        MissingDependencyError: edgecrack itself cannot be installed there.
    """
    python = folder / "bin" / "python"
    stamp = folder / _STAMP
    wanted = _wanted()
    if not (stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == wanted):
        folder.mkdir(parents=True, exist_ok=True)
        print(f"making the environment {folder}, which takes minutes", flush=True)
        made = _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        problem = made or _install(python, pip_arguments, "-e", f"{ROOT}[export,cpu]")
        if problem:
            raise MissingDependencyError(
                f"the environment {folder} cannot be made ({problem})",
                "mend that, or give another folder with --environment",
            )
        write_atomic(stamp, json.dumps(wanted) + "\n")
    # Those that are there cost pip a second; those that failed get another try.
    found = {name: _install(python, pip_arguments, what) for name, what in PACKAGES.items()}
    return Environment(python, {name: problem for name, problem in found.items() if problem})


def _wanted() -> dict[str, str]:
    """What an environment that still fits was made of."""
    manifests = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    content = b"".join(each.read_bytes() for each in manifests)
    return {
        "checkout": str(ROOT),
        "manifests": hashlib.sha256(content).hexdigest(),
        "python": sys.version,
    }


def _install(python: Path, pip_arguments: Sequence[str], *what: str) -> str:
    """Install with the versions that the project is tested with; what went wrong, or ""."""
    constraints = ["-c", str(ROOT / "constraints.txt")]
    options = ["-qq", "--disable-pip-version-check", *constraints, *pip_arguments]
    return _run([str(python), "-m", "pip", "install", *options, *what])


def _run(command: Sequence[str]) -> str:
    """Run a command; the last error it printed if it failed, or its last line, else ""."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    said = done.stderr or done.stdout
    # pip adds notes after what went wrong, and indents what a build that it started said.
    errors = [line for line in said.splitlines() if line.strip().startswith("ERROR: ")]
    return last_line("\n".join(errors) or said) or f"exit code {done.returncode}"
