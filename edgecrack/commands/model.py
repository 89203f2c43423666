"""The `model` commands: install a model, see what is installed, go back to the one before.

Parses, calls and prints; every import that costs time stands inside the commands.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecrack.commands.shared_options import BackendOption, results

if TYPE_CHECKING:
    from edgecrack.runtime.installed_models.managing import Change, ListedModel

model = typer.Typer(
    help="Install the model that `stream`, `inspect`, `predict`, `measure` and the ROS node use.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

JsonOption = Annotated[
    bool, results("", "Print what was done as JSON, and nothing else.", "--json")
]


@model.command()
def use(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="*.onnx or an engine, its sidecar beside it; or `bundled`, the one that comes "
            "with edgecrack.",
        ),
    ],
    backend: BackendOption = None,
    json_output: JsonOption = False,
) -> None:
    """Check a model, let it find a drawn crack, and use it from the next start on.

    What fails leaves the model in use as it was. Models lie in EDGECRACK_MODELS, or in
    ~/.local/share/edgecrack/models; the last five are kept.
    """
    from edgecrack.runtime.installed_models.managing import use_model

    _tell(use_model(file, backend=backend), json_output)


@model.command()
def back(backend: BackendOption = None, json_output: JsonOption = False) -> None:
    """Go back to the last model that was in use before and works."""
    from edgecrack.runtime.installed_models.managing import go_back

    _tell(go_back(backend=backend), json_output)


@model.command("list")
def list_(
    backend: BackendOption = None,
    json_output: Annotated[
        bool, results("", "Print the list as JSON, and nothing else.", "--json")
    ] = False,
) -> None:
    """Show what is installed, what is in use, what was before, and what works here."""
    from edgecrack.runtime.installed_models.managing import list_models

    folder, models = list_models(backend=backend)
    if json_output:
        listed = [each.to_dict() for each in models]
        typer.echo(json.dumps({"folder": folder and str(folder), "models": listed}, indent=2))
        return
    for each in models:
        typer.echo(_line(each))
    typer.echo(f"installed models lie in {folder}" if folder else "no folder for installed models")


def _line(listed: ListedModel) -> str:
    state = {"in use": "*", "before": "-"}.get(listed.state, " ")
    words = [f"{state} {listed.name}", listed.sha256[:12] or "?", listed.state or "kept"]
    if listed.since:
        words.append(f"{'since' if listed.state == 'in use' else 'installed'} {listed.since}")
    words.append(f"does not work: {listed.problem}" if listed.problem else "works")
    return "  ".join(words)


def _tell(change: Change, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(change.to_dict(), indent=2))
        return
    for text in change.notes:
        typer.echo(text)
    test = change.self_test
    typer.echo(
        f"in use: {change.name} (sha256 {change.sha256[:12]}), before: {change.before}\n"
        f"self-test: found {test.found:.0%} of the drawn crack, nothing on the clean wall\n"
        "what runs goes on with the model it has; the next start of edgecrack takes this one, "
        "unless --model names another"
    )
