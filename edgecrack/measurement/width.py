"""Crack width and its uncertainty, from the grey values across the crack.

The model is a dark bar blurred by lens and sensor. Its reflectance, the blur and the illumination
are unknown; the estimate averages over them, weighted by how well they fit the profile. Grey values
are light to the power 1 / gamma: the bar is blurred in light, the noise is uniform in grey values.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.measurement.bars import (
    BLURS_PX,
    FEWEST_PX,
    LIKELY_REFLECTANCE,
    REFLECTANCES,
    Bank,
    Cut,
    Profile,
    WidthPrior,
    bank_of,
    crack_in,
    log_prior,
    shared_log_prior,
    without_bar,
)

# Largest high / low of an interval that counts as a measurement; beyond it, only an upper limit.
_WIDEST_RATIO = 20.0
_LEAST_CONTRAST = 2.5
# A dip too shallow for a clean crack needs more contrast.
_SHALLOW_CONTRAST = 12.0
# Not a crack if the best template misses by this many times the surface's unevenness (at least this
# share of its brightness).
_NO_CRACK, _LEAST_UNEVEN = 6.0, 0.01
# A profile is refused above this probability of the widest blur,
_SURELY_BLURRED = 0.5
_SURELY_SHALLOW = 0.5  # or of the highest reflectance
_TOO_BLURRED = "it is too blurred"
_TOO_BRIGHT = "it is too bright inside for a crack"
_NO_LIKENESS = "it does not look like a crack"
_UNLIKE = frozenset({_TOO_BLURRED, _TOO_BRIGHT, _NO_LIKENESS})
_UNLIKE_SHARE = 0.3  # of the rows of a crack; above this share it has no width
# Unevenness of the surface beside a crack, as a share of the brightest value, above which dark
# grains look like cracks. The limit does not depend on the width, so noise that makes a crack look
# wider cannot raise it; only cracks wide enough to be downsampled tolerate more.
_UNEVEN, _UNEVEN_BESIDE_WIDE = 0.06, 0.12
# Above this unevenness, a dip is noise more often than the profile alone suggests. The log interval
# grows by `_LONGER` for each further multiple of it.
_EVEN, _LONGER = 0.03, 0.5
# Correlation of neighbouring grey values on a surface,
_CORRELATION = 0.35
_USUAL = 40  # and its weight as a number of values
# For the blur and reflectance that profiles share: fewest profiles, weight of each, and most that
# count. Neighbours are not independent, and the bar model is not exact.
_ENOUGH_ROWS = 5
_TRUSTED_SHARE = 0.15
_MOST_ROWS = 40
_UNLIKELY = 1e-6
# Standard deviation of the reflectance along a crack,
_UNEVEN_REFLECTANCE = 0.03
# and between cracks.
_BETWEEN_CRACKS = 0.05
_TOGETHER = 32  # profiles per batch; bounds the memory for weights


@dataclass(frozen=True, slots=True)
class Width:
    """The crack width at one profile.

    Attributes:
        width_px: posterior median in pixels; None if not measurable.
        low_px: lower end of the 95 % interval; None if not measurable.
        high_px: upper end of the interval; an upper limit if the crack is too narrow to measure;
            otherwise None if not measurable.
        measurable: whether there is a width.
        reason: why there is no width, as a clause; "" if there is one.
        noise_px: standard deviation of the width from noise alone, which averages along a crack.
        depth_px: from the unknown light from inside the crack.
        blur_px: from the unknown blur.
        step_px: from the spacing of the trial widths, if noise is so low that only one of them is
            likely.
        centre_px: position of the crack centre, from the first value of the profile.
        contrast: signal of the whole dip, in standard deviations of the noise.
        reflectance: mean and standard deviation of the light from the crack as a share of the light
            from the surface, from this profile.
        blur: mean and standard deviation of the blur in pixels, from this profile; None if the
            crack is so wide that the profile was downsampled.
    """

    width_px: float | None
    low_px: float | None
    high_px: float | None
    measurable: bool
    reason: str = ""
    noise_px: float | None = None
    depth_px: float | None = None
    blur_px: float | None = None
    step_px: float | None = None
    centre_px: float | None = None
    contrast: float | None = None
    reflectance: tuple[float, float] | None = None
    blur: tuple[float, float] | None = None


def estimate_width(profile: NDArray[Any], prior: WidthPrior | None = None) -> Width:
    """Estimate the width of the crack that a profile crosses near its middle.

        >>> x = np.arange(31)
        >>> surface, inside = 200.0, 90.0
        >>> width = estimate_width(np.where(abs(x - 15) <= 2, inside, surface))
        >>> width.measurable, 4 < width.width_px < 6
        (True, True)

    Args:
        profile: uint8 or float [n], grey values one pixel apart across one crack, 9 or more
            values, not negative, on any scale.
        prior: prior knowledge about the image; None means none.
    """
    return estimate_widths([profile], prior)[0]


def estimate_widths(
    profiles: Sequence[NDArray[Any]], prior: WidthPrior | None = None
) -> list[Width]:
    """`estimate_width` for many profiles, several times as fast as one by one."""
    return [_width(each) for each in _look_at(profiles, prior or WidthPrior())]


def estimate_together(
    profiles: Sequence[NDArray[Any]],
    cracks: Sequence[int],
    prior: WidthPrior | None = None,
) -> list[Width]:
    """Estimate the widths of profiles from one image, sharing blur and reflectance.

    All profiles of a crack have the same blur and nearly the same reflectance. One profile barely
    determines either; many together do, which makes the widths more certain. A crack with few
    profiles uses the estimate from the whole image.

    Args:
        profiles: see `estimate_width`.
        cracks: number of the crack that each profile crosses.
        prior: see `estimate_width`.
    """
    prior = prior or WidthPrior()
    seen = _look_at(profiles, prior)
    widths = [_width(each) for each in seen]
    telling = _telling(seen, widths, prior)
    elsewhere = _of_another_crack(_learned(widths, list(telling.values()), prior), prior)
    members: dict[int, list[int]] = {}
    for number, crack in enumerate(cracks):
        members.setdefault(crack, []).append(number)
    for rows in members.values():
        own = [telling[row] for row in rows if row in telling]
        found = [widths[row] for row in rows]
        enough = sum(width.measurable for width in found) >= _ENOUGH_ROWS
        learned = _learned(found, own, prior, elsewhere) if enough else elsewhere
        for row in rows:
            each = seen[row]
            if isinstance(each, _Seen):
                widths[row] = _summary(_weighed_anew(each, prior, learned))
    for rows in members.values():
        _refuse_unlike(widths, rows)
    return widths


def _refuse_unlike(widths: list[Width], rows: list[int]) -> None:
    """Refuse the measured rows of a crack if many of its rows do not look like a crack."""
    unlike = Counter(widths[row].reason for row in rows if widths[row].reason in _UNLIKE)
    measured = [row for row in rows if widths[row].measurable]
    if unlike.total() > _UNLIKE_SHARE * (unlike.total() + len(measured)):
        reason = unlike.most_common(1)[0][0]
        for row in measured:
            contrast, centre_px = widths[row].contrast, widths[row].centre_px
            widths[row] = _unmeasured(reason, contrast=contrast, centre_px=centre_px)


def _of_another_crack(of_all: WidthPrior, prior: WidthPrior) -> WidthPrior:
    """The prior from all cracks of an image, widened because each may be cleaner or dirtier."""
    if of_all.reflectance is None or prior.reflectance is not None:
        return of_all
    mean, spread = of_all.reflectance
    return replace(of_all, reflectance=(mean, math.hypot(spread, _BETWEEN_CRACKS)))


def _learned(
    widths: list[Width],
    telling: list[Profile],
    prior: WidthPrior,
    base: WidthPrior | None = None,
) -> WidthPrior:
    """Estimate blur and reflectance from several profiles.

    Args:
        widths: one for each profile.
        telling: float [S, R] each, log likelihoods from `_telling`.
        prior: what is known for certain.
        base: prior for these profiles; None uses `prior`.
    """
    base = base or prior
    blur, reflectance = prior.blur_px, prior.reflectance
    if len(telling) >= _ENOUGH_ROWS:
        trusted = _TRUSTED_SHARE * min(len(telling), _MOST_ROWS)
        together = np.exp(shared_log_prior(base) + trusted * np.mean(telling, axis=0))
        together /= together.sum()
        blur = blur or _mean_and_spread(np.array(BLURS_PX), together.sum(axis=1))
        mean, spread = _mean_and_spread(np.array(REFLECTANCES), together.sum(axis=0))
        reflectance = reflectance or (mean, math.hypot(spread, _UNEVEN_REFLECTANCE))
    elif reflectance is None:
        # Downsampled profiles of wide cracks do not determine the blur.
        wide = [each.reflectance for each in widths if each.reflectance and each.blur is None]
        if len(wide) >= _ENOUGH_ROWS:
            means, spreads = np.array(wide).T
            spread = math.hypot(float(means.std()), float(np.median(spreads)))
            reflectance = (float(np.median(means)), spread)
    if len(telling) < _ENOUGH_ROWS:
        blur, reflectance = blur or base.blur_px, reflectance or base.reflectance
    return replace(prior, blur_px=blur, reflectance=reflectance)


def _telling(
    seen: Sequence[_Seen | Width], widths: Sequence[Width], prior: WidthPrior
) -> dict[int, Profile]:
    """Log likelihood of each blur and reflectance, float [S, R], by profile.

    Only for profiles that could be measured and were not downsampled.
    """
    shared = shared_log_prior(prior)
    return {
        number: np.log(each.weights.sum(axis=0, dtype=np.float64) + _UNLIKELY) - shared
        for number, (each, width) in enumerate(zip(seen, widths, strict=True))
        if isinstance(each, _Seen) and each.cut.factor == 1 and width.measurable
    }


def _weighed_anew(seen: _Seen, before: WidthPrior, after: WidthPrior) -> _Seen:
    """Reweight a profile's posterior for a new prior, without another comparison."""
    factor = seen.cut.factor
    known = shared_log_prior(after.of_shrunk(factor)) - shared_log_prior(before.of_shrunk(factor))
    weights = seen.weights * np.exp(known - known.max()).astype(np.float32)
    total = float(weights.sum())
    return replace(seen, weights=weights / total) if total > 0 else seen


def _look_at(profiles: Sequence[NDArray[Any]], prior: WidthPrior) -> list[_Seen | Width]:
    """Compare each profile with the templates, or say why it cannot be measured."""
    seen: list[_Seen | Width | None] = [None] * len(profiles)
    alike: dict[tuple[int, int, float], list[tuple[int, Cut]]] = {}
    for number, profile in enumerate(profiles):
        values = np.asarray(profile, np.float64)
        if refused := _refusal(values, is_bytes=np.asarray(profile).dtype == np.uint8):
            seen[number] = _unmeasured(refused)
            continue
        cut = crack_in(values, prior.gamma)
        if len(cut.values) < FEWEST_PX:
            seen[number] = _unmeasured("the crack is at the end of the profile")
            continue
        alike.setdefault((len(cut.values), cut.factor, cut.widest_px), []).append((number, cut))
    for (_, factor, _), group in alike.items():
        known = prior.of_shrunk(factor)
        for first in range(0, len(group), _TOGETHER):
            part = group[first : first + _TOGETHER]
            found = _compared([cut for _, cut in part], known)
            for (number, _), each in zip(part, found, strict=True):
                seen[number] = each
    return [each for each in seen if each is not None]


def _width(seen: _Seen | Width) -> Width:
    return seen if isinstance(seen, Width) else _summary(seen)


def _refusal(values: Profile, *, is_bytes: bool) -> str:
    if values.ndim != 1 or len(values) < FEWEST_PX:
        return f"the profile has {values.size} values; at least {FEWEST_PX} are needed"
    if not np.isfinite(values).all():
        return "the profile contains non-finite values"
    if values.min() < 0:
        return "the profile contains values below 0"
    if np.ptp(values) <= (2.0 if is_bytes else 1e-9 * max(1.0, float(values.max()))):
        return "the profile is flat"
    top = 255.0 if is_bytes else float(values.max())
    clipped = np.count_nonzero(values >= top)
    if (is_bytes or clipped > 3) and clipped > len(values) / 6:
        return "the surface beside the crack is overexposed"
    if np.count_nonzero(values == 0) > len(values) / 2:
        return "the profile is underexposed"
    return ""


def _unmeasured(
    reason: str,
    *,
    high_px: float | None = None,
    centre_px: float | None = None,
    contrast: float | None = None,
) -> Width:
    return Width(None, None, high_px, False, reason, centre_px=centre_px, contrast=contrast)


def _mean_and_spread(values: Profile, weights: Profile) -> tuple[float, float]:
    mean = float((values * weights).sum())
    return mean, math.sqrt(max(float((weights * (values - mean) ** 2).sum()), 0.0))


@dataclass(frozen=True, eq=False)
class _Seen:
    """The posterior of a profile.

    Attributes:
        cut: the part that was compared.
        bank: the templates.
        weights: float32 [W, S, R], probability of each width, blur and reflectance; sums to 1.
        offset_px: offset of the crack centre from the middle of `cut`.
        contrast: see `Width`.
        unevenness: standard deviation of the surface beside the crack, as a share of the brightest
            value.
        misfit: residual of the best template over the unevenness of the surface.
    """

    cut: Cut
    bank: Bank
    weights: NDArray[np.float32]
    offset_px: float
    contrast: float
    unevenness: float
    misfit: float


def _compared(cuts: Sequence[Cut], prior: WidthPrior) -> list[_Seen]:
    """Compare profiles of the same length, factor and width limit with all templates."""
    values = np.stack([cut.values for cut in cuts])
    count = values.shape[1]
    bank = bank_of(count // 2, prior.gamma).up_to(cuts[0].widest_px)
    level = values.max(axis=1, keepdims=True)
    y = (values / level).astype(np.float32)
    total = (y**2).sum(axis=1, keepdims=True)
    along = y @ bank.first.T
    left = np.maximum(total - along**2 - (y @ bank.second.T) ** 2, 0.0)  # [m, K]
    free = count - 5
    rounding = (0.35 / np.maximum(level, 64.0)) ** 2 if level.max() > 2 else 1e-6
    least = np.maximum(left.min(axis=1, keepdims=True), free * rounding)
    correlation = _correlation(y, bank, np.argmin(left, axis=1))[:, None]
    share = (1 - correlation) / (1 + correlation)  # of independent values
    degrees = np.maximum((count - 2) * share, 2.0)
    # In single precision and in place, because there are thousands of templates.
    weights = left
    weights += np.asarray(free * rounding, np.float32)
    weights /= least.astype(np.float32)
    np.log(weights, out=weights)
    weights *= (-degrees / 2).astype(np.float32)
    weights += log_prior(count // 2, prior)[: len(bank.first)].astype(np.float32)
    weights -= weights.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=1, keepdims=True)
    weights = weights.reshape(-1, *bank.shape)  # [m, W, C, S, R]
    noise = np.sqrt(least[:, 0] / free)
    contrast = np.sqrt(np.maximum(without_bar(y) - least[:, 0], 0.0) * share[:, 0]) / noise
    # The texture and bright rims of a wide crack do not count as surface unevenness.
    beside = _beside(y)
    unevenness, misfit = np.minimum(noise, beside), noise / np.maximum(beside, _LEAST_UNEVEN)
    offsets = weights.sum(axis=(1, 3, 4)) @ bank.offsets_px
    joint = weights.sum(axis=2).astype(np.float32)
    rows = zip(cuts, joint, offsets, contrast, unevenness, misfit, strict=True)
    return [
        _Seen(cut, bank, each, float(offset), float(stands_out), float(uneven), float(unlike))
        for cut, each, offset, stands_out, uneven, unlike in rows
    ]


def _beside(y: NDArray[np.float32]) -> Profile:
    """Standard deviation about a line fitted to each outer third of profiles [m, n]: float [m]."""
    count = max(3, y.shape[1] // 3)
    left = [without_bar(part) for part in (y[:, :count], y[:, -count:])]
    return np.asarray(np.sqrt(np.sum(left, axis=0) / (2 * count - 4)), np.float64)


def _correlation(y: NDArray[np.float32], bank: Bank, best: NDArray[np.intp]) -> Profile:
    """Correlation of neighbouring residuals from the best template of each profile.

    A few values determine it poorly, so it is shrunk towards the typical value.
    """
    first, second = bank.first[best], bank.second[best]
    left = y - first * (y * first).sum(axis=1, keepdims=True)
    left -= second * (y * second).sum(axis=1, keepdims=True)
    together = (left[:, 1:] * left[:, :-1]).sum(axis=1, dtype=np.float64)
    alike = together / np.maximum((left**2).sum(axis=1, dtype=np.float64), 1e-12)
    count = y.shape[1]
    # Fitting five parameters lowers the correlation.
    alike = alike + 2 / count
    return np.asarray(np.clip((count * alike + _USUAL * _CORRELATION) / (count + _USUAL), 0.0, 0.8))


def _summary(seen: _Seen) -> Width:
    bank, contrast, weights = seen.bank, seen.contrast, seen.weights.astype(np.float64)
    if contrast < _LEAST_CONTRAST:
        return _unmeasured("the crack does not stand out from the noise", contrast=contrast)
    by_reflectance = weights.sum(axis=(0, 1))
    if float(by_reflectance[-1]) > _SURELY_SHALLOW:
        return _unmeasured(_TOO_BRIGHT, contrast=contrast)
    shallow = float(by_reflectance[bank.reflectances > LIKELY_REFLECTANCE[1]].sum())
    if shallow > 0.5 and contrast < _SHALLOW_CONTRAST:
        return _unmeasured("it is as faint as the unevenness of the surface", contrast=contrast)
    if seen.misfit > _NO_CRACK:
        return _unmeasured(_NO_LIKENESS, contrast=contrast)
    if float(weights[:, -1].sum()) > _SURELY_BLURRED:
        # The widest blur represents all wider ones.
        return _unmeasured(_TOO_BLURRED, contrast=contrast)
    marginal = weights.sum(axis=(1, 2))
    low, median, high = _quantiles(bank.widths_px, marginal, (0.025, 0.5, 0.975))
    factor = seen.cut.factor
    known = {"centre_px": seen.cut.centre_px + factor * seen.offset_px, "contrast": contrast}
    low, median, high = (factor * each for each in (low, median, high))
    if high > 0.97 * factor * bank.widths_px[-1]:
        return _unmeasured("the crack reaches the end of the profile", **known)
    if seen.unevenness > (_UNEVEN if factor == 1 else _UNEVEN_BESIDE_WIDE):
        return _unmeasured("the surface is too uneven", **known)
    if high / low > _WIDEST_RATIO:
        return _unmeasured(f"it is below {high:.1f} px", high_px=high, **known)
    noise, depth, blur = (factor * each for each in _terms(weights, bank.widths_px))
    reach = 1.0
    if factor == 1:
        reach += _LONGER * max(0.0, seen.unevenness / _EVEN - 1)
    return Width(
        median,
        median * (low / median) ** reach,
        median * (high / median) ** reach,
        True,
        noise_px=reach * noise,
        depth_px=depth,
        blur_px=blur,
        step_px=factor * _step(bank.widths_px, marginal),
        centre_px=known["centre_px"],
        contrast=contrast,
        reflectance=_mean_and_spread(bank.reflectances, by_reflectance),
        # Downsampling also blurs.
        blur=_mean_and_spread(bank.blurs_px, weights.sum(axis=(0, 2))) if factor == 1 else None,
    )


def _quantiles(
    widths_px: Profile, weights: Profile, shares: tuple[float, ...]
) -> tuple[float, ...]:
    """Quantiles of a distribution that is uniform around each grid width."""
    between = (widths_px[1:] + widths_px[:-1]) / 2
    edges = np.concatenate([[widths_px[0] - 0.02], between, [2 * widths_px[-1] - between[-1]]])
    below = np.append(0.0, np.cumsum(weights))
    return tuple(float(np.interp(share, below, edges)) for share in shares)


def _step(widths_px: Profile, weights: Profile) -> float:
    """Standard deviation from rounding to the most likely width, scaled by its probability."""
    best = int(np.argmax(weights))
    return float(np.gradient(widths_px)[best] / math.sqrt(12) * weights[best] ** 2)


def _terms(weights: NDArray[np.float64], widths_px: Profile) -> tuple[float, float, float]:
    """Standard deviations from noise, from reflectance and from blur."""
    given = weights.sum(axis=0)  # [S, R]
    safe = np.maximum(given, 1e-300)
    means = np.tensordot(widths_px, weights, 1) / safe
    squares = np.tensordot(widths_px**2, weights, 1) / safe
    within = float((given * np.maximum(squares - means**2, 0)).sum())
    return math.sqrt(within), _spread(means, given, 0), _spread(means, given, 1)


def _spread(means: NDArray[np.float64], given: NDArray[np.float64], averaged: int) -> float:
    """Standard deviation of the means over one axis, averaged over the other."""
    shares = given.sum(axis=averaged)
    along = (means * given).sum(axis=averaged) / np.maximum(shares, 1e-300)
    mean = float((along * shares).sum())
    return math.sqrt(max(float((shares * (along - mean) ** 2).sum()), 0.0))
