"""The package's structure: import cycles, modules, duplicate names, and a diagram.

    python tools/structure.py                          # the table in docs/architecture.md
    python tools/structure.py --dot | tred | dot -Tpng -o docs/images/packages.png    # Graphviz

Imports inside functions count. A circle between packages is one among the members of a package,
at any depth; two modules that import each other are one between files.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PACKAGE = "edgecrack"
# Read through `getattr` with a default from what is a source or a sink.
_UNDECLARED = re.compile(r'getattr\((?:self\._)?(?:source|sink|each), "(\w+)"')

Graph = dict[str, set[str]]


def circles(graph: Graph) -> list[list[str]]:
    """Groups of two and more nodes that lead to each other, by Tarjan's method."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = lowest[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], index[other])
        if lowest[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[-len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def members(imports: grimp.ImportGraph, package: str) -> Graph:
    """Which members of a package import which others, with all below them."""
    children = imports.find_children(package)
    owner = {
        module: child for child in children for module in {child, *imports.find_descendants(child)}
    }
    graph: Graph = defaultdict(set)
    for module, child in owner.items():
        for other in imports.find_modules_directly_imported_by(module):
            if owner.get(other, child) != child:
                graph[child].add(owner[other])
    return graph


def modules(folder: Path) -> list[Path]:
    """The modules in a folder and below, package files left out."""
    return [path for path in sorted(folder.rglob("*.py")) if path.name != "__init__.py"]


def class_names(paths: Iterable[Path]) -> Iterator[str]:
    """Public classes at the top of modules."""
    for path in paths:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name


def twice(names: Iterable[str]) -> list[str]:
    """Those that stand more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def table() -> list[tuple[str, str]]:
    """What is counted, and how much."""
    imports = grimp.build_graph(PACKAGE, cache_dir=None)
    package = ROOT / PACKAGE
    every = modules(package)
    runtime = modules(package / "runtime")
    text = {path: path.read_text(encoding="utf-8") for path in every}
    files: Graph = {
        module: imports.find_modules_directly_imported_by(module) for module in imports.modules
    }
    between = [
        circle for module in sorted(imports.modules) for circle in circles(members(imports, module))
    ]
    undeclared = {name for path in runtime for name in _UNDECLARED.findall(text[path])}
    in_root = sum(path.parent == package / "runtime" for path in runtime)
    lines = sum(len(content.splitlines()) for content in text.values())
    counts: list[tuple[str, str]] = [
        ("modules; lines", f"{len(every)}; {lines:,}"),
        ("import circles between files", str(len(circles(files)))),
        ("import circles between packages", str(len(between))),
        ("modules in runtime/; in its root", f"{len(runtime)}; {in_root}"),
        ("members of sources and sinks read with getattr", str(len(undeclared))),
    ]
    lists: list[tuple[str, Callable[[], list[str]]]] = [
        ("file names that stand twice", lambda: twice(path.name for path in every)),
        ("class names that stand twice", lambda: twice(class_names(every))),
    ]
    for what, find in lists:
        found = find()
        counts.append((what, f"{len(found)} {' '.join(found)}".strip()))
    return counts


def drawing() -> str:
    """Packages and who imports whom, in Graphviz's language."""
    graph = members(grimp.build_graph(PACKAGE, cache_dir=None), PACKAGE)
    nodes = sorted({*graph, *(other for others in graph.values() for other in others)})
    packages = [node for node in nodes if (ROOT / node.replace(".", "/")).is_dir()]
    lines = ["digraph edgecrack {", "  rankdir=TB; node [shape=box, fontname=Helvetica];"]
    for node in packages:
        count = len(modules(ROOT / node.replace(".", "/")))
        name = node.removeprefix(f"{PACKAGE}.")
        lines.append(f'  "{name}" [label="{name}\\n{count}"];')
    for node in packages:
        for other in sorted(graph.get(node, ())):
            if other in packages:
                one, two = (each.removeprefix(f"{PACKAGE}.") for each in (node, other))
                lines.append(f'  "{one}" -> "{two}";')
    return "\n".join([*lines, "}"])


def main() -> None:
    """Print one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dot", action="store_true", help="the drawing, for Graphviz")
    if parser.parse_args().dot:
        print(drawing())
        return
    for what, count in table():
        print(f"{what}: {count}")


if __name__ == "__main__":
    main()
