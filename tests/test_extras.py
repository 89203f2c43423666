"""The command that installs what is missing, by how the running copy was installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from edgecrack.errors import MissingDependencyError
from edgecrack.extras import LIBRARIES, Origin, find_origin, origin, require
from tests.test_layout import project_table

REPOSITORY = Path(__file__).resolve().parents[1]
MCAP = "pip install 'mcap>=1.6,<2'"


def noted(url: str, **more: Any) -> str:
    return json.dumps({"url": url, **more})


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The package's folder where it was installed, with nothing around it."""
    folder = tmp_path / "site-packages" / "edgecrack"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "my checkout"
    (folder / "edgecrack").mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "edgecrack"\n')
    return folder


def test_from_a_checkout(checkout: Path) -> None:
    found = find_origin(checkout / "edgecrack", None)
    assert found == Origin(str(checkout), editable=True)
    assert found.install("record") == f"pip install -e '{checkout}[record]'"
    assert found.update() == f"update edgecrack: git -C '{checkout}' pull"


def test_a_checkout_counts_before_what_pip_noted(checkout: Path) -> None:
    assert find_origin(checkout / "edgecrack", noted("https://example.org/x.whl")).editable


def test_installed_from_a_folder(installed: Path, checkout: Path) -> None:
    found = find_origin(installed, noted(checkout.as_uri(), dir_info={}))
    assert found.install("serve") == f"pip install '{checkout}[serve]'"
    assert found.reinstall() == f"pip install --force-reinstall --no-deps '{checkout}'"


def test_installed_from_a_wheel(installed: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "edgecrack-0.1.0-py3-none-any.whl"
    url = noted(wheel.as_uri(), archive_info={})
    assert find_origin(installed, url) == Origin()  # it is there no more
    wheel.write_bytes(b"")
    assert find_origin(installed, url).install("record") == f"pip install '{wheel}[record]'"


@pytest.mark.parametrize(
    ("note", "command"),
    [
        (
            noted("https://example.org/edgecrack-0.1.0-py3-none-any.whl", archive_info={}),
            "pip install 'edgecrack[record] @ "
            "https://example.org/edgecrack-0.1.0-py3-none-any.whl'",
        ),
        (
            noted("https://example.org/crack.git", vcs_info={"vcs": "git", "commit_id": "ab12"}),
            "pip install 'edgecrack[record] @ git+https://example.org/crack.git@ab12'",
        ),
        (
            noted(
                "ssh://git@example.org/crack.git",
                vcs_info={"vcs": "git", "commit_id": "ab12", "requested_revision": "v1"},
            ),
            "pip install 'edgecrack[record] @ git+ssh://git@example.org/crack.git@v1'",
        ),
        # By its name from an index, which may be anybody's; or nobody knows.
        (None, MCAP),
        ("", MCAP),
        ("[]", MCAP),
        ("{", MCAP),
        (noted("file:///nowhere/edgecrack", dir_info={}), MCAP),
        (noted("ftp://example.org/edgecrack"), MCAP),
        (json.dumps({"url": 7}), MCAP),
    ],
)
def test_installed_from_elsewhere(installed: Path, note: str | None, command: str) -> None:
    assert find_origin(installed, note).install("record") == command


def test_a_folder_of_another_project_is_not_advised(installed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "pyproject.toml").write_text('[project]\nname = "other"\n')
    assert find_origin(installed, noted(other.as_uri(), dir_info={})) == Origin()
    assert find_origin(other / "edgecrack", None) == Origin()


def test_no_command_ever_names_the_package_alone(checkout: Path) -> None:
    for found in (Origin(), Origin(str(checkout)), Origin(str(checkout), editable=True)):
        for text in (*map(found.install, LIBRARIES), found.reinstall(), found.update()):
            assert "edgecrack[" not in text.replace(f"{checkout}[", "")
            assert not text.endswith((" edgecrack", '"edgecrack"'))


def test_the_libraries_are_those_of_the_manifest() -> None:
    extras = project_table()["optional-dependencies"]
    manifest = {
        name: {str(Requirement(line).name) + str(Requirement(line).specifier) for line in lines}
        for name, lines in extras.items()
        if name not in ("dev", "all")
    }
    known = {
        name: {str(Requirement(line).name) + str(Requirement(line).specifier) for line in lines}
        for name, lines in LIBRARIES.items()
    }
    assert known == manifest


def test_a_missing_module_is_named_with_the_command() -> None:
    with pytest.raises(MissingDependencyError, match="a recording needs no_such_module") as refusal:
        require("no_such_module.part", extra="record", purpose="a recording")
    assert refusal.value.remedy == f"run: {origin().install('record')}"
    assert require("json", extra="record", purpose="nothing") is json


@pytest.mark.slow
def test_what_pip_notes_of_a_folder_and_of_a_wheel(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend is not installed (extra dev)")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*pip, "wheel", *options, "--wheel-dir", str(tmp_path), str(REPOSITORY)], check=True
    )
    (wheel,) = tmp_path.glob("edgecrack-*.whl")
    for number, place in enumerate((REPOSITORY, wheel)):
        target = tmp_path / str(number)
        subprocess.run([*pip, "install", *options, "--target", target, str(place)], check=True)
        asked = "from edgecrack.extras import origin; print(origin().install('record'))"
        done = subprocess.run(
            [sys.executable, "-c", asked],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"pip install '{place}[record]'\n"
