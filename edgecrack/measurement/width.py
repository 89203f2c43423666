"""How wide a crack is, from the grey values across it, and how sure that is.

A crack is a dark bar behind the blur of lens and sensor. What of the surface's light comes out of
it, the blur and the illumination are not known; they are averaged over, each as far as the profile
itself leaves it open. Grey values are taken as coded: light to the power 1 / gamma, so that the bar
is blurred in light and the noise is even in grey values. Knows arrays only.
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

# A narrower interval than this, as high / low, is a measurement; a wider one says how wide at most.
_WIDEST_RATIO = 20.0
_LEAST_CONTRAST = 2.5
# A dip that no clean crack would give has to stand out the more.
_SHALLOW_CONTRAST = 12.0
# What no template fits by so many times the surface's unevenness, or this share of its brightness,
# is something else.
_NO_CRACK, _LEAST_UNEVEN = 6.0, 0.01
# Probability of the widest blur from which on a profile is refused.
_SURELY_BLURRED = 0.5
_SURELY_SHALLOW = 0.5  # and of the brightest inside
_TOO_BLURRED = "it is too blurred"
_TOO_BRIGHT = "it is too bright inside for a crack"
_NO_LIKENESS = "it does not look like a crack"
_UNLIKE = frozenset({_TOO_BLURRED, _TOO_BRIGHT, _NO_LIKENESS})
_UNLIKE_SHARE = 0.3  # of a crack's places, from which on it has no width
# Unevenness of the surface beside a crack, as a share of the brightest value, from which on dark
# grains look like cracks. A limit that does not depend on the width lets no crack through because
# noise made it look wider; only what is so wide that its profile was shrunk bears more.
_UNEVEN, _UNEVEN_BESIDE_WIDE = 0.06, 0.12
# From this unevenness on, what stands out stands out by its noise more often than the profile alone
# tells, and intervals are longer: by so much, in logarithms, for each time that it is more uneven.
_EVEN, _LONGER = 0.03, 0.5
# Grey values that neighbour each other on a surface are not independent.
_CORRELATION = 0.35
_USUAL = 40  # values that this counts as much as
# Profiles that tell the blur and the light from within together, how far each is trusted, and how
# many: neighbours are not independent of each other, and the model of a bar is not exact.
_ENOUGH_ROWS = 5
_TRUSTED_SHARE = 0.15
_MOST_ROWS = 40
_UNLIKELY = 1e-6
# By how much the light from within differs along a crack, as a standard deviation.
_UNEVEN_REFLECTANCE = 0.03
# And from crack to crack.
_BETWEEN_CRACKS = 0.05
_TOGETHER = 32  # profiles whose weights fit into memory at once


@dataclass(frozen=True, slots=True)
class Width:
    """The width of a crack where a profile crosses it.

    Attributes:
        width_px: median of what it may be, in pixels; None where it cannot be measured.
        low_px: lower end of the 95 % interval; None where it cannot be measured.
        high_px: upper end; where the crack is too narrow to be measured, it is below this; else
            None where it cannot be measured.
        measurable: whether there is a width.
        reason: why there is none, as a clause; "" where there is one.
        noise_px: standard deviation of the width by noise alone, which averages along a crack.
        depth_px: by what is not known of the light from within the crack.
        blur_px: by what is not known of the blur.
        step_px: by the steps between the widths that are compared, where noise is so low that one
            of them alone is likely.
        centre_px: where its middle lies, from the profile's first value.
        contrast: how far the dip as a whole stands out, in standard deviations of the noise.
        reflectance: mean and standard deviation of the share of the surface's light that comes out
            of the crack, by this profile.
        blur: mean and standard deviation of the blur in pixels, by this profile; None where the
            crack is so wide that the profile was shrunk.
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
    """The width of the crack that a profile crosses near its middle.

        >>> x = np.arange(31)
        >>> surface, inside = 200.0, 90.0
        >>> width = estimate_width(np.where(abs(x - 15) <= 2, inside, surface))
        >>> width.measurable, 4 < width.width_px < 6
        (True, True)

    Args:
        profile: uint8 or float [n], grey values one pixel apart across one crack, 9 or more; not
            negative, on any scale.
        prior: what is known of the picture; None knows nothing.
    """
    return estimate_widths([profile], prior)[0]


def estimate_widths(
    profiles: Sequence[NDArray[Any]], prior: WidthPrior | None = None
) -> list[Width]:
    """`estimate_width` of many profiles, several times as fast as one by one."""
    return [_width(each) for each in _look_at(profiles, prior or WidthPrior())]


def estimate_together(
    profiles: Sequence[NDArray[Any]],
    cracks: Sequence[int],
    prior: WidthPrior | None = None,
) -> list[Width]:
    """`estimate_widths` of profiles of one picture, which tell each other's blur and light.

    Along a crack the blur is the same in all profiles, and the light from within nearly. One
    profile leaves both open; many leave less of it open, and the widths become surer. A crack with
    few profiles takes what those of the whole picture say.

    Args:
        profiles: see `estimate_width`.
        cracks: number of the crack that each crosses.
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
    """Where many places of a crack are unlike one, so are the others, whatever they look like."""
    unlike = Counter(widths[row].reason for row in rows if widths[row].reason in _UNLIKE)
    measured = [row for row in rows if widths[row].measurable]
    if unlike.total() > _UNLIKE_SHARE * (unlike.total() + len(measured)):
        reason = unlike.most_common(1)[0][0]
        for row in measured:
            contrast, centre_px = widths[row].contrast, widths[row].centre_px
            widths[row] = _unmeasured(reason, contrast=contrast, centre_px=centre_px)


def _of_another_crack(of_all: WidthPrior, prior: WidthPrior) -> WidthPrior:
    """What all cracks of a picture together say of one of them: it may be cleaner or dirtier."""
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
    """What profiles together say of the blur and of the light from within.

    Args:
        widths: of each profile.
        telling: float [S, R], of some profiles, how likely each blur and reflectance makes them.
        prior: what is known for certain.
        base: what else is known before these profiles are seen; None for no more.
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
        # Of cracks so wide that their profiles were shrunk the blur says nothing.
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
    """How likely each blur and reflectance makes what was seen, float [S, R], by profile.

    Of those that could be measured and were not shrunk.
    """
    shared = shared_log_prior(prior)
    return {
        number: np.log(each.weights.sum(axis=0, dtype=np.float64) + _UNLIKELY) - shared
        for number, (each, width) in enumerate(zip(seen, widths, strict=True))
        if isinstance(each, _Seen) and each.cut.factor == 1 and width.measurable
    }


def _weighed_anew(seen: _Seen, before: WidthPrior, after: WidthPrior) -> _Seen:
    """What a profile says to who knows more of blur and light; nothing is compared again."""
    factor = seen.cut.factor
    known = shared_log_prior(after.of_shrunk(factor)) - shared_log_prior(before.of_shrunk(factor))
    weights = seen.weights * np.exp(known - known.max()).astype(np.float32)
    total = float(weights.sum())
    return replace(seen, weights=weights / total) if total > 0 else seen


def _look_at(profiles: Sequence[NDArray[Any]], prior: WidthPrior) -> list[_Seen | Width]:
    """What each profile says, or why it cannot be measured at all."""
    seen: list[_Seen | Width | None] = [None] * len(profiles)
    alike: dict[tuple[int, int, float], list[tuple[int, Cut]]] = {}
    for number, profile in enumerate(profiles):
        values = np.asarray(profile, np.float64)
        if refused := _refusal(values, is_bytes=np.asarray(profile).dtype == np.uint8):
            seen[number] = _unmeasured(refused)
            continue
        cut = crack_in(values, prior.gamma)
        if len(cut.values) < FEWEST_PX:
            seen[number] = _unmeasured("the crack lies at the profile's end")
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
        return f"the profile has {values.size} values, and {FEWEST_PX} are needed"
    if not np.isfinite(values).all():
        return "the profile holds values that are no numbers"
    if values.min() < 0:
        return "the profile holds values below 0"
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
    """What a profile says.

    Attributes:
        cut: the part of it that was compared.
        bank: the templates.
        weights: float32 [W, S, R], how likely each width, blur and reflectance is; their sum is 1.
        offset_px: of the crack's middle from that of the part.
        contrast: see `Width`.
        unevenness: standard deviation of the surface beside the crack, as a share of the brightest
            value.
        misfit: what the best template leaves over what the surface is uneven by.
    """

    cut: Cut
    bank: Bank
    weights: NDArray[np.float32]
    offset_px: float
    contrast: float
    unevenness: float
    misfit: float


def _compared(cuts: Sequence[Cut], prior: WidthPrior) -> list[_Seen]:
    """Profiles of one length, factor and widest crack with all templates."""
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
    share = (1 - correlation) / (1 + correlation)  # of the values that are independent
    degrees = np.maximum((count - 2) * share, 2.0)
    # Of single precision, as what is left, and in place, for there are thousands of templates.
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
    # A wide crack's own texture and bright rims are no unevenness of the surface.
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
    """Standard deviation about a line through each outer third of profiles [m, n]: float [m]."""
    count = max(3, y.shape[1] // 3)
    left = [without_bar(part) for part in (y[:, :count], y[:, -count:])]
    return np.asarray(np.sqrt(np.sum(left, axis=0) / (2 * count - 4)), np.float64)


def _correlation(y: NDArray[np.float32], bank: Bank, best: NDArray[np.intp]) -> Profile:
    """How alike neighbouring values are in what the best template leaves of each profile.

    A few values tell little of it, so what is usual counts, too.
    """
    first, second = bank.first[best], bank.second[best]
    left = y - first * (y * first).sum(axis=1, keepdims=True)
    left -= second * (y * second).sum(axis=1, keepdims=True)
    together = (left[:, 1:] * left[:, :-1]).sum(axis=1, dtype=np.float64)
    alike = together / np.maximum((left**2).sum(axis=1, dtype=np.float64), 1e-12)
    count = y.shape[1]
    # Fitting five figures makes neighbours less alike than they are.
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
        return _unmeasured("it is as faint as the surface's own unevenness", contrast=contrast)
    if seen.misfit > _NO_CRACK:
        return _unmeasured(_NO_LIKENESS, contrast=contrast)
    if float(weights[:, -1].sum()) > _SURELY_BLURRED:
        # The widest blur stands for all that are wider still.
        return _unmeasured(_TOO_BLURRED, contrast=contrast)
    marginal = weights.sum(axis=(1, 2))
    low, median, high = _quantiles(bank.widths_px, marginal, (0.025, 0.5, 0.975))
    factor = seen.cut.factor
    known = {"centre_px": seen.cut.centre_px + factor * seen.offset_px, "contrast": contrast}
    low, median, high = (factor * each for each in (low, median, high))
    if high > 0.97 * factor * bank.widths_px[-1]:
        return _unmeasured("the crack reaches the profile's end", **known)
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
        # Shrinking blurs, too.
        blur=_mean_and_spread(bank.blurs_px, weights.sum(axis=(0, 2))) if factor == 1 else None,
    )


def _quantiles(
    widths_px: Profile, weights: Profile, shares: tuple[float, ...]
) -> tuple[float, ...]:
    """Of a distribution that is even around each width of the grid."""
    between = (widths_px[1:] + widths_px[:-1]) / 2
    edges = np.concatenate([[widths_px[0] - 0.02], between, [2 * widths_px[-1] - between[-1]]])
    below = np.append(0.0, np.cumsum(weights))
    return tuple(float(np.interp(share, below, edges)) for share in shares)


def _step(widths_px: Profile, weights: Profile) -> float:
    """Standard deviation by rounding to the most likely width, as far as that stands alone."""
    best = int(np.argmax(weights))
    return float(np.gradient(widths_px)[best] / math.sqrt(12) * weights[best] ** 2)


def _terms(weights: NDArray[np.float64], widths_px: Profile) -> tuple[float, float, float]:
    """Standard deviations by noise, by the light from within and by the blur."""
    given = weights.sum(axis=0)  # [S, R]
    safe = np.maximum(given, 1e-300)
    means = np.tensordot(widths_px, weights, 1) / safe
    squares = np.tensordot(widths_px**2, weights, 1) / safe
    within = float((given * np.maximum(squares - means**2, 0)).sum())
    return math.sqrt(within), _spread(means, given, 0), _spread(means, given, 1)


def _spread(means: NDArray[np.float64], given: NDArray[np.float64], averaged: int) -> float:
    """Standard deviation over one axis of the means, the other averaged over."""
    shares = given.sum(axis=averaged)
    along = (means * given).sum(axis=averaged) / np.maximum(shares, 1e-300)
    mean = float((along * shares).sum())
    return math.sqrt(max(float((shares * (along - mean) ** 2).sum()), 0.0))
