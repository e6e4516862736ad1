"""The report of a training run: one HTML page that carries everything in itself, loads nothing and runs nothing.

It is made from the files of the run alone, so that it can be written at any time, also while the run goes on, and the
same files give the same page. Its size is bounded however long the run was.
"""

from pathlib import Path

import numpy as np

from healthgpt.data.inspect_style import STYLE
from healthgpt.data.page_parts import number, safe, share
from healthgpt.errors import OutputError
from healthgpt.training.report.curves import CURVE_STYLE, shown
from healthgpt.training.report.files import RunFiles, read_run_files
from healthgpt.training.report.sections import (
    LONGEST_WORDS,
    course_section,
    data_section,
    duration,
    events_section,
    groups_section,
    held_out_section,
    loss_section,
    measured,
    origin_section,
    recipe_section,
    samples_section,
    steps_words,
    tasks_section,
    validation_section,
)
from healthgpt.training.stages import STAGES

REPORT = "report.html"

REPORT_STYLE = """
.status progress { width: 100%; max-width: 30rem; height: .8rem; accent-color: var(--accent); display: block;
  margin: 0 0 1rem; }
.figures small { font-size: .875rem; font-weight: 400; color: var(--soft); }
.figures .two { grid-column: span 2; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(7rem, 1fr)); }
.card dd { white-space: normal; }
.card .verdict { font-weight: 600; white-space: nowrap; }
.wrong { color: var(--test); }
.scroll tbody th { min-width: 6.5rem; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .9rem; overflow-x: auto;
  font-size: .8rem; line-height: 1.4; }
@media print { pre { white-space: pre-wrap; } }
"""


def write_report(run: Path) -> Path:
    """Write ``RUN/report.html`` whole or not at all; returns its path.

    ``RecipeError`` when there is no run, ``OutputError`` when the page cannot be written.
    """
    page = _page(read_run_files(run)).encode("utf-8", "replace")
    path = run / REPORT
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(page)
        partial.replace(path)
    except OSError as fault:
        partial.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}", found=str(fault.strerror)) from fault
    return path


def _page(files: RunFiles) -> str:
    recipe = files.provenance.recipe
    sections = [
        ("loss", "Loss", loss_section(files)),
        ("tasks", "Loss by task", tasks_section(files)),
        ("course", "Learning rate, gradient and speed", course_section(files)),
        ("validation", "Validation", validation_section(files)),
        ("held-out", "Held out", held_out_section(files)),
        ("samples", "Samples", samples_section(files)),
        ("trains", "What trains", groups_section(files)),
        ("data", "Data", data_section(files)),
        ("events", "Events", events_section(files)),
        ("recipe", "Recipe", recipe_section(files)),
        ("origin", "Versions, hardware and fingerprints", origin_section(files)),
    ]
    links = "".join(f'<li><a href="#{anchor}">{title}</a></li>' for anchor, title, _ in sections)
    body = "\n".join(
        f'<section id="{anchor}" aria-labelledby="{anchor}-title"><h2 id="{anchor}-title">{title}</h2>\n{content}\n'
        "</section>"
        for anchor, title, content in sections
    )
    about = f"<p>{safe(recipe.about, LONGEST_WORDS)}</p>" if recipe.about else ""
    # The policy forbids everything but the page's own style and pictures: no text of the run's data can run or load.
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{safe(recipe.name)}: training report</title>
<style>{STYLE}{CURVE_STYLE}{REPORT_STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<p class="eyebrow">HealthGPT training report</p>
<h1>{safe(recipe.name)}</h1>
<p>Variant <b>{safe(recipe.variant)}</b>, stage <b>{recipe.stage}</b>: {safe(STAGES[recipe.stage].title)}.</p>
{about}
{_status(files)}
<p class="warning" role="note"><strong>Research use only.</strong> Not for diagnosis or treatment. Images marked
synthetic are drawn by the model and are no patient's pictures.</p>
{_key_figures(files)}
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main id="main">
{body}
</main>
<footer><p>Written by HealthGPT from the files of the run; research use only. Questions and answers are shown as they
are; long ones are cut, images are made small.</p></footer>
</body>
</html>
"""


def _status(files: RunFiles) -> str:
    """Whether the run is finished, or how far it is."""
    if files.finished:
        return f'<p class="status"><strong>Finished</strong> after {steps_words(files.reached)}.</p>'
    planned = files.planned
    whole = "a number of steps not yet known" if planned is None else steps_words(planned)
    if not files.reached:
        return f'<p class="status"><strong>Not finished:</strong> no step is logged yet, of {whole}.</p>'
    told = f"<strong>Not finished:</strong> at step {number(files.reached)} of {whole}"
    if planned is None:
        return f'<p class="status">{told}.</p>'
    seconds = files.journal.last("seconds")
    left = (
        "" if not seconds else f"; at this pace {duration(seconds / files.reached * (planned - files.reached))} to go"
    )
    return (
        f'<div class="status"><p>{told} ({share(files.reached, planned)}){left}.</p>'
        f'<progress max="{planned}" value="{files.reached}" aria-label="steps made"></progress></div>'
    )


def _key_figures(files: RunFiles) -> str:
    journal, planned = files.journal, files.planned
    of = f" <small>of {number(planned)}</small>" if planned is not None and not files.finished else ""
    figures = [("steps", number(files.reached) + of)]
    epochs, seconds = journal.last("epoch"), journal.last("seconds")
    if epochs is not None:
        figures.append(("epochs", f"{epochs:.2f}"))
    if files.validations:
        first, last, best = files.validations[0], files.validations[-1], files.best
        if best is not None:
            figures.append((f"best validation loss, at step {number(best.step)}", shown(best.loss)))
        figures.append((f"last validation loss, at step {number(last.step)}", shown(last.loss)))
        for measure, words in (("right", "answers right"), ("ssim", "SSIM of drawings")):
            before, after = first.mean(measure), last.mean(measure)
            if after is not None:
                start = f"{measured(measure, before)} → " if before is not None and first.step != last.step else ""
                when = "before → after" if first.step == 0 else f"step {number(first.step)} → {number(last.step)}"
                figures.append((f"{words}, {when}" if start else words, start + measured(measure, after)))
    if len(files.held_out) > 1:
        ends = (files.held_out[0], files.held_out[-1])
        for measure, words in (("loss", "held-out loss"), ("right", "held-out answers right")):
            values = [one.loss if measure == "loss" else one.mean(measure) for one in ends]
            if all(value is not None for value in values):
                told = " → ".join(measured(measure, value) for value in values)
                figures.append((f"{words}, before → after", told))
    if seconds is not None:
        figures.append(("training time", duration(seconds)))
    if len(speed := journal.finite("tokens_per_second")):
        figures.append(("tokens per second, median", number(round(float(np.median(speed))))))
    if len(memory := journal.finite("memory_gb")):
        figures.append(("peak memory", f"{memory.max():.3g} <small>GB</small>"))
    if files.skipped:
        figures.append(("skipped steps", number(len(files.skipped))))
    told = "".join(
        f"<div{' class=two' if '→' in value else ''}><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures
    )
    return f'<dl class="figures">{told}</dl>'
