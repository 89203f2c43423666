"""Checkpoints: what goes in comes out, without pickle, and damage is told by name."""

from __future__ import annotations

import json
import os
import pickletools
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor

from edgecrack.artifacts import ModelSpec, read_verified_spec, sidecar_path, write_sidecar
from edgecrack.errors import ModelFileError
from edgecrack.model.unet import CrackUNet, NetworkConfig
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.training.checkpoints import (
    SafetensorsCheckpointIO,
    flatten,
    load_network,
    read_description,
    strip_training_state,
    unflatten,
    whole_epochs,
)

IO = SafetensorsCheckpointIO()
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]


def make_tensor(shape: list[int], dtype: torch.dtype, seed: int) -> Tensor:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 3
    return values.to(dtype)


keys = st.one_of(st.text(max_size=6), st.integers(-5, 5), st.sampled_from(["a", "a/b", "b", "0"]))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.builds(
        make_tensor,
        st.lists(st.integers(0, 3), max_size=4),
        st.sampled_from(DTYPES),
        st.integers(0, 99),
    ),
)
trees = st.dictionaries(
    keys,
    st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(keys, inner, max_size=3),
        ),
        max_leaves=12,
    ),
    max_size=4,
)


def same(first: Any, second: Any) -> bool:
    """Equal in value and in type, all the way down; key order included."""
    if type(first) is not type(second):
        return False
    if isinstance(first, Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        pairs = zip(first.items(), second.items(), strict=True)
        return len(first) == len(second) and all(same(a, b) for a, b in pairs)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def spec_of(network: CrackUNet, **changes: Any) -> dict[str, Any]:
    config = network.config
    values = {"width": config.width, "pooling": config.pooling, "gate_bias": config.gate_bias}
    return ModelSpec(kind="checkpoint", **{**values, **changes}).to_dict()


def make_checkpoint(path: Path, network: CrackUNet, **changes: Any) -> Path:
    """A checkpoint as Lightning makes it, with optimizer state beside the weights."""
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    moments = {index: {"exp_avg": value * 2} for index, value in enumerate(weights.values())}
    IO.save_checkpoint(
        {
            "epoch": 3,
            "global_step": 40,
            "state_dict": weights,
            "optimizer_states": [{"state": moments, "param_groups": [{"betas": (0.9, 0.999)}]}],
            "edgecrack": spec_of(network, **changes),
        },
        path,
    )
    return path


@pytest.fixture
def network() -> CrackUNet:
    return CrackUNet(NetworkConfig(width=2, gate_bias=True))


@pytest.fixture
def checkpoint(tmp_path: Path, network: CrackUNet) -> Path:
    return make_checkpoint(tmp_path / "last.safetensors", network)


@given(tree=trees)
def test_flatten_and_back(tree: dict[Any, Any]) -> None:
    tensors: dict[str, Tensor] = {}
    state = json.loads(json.dumps(flatten(tree, tensors)))
    assert same(unflatten(state, tensors), tree)


@settings(max_examples=25)
@given(tree=trees)
def test_file_and_back(tree: dict[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("file") / "any.safetensors"
    IO.save_checkpoint(tree, path)
    assert same(IO.load_checkpoint(path), tree)


def test_two_paths_that_read_alike_stay_two_tensors() -> None:
    tree = {"a": {"b": torch.zeros(1)}, "a/b": torch.ones(1), 1: torch.ones(2), "1": torch.ones(3)}
    tensors: dict[str, Tensor] = {}
    assert same(unflatten(flatten(tree, tensors), tensors), tree)
    assert len(tensors) == 4


def test_shared_and_strided_tensors_are_written_whole(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(2, 3, 2, 2)
    tree = {"a": base, "b": base, "c": base.transpose(0, 1), "d": base[0]}
    IO.save_checkpoint(tree, tmp_path / "x.safetensors")
    assert same(IO.load_checkpoint(tmp_path / "x.safetensors"), tree)


def test_paths_become_text_and_other_objects_are_refused() -> None:
    assert flatten({"dir": Path("a/b")}, {}) == {"__dict__": [["dir", str(Path("a/b"))]]}
    with pytest.raises(TypeError, match=r"cannot hold set at 'a/0'"):
        flatten({"a": [{1, 2}]}, {})


def test_there_is_no_pickle_in_a_checkpoint(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    header_size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_size])
    data_size = max(item["data_offsets"][1] for name, item in header.items() if name[0] != "_")
    # JSON and numbers account for every byte; nothing else can hide in between.
    assert len(content) == 8 + header_size + data_size
    json.loads(header["__metadata__"]["edgecrack.training_state"])
    with pytest.raises(ValueError, match=r".*"):
        list(pickletools.genops(content))
    assert b"PK\x03\x04" not in content[:4]


def test_others_may_read_the_file(checkpoint: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(checkpoint.stat().st_mode) == 0o666 & ~mask


def test_load_network_gives_the_saved_weights_bit_for_bit(
    checkpoint: Path, network: CrackUNet
) -> None:
    loaded, spec = load_network(checkpoint)
    assert not loaded.training
    assert (spec.width, spec.pooling, spec.gate_bias) == (2, "gated-scale", True)
    assert loaded.state_dict().keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_strip_keeps_weights_and_description_only(checkpoint: Path, network: CrackUNet) -> None:
    before, whole = load_network(checkpoint)[0].state_dict(), checkpoint.stat().st_size
    spec = strip_training_state(checkpoint)
    assert checkpoint.stat().st_size < 0.6 * whole
    assert spec == read_verified_spec(checkpoint)
    after = load_network(checkpoint)[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert set(IO.load_checkpoint(checkpoint)) == {
        "state_dict",
        "edgecrack",
        "epoch",
        "global_step",
    }
    # A second time, as after resuming a finished run, it changes nothing.
    content = checkpoint.read_bytes()
    strip_training_state(checkpoint)
    assert checkpoint.read_bytes() == content


def test_description_is_read_without_the_sidecar(checkpoint: Path) -> None:
    sidecar_path(checkpoint).unlink()
    assert read_description(checkpoint).width == 2


def test_remove_takes_the_sidecar_along(checkpoint: Path) -> None:
    IO.remove_checkpoint(checkpoint)
    assert list(checkpoint.parent.iterdir()) == []
    IO.remove_checkpoint(checkpoint)


# ---- damage


def test_missing_file_and_missing_sidecar(checkpoint: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nowhere\.safetensors does not exist"):
        load_network(checkpoint.with_name("nowhere.safetensors"))
    with pytest.raises(ModelFileError, match=r"cannot read checkpoint .*nowhere"):
        IO.load_checkpoint(checkpoint.with_name("nowhere.safetensors"))
    sidecar_path(checkpoint).unlink()
    with pytest.raises(ModelFileError, match=r"has no sidecar last\.safetensors\.json"):
        load_network(checkpoint)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_file_cut_short(checkpoint: Path, share: float) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFileError, match=r"cannot read checkpoint .*last\.safetensors"):
        IO.load_checkpoint(checkpoint)
    with pytest.raises(ModelFileError, match="does not match its sidecar"):
        load_network(checkpoint)


@pytest.mark.parametrize("content", [b"\x80\x04K\x01.", b"PK\x03\x04" + bytes(64), bytes(64)])
def test_other_files_under_the_name_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"cannot read checkpoint .*model\.safetensors"):
        IO.load_checkpoint(path)


@pytest.mark.parametrize("state", ["{oops", '{"__dict__": 3}', "[1]", '{"__tensor__": "gone"}'])
def test_header_of_nonsense_is_refused(tmp_path: Path, state: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.zeros(1)}, path, metadata={"edgecrack.training_state": state})
    with pytest.raises(ModelFileError, match=r"model\.safetensors"):
        IO.load_checkpoint(path)


def test_foreign_safetensors_hold_no_training_state(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(ModelFileError, match=r"has no training state; resume from last"):
        IO.load_checkpoint(path)
    IO.save_checkpoint({"state_dict": {}}, path)
    with pytest.raises(ModelFileError, match="has no model description"):
        strip_training_state(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 4}, "does not contain a gated-scale network of width 4"),
        ({"pooling": "max"}, "does not contain a max network of width 2"),
        ({"gate_bias": False}, "does not contain a gated-scale network"),
        ({"width": 300}, "width 300 .width is 300"),
    ],
)
def test_weights_of_another_network(
    tmp_path: Path, network: CrackUNet, changes: dict[str, Any], words: str
) -> None:
    path = make_checkpoint(tmp_path / "x.safetensors", network, **changes)
    with pytest.raises(ModelFileError, match=words):
        load_network(path)


def test_other_kinds_of_model_are_refused() -> None:
    with pytest.raises(ModelFileError, match="is a model of kind 'onnx'"):
        load_network(BUNDLED_MODEL)


def test_a_checkpoint_that_calls_itself_onnx_is_refused(checkpoint: Path) -> None:
    write_sidecar(checkpoint, ModelSpec("onnx", "max", 2, tile_hw=(64, 64)))
    with pytest.raises(ModelFileError, match="is no ONNX file"):
        load_network(checkpoint)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path: Path, network: CrackUNet, value: float) -> None:
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = value
    path = make_checkpoint(tmp_path / "x.safetensors", network)
    with pytest.raises(ModelFileError, match="contains weights that are not finite"):
        load_network(path)


def raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file: the length of its header, the header, the numbers."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(name: str = "state_dict/network.w", **changes: Any) -> dict[str, Any]:
    return {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | changes}


def stated(*pairs: tuple[str, Any]) -> str:
    """A training state that is a dictionary of these."""
    return json.dumps({"__dict__": [list(pair) for pair in pairs]})


@pytest.mark.parametrize(
    "content",
    [
        *(raw([1]), raw(7), raw(None), raw("text"), raw({"__metadata__": [1]})),
        raw({"__metadata__": {"edgecrack.training_state": 7}}),
        *(raw({}, length=length) for length in (500, 1 << 40, (1 << 64) - 1)),
        raw(tensor(data_offsets=[0, 4000]), b"1234"),
        raw(tensor(data_offsets=[-4, 0]), b"1234"),
        raw(tensor(shape=[2**62, 4]), b"1234"),
        raw(tensor(dtype="F4", shape=[2], data_offsets=[0, 1]), b"1"),
        raw(tensor(dtype="X"), b"1234"),
        raw({"w": [1]}),
        struct.pack("<Q", 100_000) + b"[" * 50_000 + b"]" * 50_000,
        *(
            save({"w": torch.zeros(1)}, metadata={"edgecrack.training_state": state})
            for state in (
                *("7", "[]", "null", '{"__tuple__": 3}', '{"__tensor__": [1]}'),
                *("[" * 900 + "]" * 900, "[" * 50_000 + "]" * 50_000),
                stated(("edgecrack", 7)),
                stated(("edgecrack", [1]), ("epoch", 1)),
                stated(("edgecrack", {"__tensor__": "w"})),
                stated(("edgecrack", {"__dict__": [["schema_version", 2]]})),
            )
        ),
    ],
    ids=lambda content: content[8:48],
)
@pytest.mark.parametrize(
    "read", [read_description, strip_training_state, whole_epochs, load_network]
)
def test_a_header_of_the_wrong_kind_is_the_file_s_error(
    tmp_path: Path, content: bytes, read: Callable[[Path], Any]
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    write_sidecar(path, ModelSpec(kind="checkpoint", pooling="max", width=2))
    with pytest.raises(ModelFileError, match=r"model\.safetensors|schema_version|descri"):
        read(path)
