"""Which TensorRT is found, and what a user without one is told."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from edgecrack.errors import ConfigError, MissingDependencyError
from edgecrack.extras import origin
from edgecrack.nvidia.tensorrt_module import OPTIONAL, TensorRT, find_tensorrt, installed_flavours


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that a package is installed, or that it is not (None)."""

    def pretend(name: str, **contents: Any) -> None:
        module = ModuleType(name)
        vars(module).update({"__spec__": ModuleSpec(name, None), **contents})
        monkeypatch.setitem(sys.modules, name, module)

    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = sys.modules
    monkeypatch.setattr(
        "edgecrack.nvidia.tensorrt_module.importlib.util.find_spec",
        lambda name: getattr(found.get(name), "__spec__", None),
    )
    return pretend


def test_tensorrt_is_preferred(install: Any) -> None:
    install("tensorrt_rtx", __version__="1.7.1", Builder=object)
    assert find_tensorrt().is_rtx
    install("tensorrt", __version__="10.3.0", Builder=object)
    found = find_tensorrt()
    assert (found.flavour, found.version, found.is_rtx) == ("tensorrt", "10.3.0", False)
    assert find_tensorrt("tensorrt_rtx").is_rtx
    assert installed_flavours() == ("tensorrt", "tensorrt_rtx")


def test_without_one_the_user_is_told_how_to_get_it(install: Any) -> None:
    assert installed_flavours() == ()
    with pytest.raises(MissingDependencyError, match="not installed") as refusal:
        find_tensorrt()
    assert origin().install("rtx") in refusal.value.remedy
    assert "JetPack" in refusal.value.remedy


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"__version__": "8.5.2", "Builder": object}, "older than 10.3"),
        ({"__version__": "10.2.0", "Builder": object}, "older than 10.3"),
        ({"__version__": "10.3.0"}, "no builder"),
        ({"Builder": object}, "no builder"),
    ],
)
def test_what_cannot_be_used_is_named(install: Any, contents: dict[str, Any], words: str) -> None:
    install("tensorrt", **contents)
    with pytest.raises(MissingDependencyError, match=words):
        find_tensorrt()


def test_one_that_cannot_be_used_leaves_the_other(install: Any) -> None:
    install("tensorrt", __version__="8.5.2", Builder=object)
    install("tensorrt_rtx", __version__="1.7.1", Builder=object)
    assert find_tensorrt().is_rtx


def test_another_flavour_is_refused() -> None:
    with pytest.raises(ConfigError, match="'tensorflow'"):
        find_tensorrt("tensorflow")


def test_what_a_tensorrt_has_is_asked_by_name() -> None:
    class Runtime:
        get_engine_validity = print

    module = ModuleType("tensorrt")
    vars(module)["Runtime"] = Runtime
    tensorrt = TensorRT("tensorrt", "99.0", module)
    assert tensorrt.has("Runtime.get_engine_validity")
    assert not tensorrt.has("ComputeCapability")
    assert not tensorrt.has("IBuilderConfig.set_compute_capability")
    assert "Runtime.DLA_core" not in OPTIONAL
    with pytest.raises(KeyError):
        tensorrt.has("Runtime.DLA_core")
