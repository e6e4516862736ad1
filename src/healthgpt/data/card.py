"""The data card: what a data set holds, on what terms and with what faults, as its README.md (Hugging Face's form)."""

from collections.abc import Iterable

from healthgpt.data.leaks import LeakReport
from healthgpt.data.shards import Manifest
from healthgpt.sources.catalog import SOURCES

SPLIT_WORDS = {
    "clean": "as published; training records that share an image, a patient or a near-duplicate with held-out records "
    "are withheld",
    "published": "as published, also where training and test share images",
    "disjoint": "drawn afresh by groups of linked images",
}


def data_card(manifest: Manifest, leaks: LeakReport) -> str:
    """The card as Markdown, with the header by which the datasets library finds the splits."""
    splits: list[str] = [split for split in ("train", "validation", "test") if split in manifest.counts]
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split in splits:
        lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    lines += ["---", "", "# VL-Health, built from the original downloads", ""]
    lines += [
        "**For research only. Not for diagnosis or treatment.** Every source keeps its own licence; the data set as a "
        "whole may be used only as the strictest of them allows.",
        "",
        f"Splits: {SPLIT_WORDS[manifest.settings['splits']]}. Each record also names its published and an "
        "image-disjoint split.",
        "",
    ]
    totals = {split: sum(manifest.counts[split].values()) for split in splits}
    lines += _table(["split", "records"], [[split, f"{total:,}"] for split, total in totals.items()])
    lines += ["## Sources", ""]
    rows = []
    for name, own in manifest.sources.items():
        source = SOURCES[name]
        of_source = [part[key] for part in manifest.counts.values() for key in part if key.startswith(f"{name}/")]
        rows.append(
            [name, source.title, source.licence, f"{own['rows']:,}", f"{sum(of_source):,}", f"{own['quarantined']:,}"]
        )
    lines += _table(["source", "what", "licence", "rows read", "records", "quarantined"], rows)
    lines += ["## Tasks", ""]
    tasks: dict[str, dict[str, int]] = {}
    for split, part in manifest.counts.items():
        for key, count in part.items():
            own_task = tasks.setdefault(key.partition("/")[2], {})
            own_task[split] = own_task.get(split, 0) + count
    lines += _table(
        ["task", *splits],
        [[task, *(f"{row.get(split, 0):,}" for split in splits)] for task, row in sorted(tasks.items())],
    )
    lines += ["## What was left out, and what was odd", ""]
    lines += [f"- {reason}: {count:,}" for reason, count in manifest.left_out.items()]
    for name, own in manifest.sources.items():
        for label in ("dropped", "oddities"):
            lines += [f"- {name}: {reason}: {count:,}" for reason, count in own[label].items()]
    lines += ["", "Malformed rows, with file, line and reason, are in `quarantine.jsonl`.", ""]
    lines += ["## Leaks and duplicates", ""]
    lines += [f"- {sentence}" for sentence in leaks.sentences] or ["No image occurs in two splits or two sources."]
    lines += [""]
    if manifest.mixture:
        lines += [f"## Mixture: {manifest.mixture['name']}", ""]
        parts = [
            [", ".join(part["sources"]), ", ".join(part["tasks"] + part["kinds"]) or "all",
             "all" if part["wanted"] is None else f"{part['wanted']:,}", f"{part['found']:,}", f"{part['taken']:,}"]
            for part in manifest.mixture["parts"]
        ]  # fmt: skip
        lines += _table(["sources", "of them", "wanted", "found", "taken"], parts)
    lines += ["## Loading", "", "```python", "from datasets import load_dataset", "", 'data = load_dataset("FOLDER")']
    lines += ["```", ""]
    if manifest.settings["images"] == "files":
        lines += ["`image` and `target_image` are files below this folder.", ""]
    return "\n".join(lines)


def _table(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    cells = [header, ["---"] * len(header), *rows]
    return [*("| " + " | ".join(row) + " |" for row in cells), ""]
