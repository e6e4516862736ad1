"""The leak and duplicate report as a section of the inspection page."""

from pathlib import Path

from healthgpt.data.leaks import Example, LeakReport, SharedPictures, SourceLeaks
from healthgpt.data.page_parts import SPLITS, number, picture, safe, share, table
from healthgpt.data.thumbnails import thumbnail

PAIRS_OF_EACH = 3
"""Pairs shown of one source (or two that share) and one kind of tie."""
PAIRS = 36
"""Pairs shown in all."""
WITHOUT_PICTURES = 12
"""Pairs named in all whose pictures are not at hand."""


def example_pairs(report: LeakReport | None) -> tuple[Example, ...]:
    """The pairs that the page is to show: a few of every kind of every source, leaks first."""
    if report is None:
        return ()
    chosen: list[Example] = []
    found: list[SourceLeaks | SharedPictures] = [*report.sources, *report.shared]
    for one in found:
        told: dict[str, int] = {}
        for example in one.examples:
            told[example.how] = told.get(example.how, 0) + 1
            if told[example.how] <= PAIRS_OF_EACH:
                chosen.append(example)
    return tuple(chosen[:PAIRS])


def example_files(report: LeakReport | None) -> frozenset[str]:
    """The files of those pairs, as records name them."""
    if report is None:
        return frozenset()
    names = {name for pair in example_pairs(report) for name in (pair.first, pair.second)}
    return frozenset(report.files[name] for name in names if name in report.files)


def leak_section(folder: Path, report: LeakReport | None, seen: dict[str, str | None]) -> str:
    """Sentences, figures by source and example pairs. ``seen``: small pictures met in records, by file."""
    if report is None:
        return "<p>There is no readable leak report (<code>leaks.json</code>) beside the records.</p>"
    parts = ["<ul>", *(f"<li>{safe(sentence, 600)}</li>" for sentence in report.sentences), "</ul>"]
    if not report.sentences:
        parts = ["<p>No picture occurs in two splits or two sources.</p>"]
    parts.append(
        f"<p>{number(report.images)} images were compared: by the bytes of their files, by a fingerprint (near when at "
        f"most {report.near_distance} of its 256 bits differ) and by patient or case. {number(report.flat_images)} "
        "have no fingerprint, as they are too flat or not at hand. The largest set of images that are tied to each "
        f"other, directly or through others, has {number(report.largest_component)}.</p>"
    )
    with_test = [one for one in report.sources if one.test_images]
    if with_test:
        parts.append(
            table(
                "Published test images that are also in training, of any source, as published",
                ["source", "test images", "exactly", "nearly", "by patient or case", "share",
                 "images if training gives way", "images if split afresh"],
                [
                    [safe(one.source), number(one.test_images), number(one.exactly), number(one.nearly),
                     number(one.by_group), share(one.leaked, one.test_images), _splits(one.without_leaks),
                     _splits(one.image_disjoint)]
                    for one in with_test
                ],
                numbers=7,
            )
        )  # fmt: skip
    if report.shared:
        parts.append(
            table(
                "Pictures that two sources have in common",
                ["source", "and", "exactly", "nearly"],
                [[safe(one.first), safe(one.second), number(one.exactly), number(one.nearly)] for one in report.shared],
                numbers=2,
            )
        )
    parts.append(_pairs(folder, report, seen))
    return "\n".join(parts)


def _splits(counts: dict[str, int]) -> str:
    names = sorted(counts, key=(*SPLITS, *sorted(counts)).index)
    return "<br>".join(f"{number(counts[name])} {safe(name)}" for name in names)


def _pairs(folder: Path, report: LeakReport, seen: dict[str, str | None]) -> str:
    shown, named = [], []
    for example in example_pairs(report):
        files = [report.files.get(name) for name in (example.first, example.second)]
        # A picture of no record (it is withheld) may still lie there as a file.
        small = [file and (seen.get(file) or thumbnail(folder, file)) for file in files]
        tie = example.how if example.distance is None else f"{example.how}, {example.distance} bits apart"
        if not any(small):
            named.append(f"<li>{safe(example.first, 120)} and {safe(example.second, 120)}: {safe(tie)}</li>")
            continue
        figures = "".join(
            picture(data or None, name, name, f"one of two tied pictures: {name}")
            for data, name in zip(small, (example.first, example.second), strict=True)
        )
        shown.append(f'<article class="card wide"><h4>{safe(tie)}</h4><div class="pair">{figures}</div></article>')
    told = []
    if shown:
        told.append(f'<h3>Some of these pairs</h3><div class="cards">{"".join(shown)}</div>')
    if named:
        told.append("<h3>Pairs whose pictures are not in this data set</h3><ul>")
        told += [*named[:WITHOUT_PICTURES], "</ul>"]
    return "\n".join(told)
