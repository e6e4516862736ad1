"""Pieces of an HTML page: text made safe, tables, bars. Every text of a data set goes through ``safe``."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

SPLITS = ("train", "validation", "test")
BAR_ROWS = 40
"""Values of a chart told apart; the rest are one row."""


def safe(text: object, longest: int = 400) -> str:
    """Text as HTML shows it letter for letter, cut where it is too long for a page."""
    words = str(text)
    return escape(words if len(words) <= longest else words[: longest - 1] + "…", quote=True)


def number(count: int) -> str:
    """1234 as 1,234."""
    return f"{count:,}"


def share(count: int, whole: int) -> str:
    """A percentage that never reads 0 or 100 where it is not."""
    if not whole:
        return "–"
    if count in (0, whole):
        return "100 %" if count else "0 %"
    percent = 100 * count / whole
    if percent < 0.1:
        return "&lt; 0.1 %"
    if percent > 99.9:
        return "&gt; 99.9 %"
    return f"{percent:.1f} %"


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A table of cells that are HTML already; the last ``numbers`` columns are right-aligned."""
    first_number = len(header) - numbers

    def cells(row: Sequence[str]) -> str:
        told = []
        for place, cell in enumerate(row):
            of_number = ' class="n"' if place >= first_number else ""
            told.append(f'<th scope="row"{of_number}>{cell}</th>' if place == 0 else f"<td{of_number}>{cell}</td>")
        return f"<tr>{''.join(told)}</tr>"

    head = "".join(
        f'<th scope="col"{" class=n" if place >= first_number else ""}>{safe(name)}</th>'
        for place, name in enumerate(header)
    )
    body = "\n".join(cells(row) for row in rows)
    # Wide tables scroll on their own; with a keyboard only what can have the focus scrolls.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{safe(caption)}"><table>'
        f"<caption>{safe(caption)}</caption><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def bars(
    caption: str, counts: dict[str, Counter[str]], order: Sequence[str] | None = None, what: str = "records"
) -> str:
    """Counts by value and split as one bar a value, longest first or in ``order``; drawn as SVG inside a table."""
    keys = (
        [key for key in order if key in counts]
        if order
        else sorted(counts, key=lambda key: (-counts[key].total(), key))
    )
    shown = [(key, counts[key]) for key in keys[:BAR_ROWS]]
    if keys[BAR_ROWS:]:
        rest = Counter[str]()
        for key in keys[BAR_ROWS:]:
            rest.update(counts[key])
        shown.append((f"{len(keys) - BAR_ROWS:,} others", rest))
    longest = max((own.total() for _, own in shown), default=1)
    whole = sum(own.total() for _, own in shown)
    rows = [
        f'<tr><th scope="row">{safe(key, 80)}</th><td class="draw">{_bar(own, longest)}</td>'
        f'<td class="n">{number(own.total())}</td><td class="n">{share(own.total(), whole)}</td></tr>'
        for key, own in shown
    ]
    head = f'<tr class="hidden"><th scope="col">value</th><th scope="col">by split</th><th scope="col">{what}</th>'
    return (
        f'<table class="bars"><caption>{safe(caption)}</caption><thead>{head}<th scope="col">share</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _bar(own: Counter[str], longest: int) -> str:
    told = ", ".join(f"{number(own[split])} {split}" for split in SPLITS if own[split])
    pieces, start = [], 0.0
    for split in SPLITS:
        width = 1000 * own[split] / longest
        if width:
            # What is there is seen: no piece is thinner than three thousandths of the chart.
            pieces.append(f'<rect class="{split}" x="{start:.1f}" y="0" width="{max(width, 3):.1f}" height="10"/>')
            start += width
    return (
        f'<svg viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="{told}"><title>{told}</title>'
        f"{''.join(pieces)}</svg>"
    )


def legend() -> str:
    """Which colour is which split."""
    return '<p class="legend">' + " ".join(f'<span class="key {split}">{split}</span>' for split in SPLITS) + "</p>"


def picture(data: str | None, name: str, caption: str, alternative: str) -> str:
    """A figure, or a box that says that the image cannot be shown."""
    shown = (
        f'<img src="{data}" alt="{safe(alternative, 200)}" loading="lazy">'
        if data
        else f'<div class="missing">image not at hand<br><small>{safe(name, 90)}</small></div>'
    )
    return f"<figure>{shown}<figcaption>{safe(caption, 120)}</figcaption></figure>"


def cut(count: int, shown: int, what: str) -> str:
    """A note that a list was cut; empty where it was not."""
    return f'<p class="more">and {number(count - shown)} more {what}</p>' if count > shown else ""
