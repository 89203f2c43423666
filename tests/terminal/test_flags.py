"""Settings in messages: fields in the library, flags on the command line."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer

from edgecrack import cli
from edgecrack.terminal.flags import FLAGS, flags_in

PACKAGE = Path(cli.__file__).parent
# Command lines that messages quote whole stand in backticks, or belong to other programs.
OTHER_PROGRAMS = re.compile(r"trtexec|v4l2-ctl|rosbags|sbatch|pip install|setpriv|zstd -d|ffmpeg")


def options() -> set[str]:
    """Every option of every command."""
    group = typer.main.get_command(cli.app)
    commands = [*group.commands.values()]  # type: ignore[attr-defined]
    each = [option for command in commands for option in command.params]
    return {name for option in each for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("flag", sorted(set(FLAGS.values())))
def test_every_flag_is_an_option_of_a_command(flag: str) -> None:
    assert flag.split()[0] in options()


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("give `max_drop` 1", "give --max-drop 1"),
        ("lower `batch_size`, or `patch_px`", "lower --batch, or --patch"),
        ("give `loss.dice_weight`=1", "give --set loss.dice_weight=1"),
        ("give `plan`=[]", "give --set plan=[]"),
        ("see `problem` in results.csv", "see `problem` in results.csv"),
        ("run `edgecrack export` again", "run `edgecrack export` again"),
        ("nothing of the kind", "nothing of the kind"),
    ],
)
def test_a_setting_is_shown_by_its_flag(message: str, shown: str) -> None:
    assert flags_in(message) == shown


def test_no_message_of_the_library_names_a_flag() -> None:
    """Whoever calls it from Python has none."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name in ("commands", "doctor") or path.name in ("cli.py", "flags.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error")):
                continue
            texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            words = " ".join(text for text in texts if isinstance(text, str))
            quoted = re.search(r"edgecrack [a-z-]+ ", words) or OTHER_PROGRAMS.search(words)
            if not quoted and re.search(r"(^|\s)--[a-z]", words):
                found.append(f"{path.name}: {words}")
    assert found == []
