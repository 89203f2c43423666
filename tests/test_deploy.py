"""The service file: systemd takes it, and it says what the stream understands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from edgecrack import cli
from edgecrack.errors import ConfigError, MissingDependencyError, ModelFileError
from tests.waiting import PATIENCE_S

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"


def unit() -> str:
    return (DEPLOY / "edgecrack.service").read_text()


def options_in(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


def known_options() -> set[str]:
    group = typer.main.get_command(cli.app)
    parameters = group.commands["stream"].params  # type: ignore[attr-defined]
    return {option for parameter in parameters for option in parameter.opts}


def test_every_option_that_it_gives_exists() -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", unit(), re.M)
    (more,) = re.findall(r"^EDGECRACK_OPTIONS=(.*)$", (DEPLOY / "edgecrack.env").read_text(), re.M)
    given = options_in(shlex.split(command)) | options_in(shlex.split(more))
    assert given
    assert given <= known_options()


def test_no_secret_stands_in_the_command_line() -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", unit(), re.M)
    assert set(re.findall(r"\$\{?(EDGECRACK_\w+)", command)) == {"EDGECRACK_OPTIONS"}
    assert "--source" not in command


def test_the_variables_that_it_uses_are_set() -> None:
    used = set(re.findall(r"\$\{?(EDGECRACK_\w+)", unit()))
    text = (DEPLOY / "edgecrack.env").read_text()
    assert used <= set(re.findall(r"^(EDGECRACK_\w+)=", text, re.M))


def test_a_start_after_a_crash_goes_on_with_the_run() -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", unit(), re.M)
    words = shlex.split(command)
    assert "--continue" in words
    # The same folder at each start of a day; {time} would be another one.
    assert words[words.index("--out") + 1].endswith("/{date}")


def test_the_watchdog_is_longer_than_what_may_take_long() -> None:
    (period,) = re.findall(r"^WatchdogSec=(\d+)$", unit(), re.M)
    assert int(period) >= 20  # an output or an opening may hold the stream up for some seconds


def test_what_a_start_cannot_mend_is_not_started_again() -> None:
    (codes,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit(), re.M)
    lasting = {ConfigError, ModelFileError, MissingDependencyError}
    assert {int(code) for code in codes.split()} == {kind.exit_code for kind in lasting}


def test_what_fails_at_every_start_comes_to_an_end() -> None:
    values = dict(re.findall(r"^(StartLimit\w+|RestartSec|WatchdogSec)=(\d+)$", unit(), re.M))
    interval, burst = int(values["StartLimitIntervalSec"]), int(values["StartLimitBurst"])
    assert 0 < burst * int(values["RestartSec"]) < interval
    # A network that hangs now and then is never given up.
    assert burst * (int(values["WatchdogSec"]) + int(values["RestartSec"])) > interval


def test_no_token_stands_in_the_command_line() -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", unit(), re.M)
    assert "TOKEN" not in command
    # The name that `serve_config` looks for.
    assert re.findall(r"^#LoadCredential=([\w-]+):", unit(), re.M)[:1] == ["edgecrack-token"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd")
def test_systemd_takes_it(tmp_path: Path) -> None:
    # Its program and user are not on this machine.
    text = unit().replace("/opt/edgecrack/bin/edgecrack", "/bin/true").replace("User=edgecrack", "")
    path = tmp_path / "edgecrack.service"
    path.write_text(text.replace("Group=edgecrack\n", ""))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=PATIENCE_S
    )
    complaints = [line for line in done.stderr.splitlines() if "edgecrack.service" in line]
    assert complaints == []
