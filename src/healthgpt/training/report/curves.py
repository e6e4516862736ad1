"""Curves of a training report as SVG without scripts: thinned, on axes chosen for them, readable at any width.

Only the lines are stretched to the width there is; dots, marks and words keep their size. Words stand outside the SVG
as HTML, and a screen reader is told every curve in a sentence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from healthgpt.data.page_parts import safe

BUCKETS = 400
"""Pieces of a curve of which the lowest and the highest value are drawn."""
SMOOTHED_SHARE = 25
"""The mean is taken over one in so many of a curve's values."""
LOG_FROM = 10.0
"""Highest over lowest value from which an axis is logarithmic."""
DOTTED = 40
"""Up to so many values of a curve each has a dot."""
MARKS = 250
"""Places along a chart at which skipped steps are told apart."""

CURVE_STYLE = """
.curve { min-width: 0; margin: 0 0 1rem; }
.curve figcaption { font-size: .875rem; margin: 0 0 .5rem; }
.curve figcaption b { color: var(--ink); font-weight: 600; }
.plot { display: grid; grid-template: 9rem auto auto / 3rem minmax(0, 1fr); padding-right: 1.2rem; font-size: .75rem;
  color: var(--soft); font-variant-numeric: tabular-nums; }
.tall .plot { grid-template-rows: 19rem auto auto; }
.up, .along { position: relative; }
.along { grid-column: 2; height: 1.3rem; }
.up span { position: absolute; right: .5rem; transform: translateY(50%); line-height: 1; }
.along span { position: absolute; top: .3rem; transform: translateX(-50%); line-height: 1; }
.unit { grid-column: 2; text-align: center; }
.plot svg { display: block; width: 100%; height: 100%; overflow: visible; }
.plot svg svg { overflow: hidden; }
.plot path { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round;
  vector-effect: non-scaling-stroke; }
.grid { stroke: var(--line); }
.frame { stroke: var(--soft); }
path.raw { stroke: var(--train); stroke-width: 1; opacity: .38; }
path.training { stroke: var(--train); }
path.validation { stroke: var(--validation); }
circle.training { fill: var(--train); }
circle.validation { fill: var(--validation); stroke: var(--ground); }
circle.best { fill: none; stroke: var(--ink); stroke-width: 2; }
.plot text { fill: var(--ink); font-size: .8rem; paint-order: stroke; stroke: var(--ground); stroke-width: 4px; }
line.skipped { stroke: var(--test); stroke-width: 2; }
.multiples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); gap: 1rem 1.5rem; }
.multiples .curve { display: flex; flex-direction: column; justify-content: flex-end; }
.legend .key { display: inline-block; }
.key.raw::before { background: var(--train); opacity: .38; height: .2em; vertical-align: middle; }
.key.training::before { background: var(--train); height: .25em; vertical-align: middle; }
.key.validation::before { border-radius: 50%; }
.key.best::before { border: 2px solid var(--ink); border-radius: 50%; vertical-align: -.1em; }
.key.skipped::before { background: var(--test); width: .2em; }
@media print { .multiples { grid-template-columns: repeat(3, 1fr); } .plot svg { print-color-adjust: exact; } }
"""


@dataclass(frozen=True)
class Series:
    """One curve. ``steps`` rise; ``values`` that are not finite are left out. ``style``: faint single values (``raw``,
    which may reach beyond the axes and are not read aloud), a line of training, or points of validation."""

    name: str
    steps: np.ndarray
    values: np.ndarray
    style: Literal["raw", "training", "validation"]

    def finite(self) -> "Series":
        """Without what is not finite."""
        kept = np.isfinite(self.values)
        return Series(self.name, self.steps[kept], self.values[kept], self.style)


@dataclass(frozen=True)
class Axis:
    """From ``low`` to ``high``; in a logarithm's place where ``log``."""

    low: float
    high: float
    log: bool = False

    def place(self, values: np.ndarray) -> np.ndarray:
        """0 at the low end, 1 at the high one; what cannot be on a logarithmic axis lies below it."""
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        raised = np.log(np.maximum(values, 1e-300))
        return (raised - math.log(self.low)) / (math.log(self.high) - math.log(self.low))

    def ticks(self, fewest: int, *, whole: bool = False) -> list[float]:
        """Round values along it, up to 2.5 times the fewest there should be; ``whole``: whole numbers only."""
        if self.log:
            return self._decades(5 * fewest // 2)
        widest = (self.high - self.low) / fewest
        power = 10.0 ** math.floor(math.log10(widest))
        step = max(power * factor for factor in (1, 2, 5) if power * factor <= widest * 1.001)
        step = max(step, 1.0) if whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _decades(self, most: int) -> list[float]:
        lowest, highest = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for factors, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 5), ((1,), 20)):
            ticks = [
                factor * 10.0**power for power in range(lowest, highest + 1) if power % every == 0 for factor in factors
            ]
            ticks = [tick for tick in ticks if self.low <= tick <= self.high]
            if len(ticks) <= most:
                break
        return ticks


def smoothed(name: str, steps: np.ndarray, values: np.ndarray) -> list[Series]:
    """Single values faint and their running mean over them, in which wild ones count for less; few as they are."""
    single = Series(name, steps, values, "training").finite()
    count = len(single.values)
    half = count // SMOOTHED_SHARE // 2
    if not half:
        return [single]
    sums = np.concatenate([[0.0], np.cumsum(np.clip(single.values, *_usual(single.values)))])
    first = np.maximum(np.arange(count) - half, 0)
    beyond = np.minimum(np.arange(count) + half + 1, count)
    mean = (sums[beyond] - sums[first]) / (beyond - first)
    return [Series(name, single.steps, single.values, "raw"), Series(name, single.steps, mean, "training")]


def thinned(steps: np.ndarray, values: np.ndarray, buckets: int = BUCKETS) -> tuple[np.ndarray, np.ndarray]:
    """At most two values of every bucket, the lowest and the highest, so that no spike is lost; both ends stay."""
    if len(values) <= 2 * buckets:
        return steps, values
    edges = np.linspace(0, len(values), buckets + 1).astype(int)
    kept = {0, len(values) - 1}
    for first, beyond in pairwise(edges.tolist()):
        kept |= {first + int(values[first:beyond].argmin()), first + int(values[first:beyond].argmax())}
    places = np.array(sorted(kept))
    return steps[places], values[places]


def value_axis(series: Sequence[Series], *, from_zero: bool = False) -> Axis:
    """An axis for all values but wild ones among the ``raw``; logarithmic from ``LOG_FROM`` on."""
    low, high = _bounds(series, log=False)
    if from_zero:
        return Axis(0.0, high * 1.08 if high > 0 else 1.0)
    if low > 0 and high / low > LOG_FROM:
        low, high = _bounds(series, log=True)
        room = (high / low) ** 0.06
        return Axis(low / room, high * room, log=True)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(low - room, high + room)


def _bounds(series: Sequence[Series], *, log: bool) -> tuple[float, float]:
    kept = []
    for own in series:
        values = own.values[own.values > 0] if log else own.values
        if own.style == "raw" and len(values):
            scale = np.log(values) if log else values
            low, high = _usual(scale)
            values = values[(scale >= low) & (scale <= high)]
        kept.append(values)
    together = np.concatenate(kept)
    return float(together.min()), float(together.max())


def _usual(values: np.ndarray) -> tuple[float, float]:
    """Beyond these bounds a value is wild: as far from the middle 98 percent as they are wide."""
    low, high = np.percentile(values, [1, 99])
    return float(low - (high - low)), float(high + (high - low))


def curve(
    title: str, unit: str, series: Sequence[Series], reach: int, *, best: tuple[int, float] | None = None,
    skipped: Sequence[int] = (), from_zero: bool = False, tall: bool = False,
) -> str:  # fmt: skip
    """A chart over steps 0 to ``reach``. ``unit``: of the values; ``best``: step and value with a ring around it."""
    series = [finite for own in series if len((finite := own.finite()).values)]
    if not series:
        return (
            f'<figure class="curve"><figcaption><b>{safe(title)}</b></figcaption><p class="note">no values yet</p>'
            "</figure>"
        )
    across, up = Axis(0.0, float(max(reach, 1))), value_axis(series, from_zero=from_zero)
    horizontal = [(tick, 100 * _at(up, tick)) for tick in up.ticks(4 if tall else 2)]
    vertical = [(tick, 100 * _at(across, tick)) for tick in across.ticks(3 if tall else 2, whole=True)]
    drawn = [f'<line class="grid" x1="0" x2="100%" y1="{100 - y:.2f}%" y2="{100 - y:.2f}%"/>' for _, y in horizontal]
    drawn += [f'<line class="grid" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="100%"/>' for _, x in vertical]
    drawn.append('<line class="frame" x1="0" x2="100%" y1="100%" y2="100%"/>')
    # The inner SVG alone is stretched, and cuts off what lies beyond the axes.
    paths = "".join(_path(own, across, up) for own in series)
    drawn.append(f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none">{paths}</svg>')
    places = sorted({round(_at(across, step) * MARKS) / MARKS for step in skipped})
    drawn += [f'<line class="skipped" x1="{x:.2%}" x2="{x:.2%}" y1="94%" y2="100%"/>' for x in places]
    drawn += [_dots(own, across, up) for own in series if own.style != "raw" and len(own.values) <= DOTTED]
    if best is not None:
        drawn.append(_ring(_at(across, best[0]), 1 - _at(up, best[1]), f"best {shown(best[1])}"))
    beyond = sum(int(((own.values < up.low) | (own.values > up.high)).sum()) for own in series)
    note = f"; {beyond:,} single values lie beyond the axis" if beyond else ""
    log = ", logarithmic" if up.log else ""
    return (
        f'<figure class="curve{" tall" if tall else ""}"><figcaption><b>{safe(title)}</b>, {safe(unit)}{log}{note}'
        '</figcaption><div class="plot"><div class="up" aria-hidden="true">'
        + "".join(f'<span style="bottom:{y:.2f}%">{_tick(tick)}</span>' for tick, y in horizontal)
        + f'</div><svg role="img" aria-label="{safe(_aloud(title, series, best), 600)}">{"".join(drawn)}</svg>'
        + '<div class="along" aria-hidden="true">'
        + "".join(f'<span style="left:{x:.2f}%">{_tick(tick)}</span>' for tick, x in vertical)
        + '</div><div class="unit" aria-hidden="true">step</div></div></figure>'
    )


def shown(value: float | None) -> str:
    """A measured value to three or four figures."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not finite"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2e}"


def _at(axis: Axis, value: float) -> float:
    return float(axis.place(np.array(float(value))))


def _path(own: Series, across: Axis, up: Axis) -> str:
    steps, values = thinned(own.steps, own.values)
    # Far beyond the axes is as good as just beyond: browsers keep coordinates in single precision.
    heights = 1000 - 1000 * np.clip(up.place(values), -1, 2)
    points = zip(1000 * across.place(steps), heights, strict=True)
    return f'<path class="{own.style}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'


def _dots(own: Series, across: Axis, up: Axis) -> str:
    places = zip(own.steps.tolist(), own.values.tolist(), across.place(own.steps), up.place(own.values), strict=True)
    return "".join(
        f'<circle class="{own.style}" cx="{x:.2%}" cy="{1 - y:.2%}" r="4">'
        f"<title>{safe(own.name)}, step {step:,}: {shown(value)}</title></circle>"
        for step, value, x, y in places
    )


def _ring(x: float, y: float, words: str) -> str:
    """A ring around a point with words beside it, on the side and height where there is room."""
    side = 'text-anchor="end" dx="-11"' if x > 0.5 else 'dx="11"'
    below = "-11" if y > 0.5 else "20"
    return (
        f'<circle class="best" cx="{x:.2%}" cy="{y:.2%}" r="8"/>'
        f'<text x="{x:.2%}" y="{y:.2%}" {side} dy="{below}">{words}</text>'
    )


def _aloud(title: str, series: Sequence[Series], best: tuple[int, float] | None) -> str:
    told = []
    for own in series:
        if own.style == "raw":
            continue
        lowest = int(own.values.argmin())
        told.append(
            f"{own.name} from {shown(float(own.values[0]))} at step {own.steps[0]:,} to "
            f"{shown(float(own.values[-1]))} at step {own.steps[-1]:,}, lowest {shown(float(own.values[lowest]))} at "
            f"step {own.steps[lowest]:,}"
        )
    if best is not None:
        told.append(f"kept as the best: {shown(best[1])} at step {best[0]:,}")
    return f"{title}: {'; '.join(told)}"


def _tick(value: float) -> str:
    """A round value in few letters: 0.5, 20k, 1.5M, 2e-5."""
    size = abs(value)
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= power * 0.9999:
            return f"{value / power:.6g}{letter}"
    if 0 < size < 1e-3:
        mantissa, _, power_of_ten = f"{value:.5e}".partition("e")
        return f"{float(mantissa):g}e{int(power_of_ten)}"
    return f"{value:.6g}"
