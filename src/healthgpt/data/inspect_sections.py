"""The sections of the inspection page: key figures, distributions, sources, samples, what was left out."""

from collections import Counter
from typing import Any

from healthgpt.data.card import SPLIT_WORDS
from healthgpt.data.left_out import LeftOut
from healthgpt.data.page_parts import SPLITS, bars, cut, legend, number, picture, safe, share, table
from healthgpt.data.shards import Manifest
from healthgpt.data.survey import BIN_NAMES, Shown, Survey
from healthgpt.record import Record
from healthgpt.sources.catalog import SOURCES
from healthgpt.tasks import TASKS

REASONS_SHOWN = 40
OPTIONS_SHOWN = 10
LONGEST_WORDS = 900
"""Characters of a question or answer that are shown."""


def key_figures(found: Survey, manifest: Manifest | None, images: int, left: LeftOut) -> str:
    """The figures at the top."""
    figures = [("records", found.splits.total())]
    figures += [(split, found.splits[split]) for split in SPLITS if found.splits[split]]
    figures += [("sources", len(found.sources)), ("tasks", len(found.tasks)), ("images", images)]
    if manifest is not None:
        quarantined = sum(own.get("quarantined", 0) for own in manifest.sources.values())
        figures += [("quarantined rows", quarantined), ("withheld records", left.withheld)]
        figures += [(reason, count) for reason, count in manifest.left_out.items() if reason != "withheld" and count]
    told = "".join(f"<div><dt>{safe(name)}</dt><dd>{number(count)}</dd></div>" for name, count in figures)
    return f'<dl class="figures">{told}</dl>'


def settings_words(manifest: Manifest | None) -> str:
    """How the set was built, in a sentence or two."""
    if manifest is None:
        return "<p>This folder holds records as lines, without a manifest.</p>"
    settings = manifest.settings
    policy = str(settings.get("splits"))
    images = "embedded in the records" if settings.get("images") == "embed" else "files beside the records"
    words_only = settings.get("words_only") or []
    told = (
        f"<p>Splits: <b>{safe(policy)}</b> ({safe(SPLIT_WORDS.get(policy, 'unknown'))}). Images: {images}. "
        f"Seed {safe(settings.get('seed'))}; share of questions offered as single choice: "
        f"{safe(settings.get('choice_share'))}."
    )
    if words_only:
        told += f" Words alone, without their images: {safe(', '.join(map(str, words_only)))}."
    return told + "</p>"


def distributions(found: Survey) -> str:
    """Bars by modality, task, source, type, form and length."""
    titles = {name: f"{task.title} ({'reading' if task.family == 'comprehension' else 'drawing'})"
              for name, task in TASKS.items()}  # fmt: skip
    tasks = {titles[name]: own for name, own in found.tasks.items()}
    modalities = {
        {"same": "same as the input"}.get(name, TASKS[name].title if name in TASKS else name): own
        for name, own in found.modalities.items()
    }
    forms = ("open question", "single choice", "to describe", "to draw")
    charts = [
        bars("By modality: of the image read, or of the image drawn", modalities),
        bars("By task", tasks),
        bars("By source", found.sources),
        bars("By form: how a record asks", found.forms, forms),
        bars("By question type", found.kinds),
        bars("Length of the instruction, in words (with options)", found.lengths["instruction"], BIN_NAMES),
        bars("Length of the response, in words", found.lengths["response"], BIN_NAMES, "responses"),
    ]
    return legend() + '<div class="charts">' + "\n".join(f"<div>{chart}</div>" for chart in charts) + "</div>"


def source_table(found: Survey, manifest: Manifest | None) -> str:
    """Every source with its licence and what became of its rows."""
    rows = []
    names = list(manifest.sources) if manifest is not None else []
    for name in [*names, *sorted(found.sources.keys() - set(names))]:
        own: dict[str, Any] = manifest.sources.get(name, {}) if manifest is not None else {}
        known = SOURCES.get(name)
        records = found.sources.get(name, Counter())
        rows.append(
            [safe(name), safe(known.title if known else "not in the catalogue"),
             safe(found.licences.get(name) or (known.licence if known else "unknown")),
             number(own["rows"]) if "rows" in own else "–",
             *(number(records[split]) for split in SPLITS), number(own.get("quarantined", 0))]
        )  # fmt: skip
    header = ["source", "what", "licence", "rows read", *SPLITS, "quarantined"]
    return table("Sources, their licences and what became of their rows", header, rows, numbers=5)


def samples(shown: dict[tuple[str, str], list[Shown]], pairs: int) -> str:
    """Cards of a few records of each source and task."""
    told, source = [], ""
    for (name, task), records in shown.items():
        if name != source:
            told.append(f"<h3>{safe(name)}</h3>")
            source = name
        told.append(f"<h4>{safe(TASKS[task].title)}</h4>")
        told.append(f'<div class="cards">{"".join(_card(one) for one in records)}</div>')
    return "\n".join(told) + cut(pairs, len(shown), "pairs of source and task are not shown")


def _card(one: Shown) -> str:
    record, origin = one.record, one.record.provenance
    title = TASKS[record.task].title
    figures = []
    for name, label in ((record.image, "input" if record.target_image else "image"), (record.target_image, "target")):
        if name is not None:
            figures.append(picture(one.pictures.get(name), name, label, f"{label} of {record.id}, {title}"))
    pictures = f'<div class="pair">{"".join(figures)}</div>' if figures else '<p class="note">no image</p>'
    question = record.instruction.partition(" Options: A. ")[0] if record.options else record.instruction
    words = [("Instruction", safe(question, LONGEST_WORDS))]
    if record.options:
        words.append(("Options", _options(record)))
    if record.response:
        words.append(("Response", safe(record.response, LONGEST_WORDS)))
    origins = [
        ("Id", safe(record.id, 160)),
        ("Group", safe(origin.group, 160)),
        ("Published split", safe(origin.published_split or "none")),
        ("Image-disjoint split", safe(origin.disjoint_split or "none")),
        ("Done to it", safe("; ".join(origin.transforms) or "nothing")),
    ]
    told = record.split + (f", {record.kind}" if record.kind else "")
    return (
        f'<article class="card{" wide" if len(figures) > 1 else ""}">{pictures}{_described(words)}'
        f"<details><summary>{safe(told, 80)}</summary>{_described(origins)}</details>"
        f'<p class="licence">{safe(origin.source)}: {safe(origin.licence, 200)}</p></article>'
    )


def _options(record: Record) -> str:
    rows = [
        f'<li class="right">{safe(option)} <small>(answer)</small></li>'
        if option == record.response
        else f"<li>{safe(option)}</li>"
        for option in record.options[:OPTIONS_SHOWN]
    ]
    return f"<ol>{''.join(rows)}</ol>"


def _described(terms: list[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{term}</dt><dd>{words}</dd>" for term, words in terms) + "</dl>"


def left_out_section(manifest: Manifest | None, left: LeftOut) -> str:
    """Quarantined rows by reason, dropped rows, withheld records."""
    parts = []
    reasons = sorted(left.reasons.items(), key=lambda item: (-item[1], item[0]))
    if reasons:
        rows = []
        for (source, reason), count in reasons[:REASONS_SHOWN]:
            places = "<br>".join(safe(place, 90) for place in left.places.get((source, reason), []))
            rows.append([safe(source), safe(reason), places, number(count)])
        parts.append(table("Quarantined rows by reason", ["source", "reason", "file, line", "rows"], rows, numbers=1))
        parts.append(cut(len(reasons), REASONS_SHOWN, "reasons"))
    else:
        parts.append("<p>No row was quarantined.</p>")
    if manifest is not None:
        dropped = [
            [safe(name), safe(reason), number(count)]
            for name, own in manifest.sources.items()
            for reason, count in own.get("dropped", {}).items()
        ]
        if dropped:
            parts.append(table("Rows that are sound and not used", ["source", "why", "rows"], dropped, numbers=1))
        rows = [[safe(reason), number(count)] for reason, count in manifest.left_out.items() if count]
        if rows:
            parts.append(table("Made into records and left out of the set", ["why", "records"], rows, numbers=1))
    if left.withheld:
        some = ", ".join(f"<code>{safe(one, 90)}</code>" for one in left.withheld_ids)
        parts.append(
            f"<p>{number(left.withheld)} {'record is' if left.withheld == 1 else 'records are'} withheld for sharing "
            f"an image, a patient or a near-duplicate with held-out records, {some} among them. "
            "<code>withheld.jsonl</code> lists all.</p>"
        )
    return "\n".join(parts)


def oddities(manifest: Manifest | None) -> str:
    """What was read although it is not as one would expect."""
    rows = [
        [safe(name), safe(oddity), number(count), share(count, own.get("rows", 0))]
        for name, own in (manifest.sources.items() if manifest is not None else ())
        for oddity, count in sorted(own.get("oddities", {}).items(), key=lambda item: (-item[1], item[0]))
    ]
    if not rows:
        return "<p>None were noticed.</p>"
    header = ["source", "oddity", "times", "share of its rows"]
    return table("Oddities of the original files, read and counted", header, rows, numbers=2)


def mixture_section(manifest: Manifest) -> str:
    """What a mixture wanted of training records and what was found."""
    rows = [
        [safe(", ".join(part["sources"])), safe(", ".join([*part["tasks"], *part["kinds"]]) or "all"),
         "all" if part["wanted"] is None else number(part["wanted"]), number(part["found"]), number(part["taken"]),
         _short(part)]
        for part in manifest.mixture["parts"]
    ]  # fmt: skip
    header = ["sources", "of them", "wanted", "found", "taken", "missing"]
    return table(
        f"Training records of the mixture {manifest.mixture['name']}, wanted and found", header, rows, numbers=4
    )


def _short(part: dict[str, Any]) -> str:
    missing = (part["wanted"] or 0) - part["taken"]
    return f"<b>{number(missing)}</b>" if missing > 0 else "–"
