"""What an ONNX file holds, told from its bytes: as the onnx package tells it, damage included."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.onnx_contents import DamagedOnnxError, read_contents
from edgecrack.runtime.backends.open import BUNDLED_MODEL

onnx: Any = pytest.importorskip("onnx", reason="the export extra is not installed")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT


def outside(name: str) -> Any:
    tensor = onnx.TensorProto(name=name, data_type=FLOAT, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    return tensor


def graph_of(nodes: list[Any], initializers: tuple[Any, ...] = ()) -> Any:
    return helper.make_graph(nodes, "g", [], [], list(initializers))


def content_of(graph: Any, **more: Any) -> bytes:
    return bytes(helper.make_model(graph, **more).SerializeToString())


def test_the_bundled_model_has_what_onnx_says_it_has() -> None:
    content = BUNDLED_MODEL.read_bytes()
    graph = onnx.load_model_from_string(content).graph
    found = read_contents(content)
    assert found.operators == {(node.domain, node.op_type) for node in graph.node}
    assert found.external_tensors == ()
    assert found.foreign_operators == ()


def inside_attribute() -> bytes:
    return content_of(graph_of([helper.make_node("Constant", [], ["a"], value=outside("deep"))]))


def inside_branch() -> bytes:
    branch = graph_of([], (outside("deep"),))
    node = helper.make_node("If", ["c"], ["a"], then_branch=branch, else_branch=graph_of([]))
    return content_of(graph_of([node]))


def inside_function() -> bytes:
    node = helper.make_node("Constant", [], ["a"], value=outside("deep"))
    own = helper.make_function("mine", "F", [], ["a"], [node], [helper.make_opsetid("", 18)])
    return content_of(graph_of([helper.make_node("F", [], ["a"], domain="mine")]), functions=[own])


def inside_sparse() -> bytes:
    graph = graph_of([])
    graph.sparse_initializer.add().values.CopyFrom(outside("deep"))
    return content_of(graph)


def hidden_by_a_second_graph() -> bytes:
    """Protobuf adds up a field that stands twice, so that the first one's tensors count, too."""
    return content_of(graph_of([], (outside("deep"),))) + content_of(graph_of([]))


def without_a_word_on_its_place() -> bytes:
    tensor = outside("deep")
    tensor.ClearField("data_location")
    return content_of(graph_of([], (tensor,)))


@pytest.mark.parametrize(
    "content",
    [
        inside_attribute,
        inside_branch,
        inside_function,
        inside_sparse,
        hidden_by_a_second_graph,
        without_a_word_on_its_place,
    ],
)
def test_tensors_elsewhere_are_found_wherever_they_are_named(content: Any) -> None:
    assert read_contents(content()).external_tensors == ("deep",)


def test_operators_that_are_not_onnx_s_own_are_named() -> None:
    nodes = [
        helper.make_node("Gelu", ["a"], ["b"], domain="com.microsoft"),
        helper.make_node("Relu", ["b"], ["c"], domain="ai.onnx"),
    ]
    found = read_contents(content_of(graph_of(nodes)))
    assert found.foreign_operators == ("com.microsoft.Gelu",)
    assert ("", "Relu") in found.operators
    assert read_contents(inside_function()).functions == 1


@pytest.mark.parametrize("length", range(1, 200, 7))
def test_a_file_that_is_cut_short_is_damaged(length: int) -> None:
    content = inside_branch()
    if length < len(content):
        try:
            found = read_contents(content[:length])
        except DamagedOnnxError:
            return
        assert found.external_tensors == ()  # cut between two of its fields


@given(content=st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(content: bytes) -> None:
    with suppress(DamagedOnnxError):
        assert read_contents(content).external_tensors == ()


def test_graphs_in_graphs_are_followed_without_end() -> None:
    def message(number: int, inner: bytes) -> bytes:
        length, head = len(inner), b""
        while length > 0x7F:
            head, length = head + bytes([length & 0x7F | 0x80]), length >> 7
        return bytes([number << 3 | 2]) + head + bytes([length]) + inner

    content = b""
    for _ in range(200):  # graph -> node -> attribute -> graph
        content = message(1, message(5, message(6, content)))
    with pytest.raises(DamagedOnnxError, match="levels deep"):
        read_contents(message(7, content))
