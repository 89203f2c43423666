"""Ranges: each method against a plain reference, and what holds for all of them."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecrack.calibration.quantize import layer_inputs
from edgecrack.calibration.ranges import (
    METHODS,
    Histogram,
    Method,
    collect_histograms,
    parse_method,
    range_of,
)
from edgecrack.errors import ConfigError, ExportError
from tests.calibration.small import SIDE, run, small_graph, tiles

BINS = 4096
each_method = pytest.mark.parametrize("method", METHODS)


def histogram_of(values: NDArray[np.float64]) -> Histogram:
    """Written out for one value after another."""
    magnitudes = [abs(value) for value in values.tolist()]
    maximum = max(magnitudes) or 1.0
    counts = np.zeros(BINS, np.int64)
    for magnitude in magnitudes:
        counts[min(int(magnitude * BINS / maximum), BINS - 1)] += 1
    return Histogram(counts, maximum)


def drawn(name: str, count: int = 20_000) -> NDArray[np.float64]:
    """Values as layers have them."""
    generator = np.random.default_rng(7)
    normal = generator.normal(size=count)
    made = {
        "normal": normal,
        "after relu": np.maximum(normal, 0),
        "exponential": generator.exponential(size=count),
        "heavy tail": generator.standard_t(3, size=count),
        "few levels": np.round(normal),
        "bytes": generator.integers(0, 256, count).astype(np.float64),
    }
    return made[name]


each_values = pytest.mark.parametrize(
    "values",
    ["normal", "after relu", "exponential", "heavy tail", "few levels", "bytes"],
)


@each_values
def test_minmax_covers_the_largest_value_exactly(values: str) -> None:
    data = drawn(values)
    assert range_of(histogram_of(data), "minmax") == np.abs(data).max()


@each_values
def test_percentile_is_the_first_bin_edge_that_99999_of_100000_values_do_not_exceed(
    values: str,
) -> None:
    data = np.abs(np.tile(drawn(values), 10))
    histogram = histogram_of(data)
    found = range_of(histogram, "percentile")
    bin_width = histogram.maximum / BINS
    assert (data <= found).mean() >= 0.99999
    assert (data < found - bin_width * 1.000001).mean() < 0.99999


@each_values
def test_mse_loses_hardly_more_than_the_best_of_its_candidates_on_the_values_themselves(
    values: str,
) -> None:
    """Bins of 1/4096 of the maximum stand for the values in them, which costs up to 3 %."""
    data = np.abs(drawn(values))

    def loss(largest: float) -> float:
        step = largest / 127
        levels = np.minimum(np.rint(data / step), 127)
        return float(((data - levels * step) ** 2).sum())

    best = min(loss(data.max() * candidate / 100) for candidate in range(1, 101))
    found = range_of(histogram_of(data), "mse")
    assert found * 100 / data.max() == pytest.approx(round(found * 100 / data.max()))
    assert loss(found) <= 1.03 * best + 1e-9 * len(data)


def slow_divergence(counts: list[int], kept: int) -> float:
    """One candidate of the entropy method, bin by bin."""
    clipped = sum(counts[kept:])
    reference = [float(count) for count in counts[:kept]]
    reference[-1] += clipped
    quantized = [0.0] * kept
    for level in range(128):
        first, end = level * kept // 128, (level + 1) * kept // 128
        filled = [index for index in range(first, end) if counts[index]]
        for index in filled:
            quantized[index] = sum(counts[first:end]) / len(filled)
    result, total, other = 0.0, sum(reference), sum(quantized)
    for wanted, given_ in zip(reference, quantized, strict=True):
        if wanted and not given_:
            return math.inf
        if wanted:
            result += wanted / total * math.log((wanted / total) / (given_ / other))
    return result


@pytest.mark.parametrize("values", ["normal", "after relu", "heavy tail"])
def test_entropy_is_the_range_that_diverges_least_of_all_candidates(values: str) -> None:
    histogram = histogram_of(drawn(values))
    pairs = histogram.counts.tolist()
    counts = [pairs[index] + pairs[index + 1] for index in range(0, BINS, 2)]
    counts[0] = counts[1]
    costs = {kept: slow_divergence(counts, kept) for kept in range(128, 2049, 8)}
    found = range_of(histogram, "entropy") * 2048 / histogram.maximum
    assert found == pytest.approx(round(found))
    assert costs[round(found)] <= min(costs.values()) + 1e-12


counts_arrays = arrays(
    np.int64, BINS, elements=st.integers(0, 10**6), fill=st.sampled_from([0, 1, 40])
).filter(lambda counts: counts[-1] > 0)


@each_method
@given(counts=counts_arrays, maximum=st.floats(1e-3, 1e4))
@settings(max_examples=15)
def test_a_range_lies_above_zero_and_within_the_maximum_and_grows_with_the_values(
    method: Method, counts: NDArray[np.int64], maximum: float
) -> None:
    found = range_of(Histogram(counts, maximum), method)
    assert 0 < found <= maximum * (1 + 1e-9)
    twice = range_of(Histogram(counts, 2 * maximum), method)
    assert twice == pytest.approx(2 * found, rel=1e-9)


@each_method
def test_a_tensor_that_is_always_zero_gets_a_range_that_divides(method: Method) -> None:
    found = range_of(histogram_of(np.zeros(1000)), method)
    assert 0 < found <= 1


def with_outlier(factor: float) -> Histogram:
    """A million values, of which one exceeds the others' spread by a factor."""
    values = np.abs(np.random.default_rng(3).normal(size=1_000_000))
    values[0] = factor
    counts, _ = np.histogram(values, BINS, (0.0, factor))
    return Histogram(counts.astype(np.int64), factor)


@pytest.mark.parametrize(
    ("method", "least", "most"),
    [("minmax", 40, 40), ("percentile", 3, 6), ("mse", 3, 10), ("entropy", 2, 10)],
)
def test_one_value_in_a_million_sets_the_range_of_minmax_alone(
    method: Method, least: float, most: float
) -> None:
    assert least <= range_of(with_outlier(40.0), method) <= most


@each_method
def test_a_method_is_known_by_its_name(method: Method) -> None:
    assert parse_method(method) == method


@pytest.mark.parametrize("text", ["", "MSE", "kl"])
def test_an_unknown_method_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_method(text)
    assert repr(text) in str(caught.value)
    assert "entropy, percentile, minmax, mse" in caught.value.remedy


def test_histograms_count_every_value_and_know_the_largest() -> None:
    model, pixels = small_graph(), tiles(5)
    names = tuple(sorted(set(layer_inputs(model).values())))
    found = collect_histograms(model, names, pixels)
    assert set(found) == set(names)
    for name, values in zip(names, run(model, pixels, names), strict=True):
        histogram = found[name]
        assert histogram.counts.sum() == values.size
        assert histogram.maximum == pytest.approx(float(np.abs(values).max()), rel=1e-5)
        edges = np.linspace(0, histogram.maximum, BINS + 1)
        counts, _ = np.histogram(np.abs(values), edges)
        # Float rounding may push a value over the edge of its bin, and no further.
        assert np.abs(np.cumsum(counts) - np.cumsum(histogram.counts)).max() <= values.size / 1000


def test_the_network_s_input_reaches_exactly_as_far_as_its_brightest_pixel() -> None:
    model = small_graph()
    name = next(node.input[0] for node in model.graph.node if node.name == "encoder.0.project")
    pixels = np.minimum(tiles(3), 199)
    found = collect_histograms(model, [name], pixels)[name]
    assert found.maximum == 199
    assert found.counts[-1] == (pixels == 199).sum()


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_histograms_do_not_depend_on_the_batch_that_a_graph_wants(batch: int) -> None:
    pixels = tiles(5)
    names = tuple(sorted(set(layer_inputs(small_graph()).values())))
    expected = collect_histograms(small_graph(), names, pixels)
    found = collect_histograms(small_graph(batch), names, pixels, batch)
    for name in names:
        assert found[name].maximum == pytest.approx(expected[name].maximum, rel=1e-5)
        assert found[name].counts.sum() == expected[name].counts.sum()
        moved = np.abs(np.cumsum(found[name].counts) - np.cumsum(expected[name].counts)).max()
        assert moved <= expected[name].counts.sum() / 1000


@pytest.mark.parametrize("level", [0.0, 1e-36])
def test_a_graph_s_tensor_that_is_always_zero_is_counted_in_the_first_bin(level: float) -> None:
    model, name = scaled_graph(level)
    histogram = collect_histograms(model, [name], tiles(2))[name]
    assert histogram.maximum == 1.0
    assert histogram.counts[0] == 2 * SIDE * SIDE


def test_values_that_are_not_finite_are_refused_by_the_tensor_s_name() -> None:
    model, name = scaled_graph(3e38)
    with pytest.raises(ExportError, match="scaled reaches inf on the calibration tiles; train"):
        collect_histograms(model, [name], np.full((1, 1, SIDE, SIDE), 255, np.uint8))


def scaled_graph(factor: float) -> tuple[onnx.ModelProto, str]:
    """tiles times a factor, as float32."""
    make = onnx.helper.make_node
    nodes = [
        make("Cast", ["tiles"], ["real"], to=onnx.TensorProto.FLOAT),
        make("Mul", ["real", "factor"], ["scaled"]),
        make("Cast", ["scaled"], ["crack"], to=onnx.TensorProto.UINT8),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, ["batch", 1, SIDE, SIDE])
        for name in ("tiles", "crack")
    ]
    constant = numpy_helper.from_array(np.array(factor, np.float32), "factor")
    graph = onnx.helper.make_graph(nodes, "scaled", ends[:1], ends[1:], [constant])
    opsets = [onnx.helper.make_opsetid("", 20)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), "scaled"
