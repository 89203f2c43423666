"""The network written out pixel by pixel in numpy, from the paper and its references alone.

Nothing here looks at torch: windows are written as the pixels they cover, borders as the taps that
exist. Maps are float64 [N, C, H, W]; weights have torch's axes, as they are stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float64]
Weights = Mapping[str, NDArray[Any]]


def partial_convolution(maps: Maps, weight: NDArray[Any], bias: NDArray[Any]) -> Maps:
    """3x3: the sum over the taps inside the map, times 9 over their number, plus the bias."""
    count, _, height, width = maps.shape
    result = np.empty((count, weight.shape[0], height, width))
    for n in range(count):
        for y in range(height):
            for x in range(width):
                total, taps = np.zeros(weight.shape[0]), 0
                for dy in (-1, 0, 1):
                    for dx in (-1, 0, 1):
                        if 0 <= y + dy < height and 0 <= x + dx < width:
                            taps += 1
                            total += weight[:, :, dy + 1, dx + 1] @ maps[n, :, y + dy, x + dx]
                result[n, :, y, x] = total * 9 / taps + bias
    return result


def zero_padded_convolution(maps: Maps, weight: NDArray[Any], bias: NDArray[Any]) -> Maps:
    """3x3: the sum over the taps inside the map, plus the bias; no ratio."""
    count, _, height, width = maps.shape
    result = np.empty((count, weight.shape[0], height, width))
    for n, y, x in np.ndindex(count, height, width):
        total = np.zeros(weight.shape[0])
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    total += weight[:, :, dy + 1, dx + 1] @ maps[n, :, y + dy, x + dx]
        result[n, :, y, x] = total + bias
    return result


def _largest_in_window(maps: Maps, before: int, after: int) -> Maps:
    """For every 2x2 cell, the largest pixel from `before` px before it to `after` px past it."""
    count, channels, height, width = maps.shape
    rows, columns = height // 2, width // 2
    result = np.empty((count, channels, rows, columns))
    for n in range(count):
        for c in range(channels):
            for i in range(rows):
                for j in range(columns):
                    result[n, c, i, j] = max(
                        maps[n, c, y, x]
                        for y in range(2 * i - before, 2 * i + 2 + after)
                        for x in range(2 * j - before, 2 * j + 2 + after)
                        if 0 <= y < 2 * rows and 0 <= x < 2 * columns
                    )
    return result


def max_pool(maps: Maps) -> Maps:
    return _largest_in_window(maps, 0, 0)


def stacked_pool(maps: Maps) -> Maps:
    """Mean of the maxima over 2x2, 4x4 and 8x8 pixels; what leaves the map does not count."""
    windows = [(0, 0), (0, 2), (2, 4)]
    return np.asarray(np.mean([_largest_in_window(maps, *window) for window in windows], axis=0))


def gated_scale_pool(maps: Maps, gate: NDArray[Any], gate_bias: NDArray[Any] | None) -> Maps:
    """Equation (1): p = M s(g) + S (1 - s(g)), g one 2x2 filter per channel."""
    largest, stacked = max_pool(maps), stacked_pool(maps)
    result = np.empty_like(largest)
    for n, c, i, j in np.ndindex(*largest.shape):
        g = 0.0 if gate_bias is None else float(gate_bias[c])
        for dy in (0, 1):
            for dx in (0, 1):
                g += float(gate[c, 0, dy, dx]) * maps[n, c, 2 * i + dy, 2 * j + dx]
        share = 1 / (1 + math.exp(-g))
        result[n, c, i, j] = largest[n, c, i, j] * share + stacked[n, c, i, j] * (1 - share)
    return result


def pointwise(maps: Maps, weight: NDArray[Any], bias: NDArray[Any]) -> Maps:
    """1x1 convolution: every pixel's channels times one matrix."""
    count, _, height, width = maps.shape
    result = np.empty((count, weight.shape[0], height, width))
    for n, y, x in np.ndindex(count, height, width):
        result[n, :, y, x] = weight[:, :, 0, 0] @ maps[n, :, y, x] + bias
    return result


def double_size(maps: Maps, weight: NDArray[Any], bias: NDArray[Any]) -> Maps:
    """Transposed 2x2 convolution: every pixel paints the 2x2 pixels that it becomes."""
    count, _, height, width = maps.shape
    result = np.empty((count, weight.shape[1], 2 * height, 2 * width))
    for n, y, x, dy, dx in np.ndindex(count, height, width, 2, 2):
        painted = weight[:, :, dy, dx].T @ maps[n, :, y, x]
        result[n, :, 2 * y + dy, 2 * x + dx] = painted + bias
    return result


def _neighbours(position: int, factor: int, length: int) -> tuple[int, int, float]:
    """The two source pixels of one enlarged pixel and the second one's weight.

    Pixels are areas, so centres lie at one half; beyond the outermost centres nothing changes.
    """
    source = max((position + 0.5) / factor - 0.5, 0.0)
    first = math.floor(source)
    return first, min(first + 1, length - 1), source - first


def bilinear(maps: Maps, factor: int) -> Maps:
    count, channels, height, width = maps.shape
    result = np.empty((count, channels, height * factor, width * factor))
    for y in range(height * factor):
        top, bottom, down = _neighbours(y, factor, height)
        for x in range(width * factor):
            left, right, along = _neighbours(x, factor, width)
            upper = maps[:, :, top, left] * (1 - along) + maps[:, :, top, right] * along
            lower = maps[:, :, bottom, left] * (1 - along) + maps[:, :, bottom, right] * along
            result[:, :, y, x] = upper * (1 - down) + lower * down
    return result


def block(maps: Maps, weights: Weights, *, ratio: bool = True) -> Maps:
    """1x1, then four partial convolutions, each with ReLU, added to what went in."""
    convolution = partial_convolution if ratio else zero_padded_convolution
    entrance = pointwise(maps, weights["project.weight"], weights["project.bias"])
    result = entrance
    for index in range(4):
        name = f"convolutions.{index}"
        convolved = convolution(result, weights[f"{name}.weight"], weights[f"{name}.bias"])
        result = np.where(convolved > 0, convolved, 0.0)
    return entrance + result


def _below(weights: Weights, prefix: str) -> Weights:
    start = prefix + "."
    return {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}


def _pool(pooling: str, maps: Maps, weights: Weights, level: int) -> Maps:
    if pooling == "max":
        return max_pool(maps)
    if pooling == "stacked":
        return stacked_pool(maps)
    gate = _below(weights, f"pools.{level}.gate")
    return gated_scale_pool(maps, gate["weight"], gate.get("bias"))


def crack_unet(tiles: Maps, weights: Weights, pooling: str, scales_without_ratio: int = 0) -> Maps:
    """The whole network: [N, 1, H, W] in 0..1 -> logits [N, 2, H, W].

    The border ratio may be left out on as many scales, the finest first.
    """
    maps, skips = tiles, []
    for level in range(3):
        ratio = level >= scales_without_ratio
        maps = block(maps, _below(weights, f"encoder.{level}"), ratio=ratio)
        skips.append(maps)
        maps = _pool(pooling, maps, weights, level)
    maps = block(maps, _below(weights, "encoder.3"), ratio=scales_without_ratio < 4)
    outputs = [(maps, 8)]
    for level in range(3):
        up = _below(weights, f"upsamples.{level}")
        joined = np.concatenate([skips.pop(), double_size(maps, up["weight"], up["bias"])], axis=1)
        ratio = 2 - level >= scales_without_ratio
        maps = block(joined, _below(weights, f"decoder.{level}"), ratio=ratio)
        outputs.append((maps, 8 >> (level + 1)))
    scales = []
    for level, (maps, factor) in enumerate(outputs):
        head = _below(weights, f"heads.{level}")
        scales.append(bilinear(pointwise(maps, head["weight"], head["bias"]), factor))
    return pointwise(np.concatenate(scales, axis=1), weights["fuse.weight"], weights["fuse.bias"])


def crack_levels(logits: Maps) -> NDArray[np.int64]:
    """Softmax of the two classes; the crack's share in levels of 255, [N, 1, H, W]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    share = powers[:, 1:2] / powers.sum(axis=1, keepdims=True)
    return np.asarray(np.rint(share * 255), dtype=np.int64)
