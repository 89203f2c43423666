"""The tree's own rules: links, light imports, named dependencies, a clean wheel, no stray paths."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[1]
LINKS = ("export", "runtime", "calibration", "cli.py")

# What a robot does not have, or must not load before it is asked to.
HEAVY = ("torch", "lightning", "safetensors", "matplotlib", "scipy", "onnx", "tensorrt")
FOREIGN_TO_ROBOTS = {*HEAVY, "tensorrt_rtx", "pycuda", "cuda"}


def project_table() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return table


def dependency_names() -> list[str]:
    """Every distribution that pyproject.toml names, in the base install or in an extra."""
    project = project_table()
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {canonicalize_name(Requirement(line).name) for group in groups for line in group}
    return sorted(names - {"edgecrack"})


def constraint_lines() -> list[Requirement]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def project_files() -> list[Path]:
    """The files that belong to the project: known to git, or new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this tree is not a git checkout, or git is missing: {error}")
    paths = [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def modules_loaded_by(*imports: str) -> set[str]:
    """The top-level modules in a fresh interpreter after the imports given."""
    listing = "print(*{name.partition('.')[0] for name in sys.modules})"
    code = f"import sys, {', '.join(imports)}; {listing}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def runtime_modules() -> list[str]:
    files = sorted((REPOSITORY / "edgecrack" / "runtime").rglob("*.py"))
    dotted = (".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in files)
    return [name.removesuffix(".__init__") for name in dotted]


@pytest.mark.parametrize("link", LINKS)
def test_link_at_the_root_is_relative_and_resolves(link: str) -> None:
    path = REPOSITORY / link
    assert path.is_symlink()
    assert os.readlink(path) == f"edgecrack/{link}"  # noqa: PTH115 (readlink as written)
    assert path.resolve() == (REPOSITORY / "edgecrack" / link).resolve()
    assert path.exists()


def test_importing_the_package_loads_no_array_library() -> None:
    loaded = modules_loaded_by("edgecrack")
    assert not loaded & {*HEAVY, "cv2", "numpy", "onnxruntime"}


def test_all_that_a_robot_imports_loads_nothing_heavy() -> None:
    assert not modules_loaded_by("edgecrack.cli", *runtime_modules()) & FOREIGN_TO_ROBOTS


@pytest.mark.slow
@pytest.mark.parametrize("module", ["edgecrack.cli", *runtime_modules()])
def test_each_module_can_be_imported_first_and_loads_nothing_heavy(module: str) -> None:
    assert not modules_loaded_by(module) & FOREIGN_TO_ROBOTS


def test_every_public_name_resolves() -> None:
    package = importlib.import_module("edgecrack")
    missing = [name for name in package.__all__ if not hasattr(package, name)]
    assert not missing
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name


def test_version_is_the_manifest_s() -> None:
    package = importlib.import_module("edgecrack")
    assert package.__version__ == project_table()["version"]


def test_the_changelog_has_this_version() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    assert f"## [{project_table()['version']}]" in changelog


@pytest.mark.parametrize("name", dependency_names())
def test_dependency_is_pinned_and_documented(name: str) -> None:
    pinned = [line for line in constraint_lines() if canonicalize_name(line.name) == name]
    assert pinned, f"constraints.txt does not name {name}"
    assert all(str(line.specifier).startswith("==") for line in pinned)
    rows = (REPOSITORY / "docs" / "dependencies.md").read_text().splitlines()
    assert any(row.startswith(f"| {name} |") for row in rows), f"docs/dependencies.md: no {name}"


def test_the_robot_install_has_no_training_dependency() -> None:
    names = {canonicalize_name(Requirement(line).name) for line in project_table()["dependencies"]}
    assert names == {
        "av",
        "numpy",
        "opencv-python-headless",
        "onnxruntime",
        "pillow",
        "pydantic",
        "pyyaml",
        "rich",
        "simplejpeg",
        "threadpoolctl",
        "typer",
    }


def test_a_pin_lies_inside_the_manifest_s_range() -> None:
    project = project_table()
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    pins = constraint_lines()
    outside = []
    for line in (line for group in groups for line in group):
        wanted = Requirement(line)
        for pin in pins:
            same = canonicalize_name(pin.name) == canonicalize_name(wanted.name)
            applies = not wanted.marker or wanted.marker.evaluate()
            here = not pin.marker or pin.marker.evaluate()
            version = str(pin.specifier).removeprefix("==")
            if same and applies and here and version not in wanted.specifier:
                outside.append(f"{pin} is not in {wanted}")
    assert not outside


def test_the_wheel_has_the_models_and_not_the_links(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend is not installed (extra dev)")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    built = subprocess.run(
        [*command, "--wheel-dir", str(tmp_path), str(REPOSITORY)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("edgecrack-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())

    assert {name.split("/")[0].split("-")[0] for name in names} == {"edgecrack"}
    assert "edgecrack/py.typed" in names
    schemas = (REPOSITORY / "edgecrack" / "schemas").glob("*.json")
    assert {f"edgecrack/schemas/{file.name}" for file in schemas} <= names
    models = {name for name in names if name.startswith("edgecrack/models/")}
    files = (REPOSITORY / "edgecrack" / "models").glob("*.onnx*")
    assert {f"edgecrack/models/{file.name}" for file in files} <= models
    onnx = {name for name in models if name.endswith(".onnx")}
    assert onnx, "a robot that installs the wheel must find a model in it"
    assert {f"{name}.json" for name in onnx} <= models


def test_no_file_carries_a_path_of_one_machine() -> None:
    # Put together here, so that this file does not carry one itself.
    folders = "|".join(("work", "root", "home/[a-z]", "Users/[A-Za-z]"))
    pattern = re.compile(rf"(?:^|[^\w.~-])/(?:{folders})[/a-z]")
    found = []
    for path in project_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()[:80]}")
    assert not found
