"""Where a page's secrets come from: files, the environment, systemd; never the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from edgecrack import cli
from edgecrack.commands.shared_options import serve_config
from edgecrack.errors import ConfigError

TOKEN, ANOTHER, THIRD = "correct-horse-1", "correct-horse-2", "correct-horse-3"


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDGECRACK_TOKEN", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


def written(path: Path, token: str, mode: int = 0o600) -> Path:
    path.write_text(f"{token}\n")
    path.chmod(mode)
    return path


def token_of(file: Path | None) -> str | None:
    config = serve_config("127.0.0.1:0", file)
    assert config is not None
    return config.token


def test_the_file_comes_before_the_variable_and_that_before_the_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert token_of(None) is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert token_of(None) is None  # the service has other credentials
    written(tmp_path / "edgecrack-token", THIRD, 0o444)
    assert token_of(None) == THIRD
    monkeypatch.setenv("EDGECRACK_TOKEN", ANOTHER)
    assert token_of(None) == ANOTHER
    assert token_of(written(tmp_path / "token", TOKEN)) == TOKEN
    assert capsys.readouterr().err == ""


def test_an_empty_credential_is_an_error_and_no_open_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    written(tmp_path / "edgecrack-token", "")
    with pytest.raises(ConfigError, match="is empty; write the token into it"):
        serve_config("127.0.0.1:0", None)


def test_a_file_that_everybody_can_read_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "token", TOKEN, 0o644)
    assert token_of(path) == TOKEN
    said = capsys.readouterr().err
    assert said == (
        f"warning: every user of this machine can read the token file {path}; chmod 600 {path}\n"
    )
    assert TOKEN not in said


@pytest.mark.parametrize("command", ["stream", "review"])
def test_no_option_takes_a_token_itself(command: str) -> None:
    """What stands on a command line, every user of the machine can read."""
    group = typer.main.get_command(cli.app)
    parameters = group.commands[command].params  # type: ignore[attr-defined]
    options = {option for parameter in parameters for option in parameter.opts}
    assert {"--token-file", "--tls-cert", "--tls-key"} <= options
    assert not {"--token", "--password", "--secret"} & options
