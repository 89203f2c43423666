"""Tests that need no PyTorch, with the lowest and the highest versions that pyproject.toml allows.

    pip install uv
    python tools/dependency_ends.py --end lowest --python python3.10 --environment /tmp/lowest
    python tools/dependency_ends.py --end highest --python python3.12 --environment /tmp/highest

Makes the environment, installs into it, and runs the tests that docs/dependencies.md names. `uv`
resolves, because pip cannot prefer the lowest versions.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "cpu,record,serve,heic,maps,measure,report,quantize,dev"
RESOLUTION = {"lowest": "lowest-direct", "highest": "highest"}
TESTS = (
    "images",
    "scale",
    "measurement",
    "test_settings.py",
    "test_artifacts.py",
    "test_cli.py",
    "runtime/backends",
    "runtime/outputs",
    "runtime/sources",
    "mcap",
)


def main() -> None:
    """Install and test at one end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--end", choices=list(RESOLUTION), required=True)
    parser.add_argument("--python", required=True, help="the interpreter of the environment")
    parser.add_argument("--environment", type=Path, required=True)
    options = parser.parse_args()
    subprocess.run([options.python, "-m", "venv", options.environment], check=True)
    python = str(options.environment / "bin" / "python")
    install = [sys.executable, "-m", "uv", "pip", "install", "--python", python]
    install += ["--resolution", RESOLUTION[options.end], f"{ROOT}[{EXTRAS}]"]
    subprocess.run(install, check=True)
    tests = [str(ROOT / "tests" / name) for name in TESTS]
    words = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--fast", "-m", "not slow"]
    # Older libraries warn of newer Pythons, which is not what is asked here.
    done = subprocess.run(
        [*words, "-W", "ignore", *tests], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
