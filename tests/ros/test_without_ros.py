"""What holds of the node where no ROS 2 is installed; `test_node.py` runs it under one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgecrack.errors import MissingDependencyError

REPOSITORY = Path(__file__).resolve().parents[2]


def test_without_ros_it_is_a_sentence_and_an_exit_code() -> None:
    if _has_rclpy():
        pytest.skip("rclpy is installed here")
    command = [sys.executable, "-m", "edgecrack.ros.node"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == MissingDependencyError.exit_code
    assert done.stdout == ""
    assert done.stderr.startswith("edgecrack: the ROS 2 node needs rclpy, which is not installed; ")
    assert done.stderr.count("\n") == 1


def test_without_ros_importing_it_is_our_error() -> None:
    if _has_rclpy():
        pytest.skip("rclpy is installed here")
    with pytest.raises(MissingDependencyError, match="rclpy"):
        importlib.import_module("edgecrack.ros.node")


def _has_rclpy() -> bool:
    return importlib.util.find_spec("rclpy") is not None
