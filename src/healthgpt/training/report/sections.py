"""The sections of a training report: curves, tables, samples, data, events, recipe and origin."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml

from healthgpt.data.page_parts import bars, cut, number, picture, safe, share, table
from healthgpt.data.thumbnails import thumbnail
from healthgpt.tasks import TASKS
from healthgpt.training.report.curves import Series, curve, shown, smoothed
from healthgpt.training.report.files import RunFiles, Sample, Sampled, Validation, is_finite

SAMPLES_SHOWN = 6
"""Of each task."""
LINES_SHOWN = 20
"""Of the journal, as a table."""
EVENTS_SHOWN = 100
LONGEST_WORDS = 900
"""Characters of a question or answer that are shown."""

MEASURES = (
    "Loss is in nats per response token; right is the share of answers that match exactly; SSIM compares drawings with "
    "their targets."
)


def loss_section(files: RunFiles) -> str:
    """Training and validation loss over all tasks, the best validation and skipped steps marked."""
    journal, taken, best = files.journal, _taken(files), files.best
    if not len(journal.steps) and not files.validations:
        return "<p>Nothing is logged yet.</p>"
    series = [*smoothed("training", journal.steps[taken], journal.columns["loss"][taken]), _validated(files)]
    chart = curve(
        "Loss", "nats per response token", series, _reach(files), skipped=files.skipped, tall=True,
        best=(best.step, best.loss) if best is not None and best.loss is not None and is_finite(best.loss) else None,
    )  # fmt: skip
    keys = [("raw", "training, single steps")] if len(series) == 3 else []
    keys += [("training", "training, running mean" if keys else "training"), ("validation", "validation")]
    keys += [("best", "best validation")] if best is not None else []
    keys += [("skipped", "skipped step")] if files.skipped else []
    legend = "".join(f'<span class="key {style}">{words}</span> ' for style, words in keys)
    notes = []
    if files.skipped:
        count = len(files.skipped)
        notes.append(f"{count:,} skipped step{'s are' if count > 1 else ' is'} marked at the bottom and left out.")
    if files.provenance.recipe.optimisation.average is not None:
        notes.append("Validated are the averaged weights.")
    told = f"<p>{' '.join(notes)}</p>" if notes else ""
    return f'<p class="legend">{legend}</p>{chart}{told}{_lines(files)}'


def _lines(files: RunFiles) -> str:
    """Some lines of the journal as a table: the curves for those who do not see them."""
    journal, count = files.journal, len(files.journal.steps)
    if not count:
        return ""
    places = sorted(set(np.linspace(0, count - 1, min(count, LINES_SHOWN)).round().astype(int).tolist()))
    columns = ("loss", "gradient_norm", "learning_rate", "tokens_per_second", "memory_gb")
    rows = [
        [number(int(journal.steps[place])), *(_cell(journal.columns[name][place]) for name in columns),
         duration(float(journal.columns["seconds"][place]))]
        for place in places
    ]  # fmt: skip
    header = ["step", "loss", "gradient norm", "learning rate", "tokens per second", "memory, GB", "time"]
    caption = f"Training, {len(places):,} of {count:,} logged steps"
    return f"<details><summary>Training in numbers</summary>{table(caption, header, rows, numbers=6)}</details>"


def tasks_section(files: RunFiles) -> str:
    """A small chart for each task."""
    trained, taken = files.journal.tasks, _taken(files)
    names = _in_order({*trained, *(name for one in files.validations for name in one.tasks)})
    if not names:
        return "<p>No loss by task yet.</p>"
    charts = []
    for name in names:
        series = smoothed("training", files.journal.steps[taken], trained[name][taken])[-1:] if name in trained else []
        series.append(_validated(files, name))
        charts.append(curve(_title(name), "nats per response token", series, _reach(files)))
    return (
        '<p class="legend"><span class="key training">training</span> '
        '<span class="key validation">validation</span></p>'
        "<p>Each chart has a scale of its own; of many steps the running mean is shown.</p>"
        f'<div class="multiples">{"".join(charts)}</div>'
    )


def course_section(files: RunFiles) -> str:
    """Learning rate, gradient norm and tokens per second."""
    journal, reach, taken = files.journal, _reach(files), _taken(files)
    if not len(journal.steps):
        return "<p>Nothing is logged yet.</p>"
    rate = Series("learning rate", journal.steps, journal.columns["learning_rate"], "training")
    charts = [
        curve("Learning rate", "of the first group", [rate], reach, from_zero=True),
        curve("Gradient norm", f"before clipping at {files.provenance.recipe.optimisation.clip:g}",
              smoothed("gradient norm", journal.steps[taken], journal.columns["gradient_norm"][taken]), reach),
        curve("Speed", "tokens per second", smoothed("speed", journal.steps, journal.columns["tokens_per_second"]),
              reach, from_zero=True),
    ]  # fmt: skip
    return f'<div class="multiples">{"".join(charts)}</div>'


def validation_section(files: RunFiles) -> str:
    """Every task at the first, the best and the last validation."""
    if not files.validations:
        return "<p>No validation yet.</p>"
    first, last = files.validations[0], files.validations[-1]
    moments: list[tuple[str, Validation]] = [("first", first)]
    if last.step != first.step:
        moments += [("best", files.best)] if files.best is not None else []
        moments += [("last", last)]
    at = "; ".join(
        f"{moment}: step {one.step:,}{', before training' if one.step == 0 else ''}" for moment, one in moments
    )
    return f"<p>{at.capitalize()}. {MEASURES}</p>" + _by_task("Validation by task", moments)


def held_out_section(files: RunFiles) -> str:
    """The test split before training and after."""
    if not files.held_out:
        return "<p>Not measured: the data has no test records, or the run has only begun.</p>"
    moments = [("before", files.held_out[0])]
    moments += [("after", files.held_out[-1])] if len(files.held_out) > 1 else []
    return (
        f"<p>Records of the test split, by which nothing is chosen. {MEASURES}</p>"
        + _by_task("Test split by task", moments)
    )  # fmt: skip


def _by_task(caption: str, moments: list[tuple[str, Validation]]) -> str:
    """Every task's figures at these moments."""
    measures = ["loss", *(m for m in ("right", "ssim") if any(one.mean(m) is not None for _, one in moments))]
    words = {"loss": "loss", "right": "right", "ssim": "SSIM"}
    names = _in_order({name for _, one in moments for name in one.tasks})
    rows = []
    for name in names:
        own = [one.tasks.get(name) for _, one in moments]
        counts = [one.rows for one in own if one is not None]
        cells = [measured(m, getattr(one, m) if one is not None else None) for m in measures for one in own]
        rows.append([safe(_title(name)), number(counts[-1]), *cells])
    if len(names) > 1:
        cells = [measured(m, one.loss if m == "loss" else one.mean(m)) for m in measures for _, one in moments]
        rows.append(["<b>all</b>", number(sum(one.rows for one in moments[-1][1].tasks.values())), *cells])
    header = ["task", "rows", *(f"{words[m]}, {moment}" for m in measures for moment, _ in moments)]
    return table(caption, header, rows, numbers=len(header) - 1)


def samples_section(files: RunFiles) -> str:
    """The same records at the first and the last validation, side by side."""
    if not files.sampled:
        return "<p>No samples yet.</p>"
    by_record = [{(one.task, one.record): one for one in moment.samples} for moment in files.sampled]
    keys = list(dict.fromkeys(key for own in reversed(by_record) for key in own))
    parts = ["<p>Records of the validation split. Drawn images are synthetic.</p>"]
    for task in _in_order({task for task, _ in keys}):
        chosen = [key for key in keys if key[0] == task]
        cards = [
            _card(files.folder / "samples", [
                (moment, own.get(key)) for moment, own in zip(files.sampled, by_record, strict=True)
            ])
            for key in chosen[:SAMPLES_SHOWN]
        ]  # fmt: skip
        parts.append(f'<h3>{safe(_title(task))}</h3><div class="cards">{"".join(cards)}</div>')
        parts.append(cut(len(chosen), SAMPLES_SHOWN, "samples in the folder of the run"))
    return "\n".join(parts)


def _card(folder: Path, moments: list[tuple[Sampled, Sample | None]]) -> str:
    known = next(one for _, one in reversed(moments) if one is not None)
    figures, terms = [], []
    for name, words in ((known.image, "input" if known.target or known.drawn else "image"), (known.target, "target")):
        if name is not None:
            figures.append(picture(thumbnail(folder, name), name, words, f"{words} of {known.record}"))
    if known.instruction:
        terms.append(("Instruction", safe(known.instruction, LONGEST_WORDS)))
    if known.reference:
        terms.append(("Reference", safe(known.reference, LONGEST_WORDS)))
    for moment, own in moments:
        when = "before training" if moment.step == 0 else f"after step {moment.step:,}"
        if own is None:
            terms.append((when.capitalize(), '<span class="note">not sampled</span>'))
        elif own.drawn is not None:
            fit = f", SSIM {measured('ssim', own.ssim)}" if own.ssim is not None else ""
            words = f"synthetic, drawn {when}{fit}"
            figures.append(picture(thumbnail(folder, own.drawn), own.drawn, words, f"{words}, of {known.record}"))
        elif own.answer is not None:
            verdict = {True: ' <span class="right verdict">✓ right</span>',
                       False: ' <span class="wrong verdict">✗ wrong</span>', None: ""}[own.right]  # fmt: skip
            terms.append((when.capitalize(), (safe(own.answer, LONGEST_WORDS) or "(nothing)") + verdict))
    pictures = f'<div class="pair">{"".join(figures)}</div>' if figures else '<p class="note">no image</p>'
    told = "".join(f"<dt>{term}</dt><dd>{words}</dd>" for term, words in terms)
    return (
        f'<article class="card{" wide" if len(figures) > 1 else ""}">{pictures}<dl>{told}</dl>'
        f'<p class="note">{safe(known.record, 160)}</p></article>'
    )


def groups_section(files: RunFiles) -> str:
    """Which parameters train and at what rate, and how many are frozen."""
    if not files.groups:
        return "<p>Not written yet.</p>"
    whole = sum(one.parameters for one in files.groups)
    rows = [
        [safe(one.group), number(one.tensors), number(one.parameters), share(one.parameters, whole),
         "–" if one.learning_rate is None or one.group == "frozen" else f"{one.learning_rate:.3g}",
         "–" if one.dropout is None or one.group == "frozen" else f"{one.dropout:.3g}"]
        for one in files.groups
    ]  # fmt: skip
    header = ["group", "tensors", "parameters", "share", "learning rate", "dropout"]
    return table("Parameters by group", header, rows, numbers=5)


def data_section(files: RunFiles) -> str:
    """What the survey of the data found."""
    if not files.found:
        return "<p>Not written yet.</p>"
    measures = (
        ("rows", "rows"), ("records", "records in them"), ("tokens", "tokens"), ("learned", "of them learned from"),
        ("quarantined", "records quarantined: an image cannot be used"), ("cut", "responses cut to fit"),
    )  # fmt: skip
    counts = {
        split: {**own.model_dump(exclude={"records"}), "records": sum(own.records.values())}
        for split, own in files.found.items()
    }
    rows = [[words, *(number(own[name]) for own in counts.values())] for name, words in measures]
    by_task = {
        _title(task): Counter({split: own.records.get(task, 0) for split, own in files.found.items()})
        for task in _in_order({task for own in files.found.values() for task in own.records})
    }
    keys = "".join(f'<span class="key {split}">{split}</span>' for split in files.found)
    return (
        table("Data of the run by split", ["what", *counts], rows, numbers=len(counts))
        + f'<p class="legend">{keys}</p><div class="charts"><div>{bars("Records by task", by_task)}</div></div>'
    )


def events_section(files: RunFiles) -> str:
    """What happened beside ordinary steps: counted by kind, and the latest one by one."""
    if not files.events:
        return "<p>None.</p>"
    kinds = Counter(one.what for one in files.events)
    rows = []
    for what, count in kinds.most_common(LINES_SHOWN):
        own = [one for one in files.events if one.what == what]
        rows.append([safe(what), number(count), number(own[0].step), number(own[-1].step)])
    each = [[number(one.step), safe(one.what), safe(one.why or "–")] for one in files.events[-EVENTS_SHOWN:]]
    caption = "All events" if len(each) == len(files.events) else f"The last {EVENTS_SHOWN} events"
    return (
        table("Events by kind", ["what", "times", "first at step", "last at step"], rows, numbers=3)
        + cut(len(kinds), LINES_SHOWN, "kinds")
        + f"<details open><summary>One by one</summary>{table(caption, ['step', 'what', 'why'], each)}</details>"
    )


def recipe_section(files: RunFiles) -> str:
    """The recipe as a file that could be run again."""
    settings = files.provenance.recipe.model_dump(mode="json")
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100)
    return (
        "<p>All settings, defaults filled in.</p>"
        f'<pre tabindex="0" role="region" aria-label="recipe as YAML">{safe(text, 50_000)}</pre>'
    )


def origin_section(files: RunFiles) -> str:
    """What must be the same for the run to be made again."""
    own = files.provenance
    prints = [
        ("run (recipe, data and start)", own.fingerprint), ("data", own.data), ("starting weights", own.start),
        ("started from", own.started_from),
    ]  # fmt: skip
    hardware = [*own.hardware.items(), ("processes", str(own.processes))]
    return "\n".join(
        table(caption, header, [[safe(name), f"<code>{safe(value)}</code>"] for name, value in rows])
        for caption, header, rows in (
            ("Fingerprints", ["of", "what"], prints),
            ("Versions when the run began", ["package", "version"], own.versions.items()),
            ("Hardware when the run began", ["part", "what"], hardware),
        )
    )


def _taken(files: RunFiles) -> np.ndarray:
    """Which logged steps the guard did not skip."""
    return ~np.isin(files.journal.steps, files.skipped)


def _validated(files: RunFiles, task: str | None = None) -> Series:
    """Validation loss, of all or of one task."""
    losses = [
        one.loss if task is None else own.loss if (own := one.tasks.get(task)) is not None else None
        for one in files.validations
    ]
    steps = np.array([one.step for one in files.validations], dtype=np.int64)
    return Series("validation", steps, np.array(losses, dtype=float), "validation")


def _reach(files: RunFiles) -> int:
    """The last step there is something to show of."""
    return max([files.reached, *(one.step for one in files.validations), *files.skipped])


def _in_order(tasks: Iterable[str]) -> list[str]:
    """As the task table has them, unknown ones at the end."""
    order = {name: place for place, name in enumerate(TASKS)}
    return sorted(tasks, key=lambda name: (order.get(name, len(order)), name))


def _title(task: str) -> str:
    title = TASKS[task].title if task in TASKS else task
    return title[:1].upper() + title[1:]


def steps_words(count: int) -> str:
    """1 as 1 step, 2000 as 2,000 steps."""
    return f"{count:,} step{'s' * (count != 1)}"


def _cell(value: float) -> str:
    return shown(float(value)) if np.isfinite(value) else "–"


def measured(name: str, value: float | None) -> str:
    """A validation's number: loss in nats, ``right`` as a share, ``ssim`` in percent."""
    if value is None or not is_finite(value):
        return shown(value)
    return {"loss": shown(value), "right": f"{100 * value:.1f} %", "ssim": f"{value:.1f} %"}[name]


def duration(seconds: float) -> str:
    """3725 as 1 h 2 min."""
    if not is_finite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
