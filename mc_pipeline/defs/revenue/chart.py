"""Draws amounts by month as bars: an SVG picture inside Markdown, which Dagster's pages show as it is."""

import base64
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

COLOURS = ("#c3cad5", "#5b6b82", "#f2b705")

_WIDTH, _HEIGHT = 1000, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 10, 40, 34
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_LINES = 4


def month_chart(title: str, months: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> str:
    """Return Markdown with one group of bars per month; ``series`` are up to three, named as in the legend.

    Bars of amounts below zero hang below the line of zero.
    """
    picture = _drawing(months, series, unit)
    encoded = base64.b64encode(picture.encode()).decode()
    return f"![{title}](data:image/svg+xml;base64,{encoded})"


def _drawing(months: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> str:
    amounts = [amount for values in series.values() for amount in values]
    step = _round_step(max([*amounts, 0.0]) - min([*amounts, 0.0]))
    lowest = _rounded_down(min([*amounts, 0.0]), step)
    highest = max(-_rounded_down(-max([*amounts, 0.0]), step), lowest + step)
    height = _HEIGHT - _TOP - _BOTTOM

    def y(amount: float) -> float:
        return _TOP + height * (highest - amount) / (highest - lowest)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        *_legend(series, unit),
    ]
    for line in range(round((highest - lowest) / step) + 1):
        amount = lowest + line * step
        colour = "#7a7a7a" if abs(amount) < step / 2 else "#e3e3e3"
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(amount):.1f}" y2="{y(amount):.1f}" '
            f'stroke="{colour}"/><text x="{_LEFT - 8}" y="{y(amount) + 4:.1f}" text-anchor="end" '
            f'fill="#444444">{_shown(amount, step)}</text>'
        )
    group = (_WIDTH - _LEFT - _RIGHT) / max(len(months), 1)
    width = min(group * 0.8 / len(series), 40.0)
    every = -(-len(months) // 14)
    for position, month in enumerate(months):
        middle = _LEFT + group * (position + 0.5)
        for index, (name, values) in enumerate(series.items()):
            top, bottom = sorted((y(values[position]), y(0.0)))
            x = middle + width * (index - len(series) / 2)
            parts.append(
                f'<rect x="{x:.1f}" y="{top:.1f}" width="{width * 0.92:.1f}" height="{bottom - top:.1f}" '
                f'fill="{COLOURS[index]}"><title>{escape(f"{month}: {name} {values[position]:,.2f} {unit}")}'
                "</title></rect>"
            )
        if (len(months) - 1 - position) % every == 0:
            parts.append(
                f'<text x="{middle:.1f}" y="{_HEIGHT - 12}" text-anchor="middle" fill="#444444">'
                f"{escape(month)}</text>"
            )
    return "".join([*parts, "</svg>"])


def _legend(series: Mapping[str, Sequence[float]], unit: str) -> list[str]:
    parts, x = [], _LEFT
    for colour, name in zip(COLOURS, series, strict=False):
        parts.append(
            f'<rect x="{x}" y="12" width="12" height="12" fill="{colour}"/>'
            f'<text x="{x + 18}" y="22" fill="#222222">{escape(name)}</text>'
        )
        x += 34 + 7 * len(name)
    unit_text = f'<text x="{_WIDTH - _RIGHT}" y="22" text-anchor="end" fill="#444444">{escape(unit)}</text>'
    return [*parts, unit_text]


def _round_step(span: float) -> float:
    """Return a round distance between lines that gives a handful of them."""
    if span <= 0:
        return 1.0
    rough = span / _LINES
    power = 10.0 ** (len(f"{int(rough)}") - 1 if rough >= 1 else -2)
    return next((factor * power for factor in _STEPS if factor * power >= rough), 10.0 * power)


def _rounded_down(amount: float, step: float) -> float:
    return (amount // step) * step


def _shown(amount: float, step: float) -> str:
    return f"{amount + 0.0:,.{0 if step >= 1 else 2}f}"
