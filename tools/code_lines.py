"""Lines of code by package, without docstrings and comments; and how long functions are.

    python tools/code_lines.py                       # this checkout
    python tools/code_lines.py --since 2238cf8       # and of the files in that commit
    python tools/code_lines.py --of edgecrack/runtime/web edgecrack/doctor

"What stood" is every module that has the path of one of then, or that Git takes for one of these
under another name, with at least 30 % of its lines the same. What such a module learned since
counts, too, so the share that was saved is a lower bound.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import tokenize
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "edgecrack"
MOST_COLUMNS = 100
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(text: str) -> set[int]:
    """Numbers of the lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            lines.difference_update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return lines


def function_lengths(text: str) -> list[int]:
    """Lines of code of each function; the signatures of commands are options, and not counted."""
    lines = code_lines(text)
    return [
        len(lines.intersection(range(node.body[0].lineno, (node.end_lineno or 0) + 1)))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def git(*words: str) -> str:
    """What Git says."""
    return subprocess.run(
        ["git", *words], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def texts_at(revision: str) -> dict[str, str]:
    """Every module of a commit: path and text."""
    listed = git("ls-tree", "-r", "--name-only", revision, "--", PACKAGE).split()
    return {path: git("show", f"{revision}:{path}") for path in listed if path.endswith(".py")}


def texts_here() -> dict[str, str]:
    """Every module of this checkout."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / PACKAGE).rglob("*.py"))
    }


def stood_before(revision: str, paths: Iterable[str]) -> set[str]:
    """Those of today's modules that are ones of `revision`, under that name or another."""
    # Moves are found between commits only, so what is not committed is taken by its path.
    changes = git("diff", "--name-status", "-M30%", "-l9999", revision, "HEAD", "--", PACKAGE)
    added = {fields[-1] for line in changes.splitlines() if (fields := line.split("\t"))[0] == "A"}
    return {path for path in paths if path not in added}


def by_package(texts: Mapping[str, str]) -> Counter[str]:
    """Lines of code of each package; those of `runtime` one by one."""
    count: Counter[str] = Counter()
    for path, text in texts.items():
        folders = path.split("/")[1:-1]
        count["/".join(folders[: 2 if folders[:1] == ["runtime"] else 1]) or "."] += len(
            code_lines(text)
        )
    return count


def percentile(values: list[int], share: float) -> int:
    """The value that `share` of them do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def describe(name: str, texts: Mapping[str, str]) -> None:
    """Print what is counted of some modules."""
    lengths = [length for text in texts.values() for length in function_lengths(text)]
    wide = sum(len(line) > MOST_COLUMNS for text in texts.values() for line in text.splitlines())
    lines = sum(by_package(texts).values())
    print(
        f"{name}: {lines:,} lines of code in {len(texts)} files; functions: median "
        f"{percentile(lengths, 0.5)}, p95 {percentile(lengths, 0.95)}, longest {max(lengths)}; "
        f"lines over {MOST_COLUMNS} columns: {wide}"
    )


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--since", metavar="REVISION", help="compare with this commit")
    parser.add_argument("--of", nargs="+", default=[], metavar="PATH", help="count only these")
    options = parser.parse_args()
    here = texts_here()
    if options.of:
        here = {path: text for path, text in here.items() if path.startswith(tuple(options.of))}
    for package, lines in by_package(here).most_common():
        print(f"{lines:7,}  {package}")
    describe("this checkout", here)
    if options.since:
        then = texts_at(options.since)
        describe(f"at {options.since}", then)
        stood = stood_before(options.since, here)
        now = {path: text for path, text in here.items() if path in stood}
        describe("of it today", now)
        before, after = (sum(by_package(texts).values()) for texts in (then, now))
        print(f"what stood then, today: {after / before - 1:+.1%}")


if __name__ == "__main__":
    main()
