"""`edgecrack model`: install a model, list the installed ones, go back to the previous one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecrack.commands.shared_options import BackendOption, JsonOption, group

if TYPE_CHECKING:
    from edgecrack.runtime.installed_models.managing import Change, ListedModel

model = group(
    "Install the model that `stream`, `inspect`, `predict`, `measure` and the ROS node use."
)


@model.command()
def use(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="*.onnx file or engine, with its sidecar beside it; or `bundled`, the model that "
            "comes with edgecrack.",
        ),
    ],
    backend: BackendOption = None,
    json_output: JsonOption = False,
) -> None:
    """Verify a model, test it on a drawn crack, and use it from the next start on.

    A model that fails does not replace the current one. Models are stored in EDGECRACK_MODELS or
    ~/.local/share/edgecrack/models; the last five are kept.
    """
    from edgecrack.runtime.installed_models.managing import use_model

    _show(use_model(file, backend=backend), json_output)


@model.command()
def back(backend: BackendOption = None, json_output: JsonOption = False) -> None:
    """Go back to the last earlier model that works."""
    from edgecrack.runtime.installed_models.managing import go_back

    _show(go_back(backend=backend), json_output)


@model.command("list")
def list_(
    backend: BackendOption = None,
    json_output: JsonOption = False,
) -> None:
    """List the installed models: in use, previous, and whether they work here."""
    from edgecrack.runtime.installed_models.managing import list_models

    folder, models = list_models(backend=backend)
    if json_output:
        listed = [each.to_dict() for each in models]
        typer.echo(json.dumps({"folder": folder and str(folder), "models": listed}, indent=2))
        return
    for each in models:
        typer.echo(_line(each))
    typer.echo(f"installed models are in {folder}" if folder else "no folder for installed models")


def _line(listed: ListedModel) -> str:
    state = {"in use": "*", "before": "-"}.get(listed.state, " ")
    words = [f"{state} {listed.name}", listed.sha256[:12] or "?", listed.state or "kept"]
    if listed.since:
        words.append(f"{'since' if listed.state == 'in use' else 'installed'} {listed.since}")
    words.append(f"does not work: {listed.problem}" if listed.problem else "works")
    return "  ".join(words)


def _show(change: Change, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(change.to_dict(), indent=2))
        return
    for text in change.notes:
        typer.echo(text)
    test = change.self_test
    typer.echo(
        f"in use: {change.name} (sha256 {change.sha256[:12]}), before: {change.before}\n"
        f"self-test: found {test.found:.0%} of the drawn crack, nothing on the clean wall\n"
        "running programs keep their model; the next start of edgecrack uses this one unless "
        "--model names another"
    )
