"""Histograms of a graph's tensors, and four methods to choose the range that INT8 covers.

The choice is between clipping rare values and coarse steps for common ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, ExportError
from edgecrack.onnx_graph.graph_file import GraphRun, with_outputs

if TYPE_CHECKING:
    import onnx

Method = Literal["entropy", "percentile", "minmax", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
PERCENTILE = 99.999
LEVELS = 127  # symmetric INT8: -127 to 127
_BINS = 4096
_ENTROPY_BINS, _ENTROPY_STRIDE = 2048, 8
_MSE_CANDIDATES = 100
_NOTHING = 1e-30  # below, bins per unit exceed float32


def parse_method(text: str) -> Method:
    """The calibration method of that name.

    Raises:
        ConfigError: there is no such method.
    """
    for method in METHODS:
        if text == method:
            return method
    raise ConfigError(f"the method is {text!r}", f"give one of: {', '.join(METHODS)}")


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of the magnitudes of one tensor.

    Attributes:
        counts: int64 [4096], evenly spaced from 0 to `maximum`.
        maximum: the largest magnitude, above 0.
    """

    counts: NDArray[np.int64]
    maximum: float

    @property
    def centres(self) -> NDArray[np.float64]:
        """The magnitude in the middle of each bin, float64 [4096]."""
        positions = np.arange(self.counts.size, dtype=np.float64) + 0.5
        return np.asarray(positions * (self.maximum / self.counts.size), np.float64)


def range_of(histogram: Histogram, method: Method) -> float:
    """The magnitude that the largest INT8 level represents, above 0."""
    chosen: Mapping[Method, Callable[[Histogram], float]] = {
        "minmax": lambda values: values.maximum,
        "percentile": _percentile_range,
        "mse": _mse_range,
        "entropy": _entropy_range,
    }
    return chosen[method](histogram)


def _percentile_range(histogram: Histogram) -> float:
    """The magnitude that 99.999 % of the values do not exceed."""
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    index = int(np.searchsorted(share, PERCENTILE / 100.0))
    return histogram.maximum * (min(index, histogram.counts.size - 1) + 1) / histogram.counts.size


def _mse_range(histogram: Histogram) -> float:
    """The range with the least squared error of rounding and clipping."""
    candidates = histogram.maximum * np.arange(1, _MSE_CANDIDATES + 1) / _MSE_CANDIDATES
    centres = histogram.centres
    losses = []
    for candidate in candidates:
        step = candidate / LEVELS
        kept = np.minimum(np.round(centres / step), LEVELS) * step
        losses.append(float((histogram.counts * (centres - kept) ** 2).sum()))
    return float(candidates[int(np.argmin(losses))])


def _entropy_range(histogram: Histogram) -> float:
    """The range whose INT8 histogram diverges least (Kullback-Leibler) from the true one.

    As NVIDIA describes it (Migacz, "8-bit Inference with TensorRT", 2017): one-sided, 128 levels.
    The first bin, which has ReLU's zeros, is set to the second.
    """
    counts = histogram.counts.reshape(_ENTROPY_BINS, -1).sum(1).astype(np.float64)
    counts[0] = counts[1]
    best = (np.inf, _ENTROPY_BINS)
    for kept in range(LEVELS + 1, _ENTROPY_BINS + 1, _ENTROPY_STRIDE):
        best = min(best, (_divergence(counts, kept), kept))
    return histogram.maximum * best[1] / _ENTROPY_BINS


def _divergence(counts: NDArray[np.float64], kept: int) -> float:
    """Divergence of the first `kept` bins, the rest clipped into the last, from 128 levels."""
    reference = counts[:kept].copy()
    reference[-1] += counts[kept:].sum()
    starts = np.arange(LEVELS + 1) * kept // (LEVELS + 1)
    filled = counts[:kept] > 0
    sums = np.add.reduceat(counts[:kept], starts)
    members = np.maximum(np.add.reduceat(filled.astype(np.float64), starts), 1.0)
    widths = np.diff(np.append(starts, kept))
    levels = np.repeat(sums / members, widths) * filled
    both = (reference > 0) & (levels > 0)
    if not both.any() or (reference[~both] > 0).any():
        return float(np.inf)
    p, q = reference[both] / reference.sum(), levels[both] / levels.sum()
    return float((p * np.log(p / q)).sum())


def collect_histograms(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    tiles: NDArray[np.uint8],
    batch: int | None = None,
) -> dict[str, Histogram]:
    """Run tiles through a graph twice: for the largest magnitudes, then for the histograms.

    Args:
        model: the float graph, with the input `tiles`.
        tensors: names of the float tensors.
        tiles: uint8 [N, 1, H, W].
        batch: tiles per call, or None for any number.

    Returns:
        A histogram per tensor.

    Raises:
        ExportError: a value is infinite or not a number.
    """
    run = GraphRun(with_outputs(model, tensors), batch, tensors)
    largest = dict.fromkeys(tensors, 0.0)
    for found in run.values(tiles):
        for name, values in zip(tensors, found, strict=True):
            peak = float(np.abs(values).max())
            if not np.isfinite(peak):
                raise ExportError(
                    f"{name} reaches {peak} on the calibration tiles", "train the network again"
                )
            largest[name] = max(largest[name], peak)
    counts = {name: np.zeros(_BINS, np.int64) for name in tensors}
    # A tensor that is always 0 still needs a step above 0.
    bounds = {name: value if value > _NOTHING else 1.0 for name, value in largest.items()}
    for found in run.values(tiles):
        for name, values in zip(tensors, found, strict=True):
            scaled = np.abs(values).ravel() * (_BINS / bounds[name])
            bins = np.minimum(scaled.astype(np.int32), _BINS - 1)
            counts[name] += np.bincount(bins, minlength=_BINS)
    return {name: Histogram(counts[name], bounds[name]) for name in tensors}
