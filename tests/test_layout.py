"""Rules of the tree: links, light imports, dependencies, the wheel, and paths in documents."""

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

# Libraries that a robot lacks, or must not load before it needs them.
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


def module_names(folder: str) -> list[str]:
    files = sorted((REPOSITORY / folder).rglob("*.py"))
    dotted = (".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in files)
    return [name.removesuffix(".__init__") for name in dotted]


# Imports each module in a fork of an interpreter that has imported none of them.
IMPORTS_EACH = """
import importlib, os, sys
for name in sys.argv[1:]:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
            print(name, *{each.partition(".")[0] for each in sys.modules}, flush=True)
        except BaseException as error:
            print(name, f"!{type(error).__name__}", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


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
    assert (
        not modules_loaded_by("edgecrack.cli", *module_names("edgecrack/runtime"))
        & FOREIGN_TO_ROBOTS
    )


@pytest.mark.slow
def test_each_module_can_be_imported_first_and_loads_nothing_heavy() -> None:
    modules = ["edgecrack.cli", *module_names("edgecrack/runtime")]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS_EACH, *modules],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == modules
    wrong = {name: found for name, *found in lines if FOREIGN_TO_ROBOTS & {*found}}
    failed = {name: found for name, *found in lines if found[0].startswith("!")}
    assert (wrong, failed) == ({}, {})


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


DOCUMENTS = [
    path
    for path in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]
    # These name files of earlier versions.
    if path.name not in ("CHANGELOG.md", "migration.md")
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_only_files_that_exist(document: Path) -> None:
    """Python files, folders of this tree, and linked files."""
    # This section names files that a reader may expect.
    text = document.read_text(encoding="utf-8").partition("## What may surprise")[0]
    named = re.findall(r"`((?:[a-z_.-]+/)*[a-z0-9_]+\.py)`", text)
    folders = re.findall(r"`((?:edgecrack|tests|benchmarks|tools)(?:/[a-z_]+)*/?)`", text)
    linked = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    known = {path.name for path in project_files()}
    roots = [REPOSITORY, *(REPOSITORY / name for name in ("edgecrack", "tests", "docs"))]
    missing = [
        name
        for name in [*named, *folders]
        if not any((root / name).exists() for root in roots) and ("/" in name or name not in known)
    ]
    missing += [name for name in linked if not (document.parent / name).exists()]
    assert missing == []


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
