"""A data set as one HTML page to look at: what it holds, samples, leaks, what was left out.

The page carries everything in itself (styles, drawings, small pictures), loads nothing and runs nothing, so it opens
offline and may be passed on. Its size is bounded whatever the size of the data set, and the same data set gives the
same page.
"""

from pathlib import Path

from pydantic import ValidationError

from healthgpt.data.inspect_leaks import example_files, leak_section
from healthgpt.data.inspect_sections import (
    distributions,
    key_figures,
    left_out_section,
    mixture_section,
    oddities,
    samples,
    settings_words,
    source_table,
)
from healthgpt.data.inspect_style import STYLE
from healthgpt.data.leaks import LeakReport
from healthgpt.data.left_out import left_out
from healthgpt.data.page_parts import safe
from healthgpt.data.shards import load_manifest
from healthgpt.data.survey import survey
from healthgpt.errors import OutputError

SHOWN = 160
"""Records shown in all."""
SHOWN_OF_EACH = 4
"""Records shown of one source and task."""


def inspect_page(folder: Path, path: Path) -> int:
    """Write the page of the data set in ``folder`` to ``path``, whole; returns its size in bytes.

    ``DataError`` when there is no data set or a record cannot be read, ``OutputError`` when the page cannot be
    written.
    """
    manifest = None if (folder / "records.jsonl").is_file() else load_manifest(folder)
    report = _leak_report(folder)
    found = survey(folder, example_files(report))
    left = left_out(folder)
    images = sum(1 for one in (folder / "images").rglob("*") if one.is_file()) if manifest is None else manifest.images
    sections = [
        ("holds", "What it holds", distributions(found)),
        ("sources", "Sources and licences", source_table(found, manifest)),
        ("samples", "Samples", samples(found.shown(SHOWN, SHOWN_OF_EACH), len(found.candidates))),
        ("leaks", "Leaks and duplicates", leak_section(folder, report, found.wanted)),
        ("left-out", "What was left out", left_out_section(manifest, left)),
        ("oddities", "Oddities", oddities(manifest)),
    ]
    if manifest is not None and manifest.mixture:
        sections.append(("mixture", "Mixture", mixture_section(manifest)))
    top = settings_words(manifest) + key_figures(found, manifest, images, left)
    page = _page(folder.resolve().name, top, sections).encode("utf-8", "replace")
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(page)
        partial.replace(path)
    except OSError as fault:
        raise OutputError(
            f"cannot write {path}", found=str(fault.strerror), next_step="name another file with -o"
        ) from fault
    return len(page)


def _leak_report(folder: Path) -> LeakReport | None:
    try:
        return LeakReport.model_validate_json((folder / "leaks.json").read_bytes())
    except (OSError, ValidationError):
        return None


def _page(name: str, top: str, sections: list[tuple[str, str, str]]) -> str:
    links = "".join(f'<li><a href="#{anchor}">{safe(title)}</a></li>' for anchor, title, _ in sections)
    body = "\n".join(
        f'<section id="{anchor}" aria-labelledby="{anchor}-title"><h2 id="{anchor}-title">{safe(title)}</h2>\n'
        f"{content}\n</section>"
        for anchor, title, content in sections
    )
    # The policy forbids everything but the page's own style and pictures: no text of a data set can run or load.
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{safe(name)}: data set inspection</title>
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<p class="eyebrow">HealthGPT data set inspection</p>
<h1>{safe(name)}</h1>
<p class="warning" role="note"><strong>For research only.</strong> Not for diagnosis or treatment. Every source keeps
its own licence; the data set as a whole may be used only as the strictest of them allows.</p>
{top}
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main id="main">
{body}
</main>
<footer><p>Questions and answers are shown as they are in the records; long ones are cut, images are made small. Samples
are chosen by a hash of their id, not by hand. Written by <code>healthgpt data inspect</code>; research use only.</p>
</footer>
</body>
</html>
"""
