"""What an engine's sidecar says of where it runs: it comes back as written, or is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from edgecrack.errors import ModelFileError
from edgecrack.nvidia.engine_info import EngineInfo, current_platform

FULL = EngineInfo(
    flavour="tensorrt",
    version="10.3.0.26",
    compute_capabilities=("8.7", "12.0"),
    platform="linux-aarch64",
    batch=(1, 4, 8),
    source="model.onnx",
    version_compatible=True,
    hardware_compatible=True,
    dla_core=1,
)


def test_it_comes_back_from_json_as_written() -> None:
    document = json.loads(json.dumps(FULL.to_dict()))
    assert EngineInfo.from_dict(document) == FULL


def test_what_a_later_version_adds_is_passed_over() -> None:
    assert EngineInfo.from_dict({**FULL.to_dict(), "later": 1}) == FULL


def test_what_may_be_left_out_has_a_default() -> None:
    document = FULL.to_dict()
    for name in ("version_compatible", "hardware_compatible", "dla_core"):
        del document[name]
    info = EngineInfo.from_dict(document)
    assert (info.version_compatible, info.hardware_compatible, info.dla_core) == (
        False, False, None
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flavour", "tensorflow"),
        ("flavour", None),
        ("version", "10"),
        ("version", "ten.three"),
        ("compute_capabilities", []),
        ("compute_capabilities", ["sm86"]),
        ("compute_capabilities", [8.6]),
        ("compute_capabilities", "8.6"),
        ("batch", [0, 1, 1]),
        ("batch", [2, 1, 2]),
        ("batch", [1, 2]),
        ("batch", [True, True, True]),
        ("batch", 4),
        ("version_compatible", 1),
        ("dla_core", "0"),
        ("dla_core", True),
    ],
)
def test_a_damaged_field_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ModelFileError, match="engine is described with"):
        EngineInfo.from_dict({**FULL.to_dict(), name: value})


@pytest.mark.parametrize("field", dataclasses.fields(EngineInfo)[:6], ids=lambda item: item.name)
def test_a_missing_field_is_refused(field: Any) -> None:
    document = FULL.to_dict()
    del document[field.name]
    with pytest.raises(ModelFileError, match=field.name):
        EngineInfo.from_dict(document)


def test_a_sidecar_without_the_field_is_refused() -> None:
    with pytest.raises(ModelFileError, match="no engine field"):
        EngineInfo.from_dict(None)


def test_a_platform_names_system_and_processor() -> None:
    system, _, processor = current_platform().partition("-")
    assert system
    assert processor == processor.lower() != ""
