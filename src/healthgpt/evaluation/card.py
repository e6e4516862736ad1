"""The model card: the measured figures as a page, written beside the weights they were measured on."""

from pathlib import Path
from typing import Any

INTRODUCTION = """\
# {name}: HealthGPT in miniature

**Research use only. Not a medical device.** It was trained for a few hours on two CPU cores, mostly on simulated
images. Its answers and drawings are often wrong, and everything it draws is synthetic.

- **What it is.** A {size:.1f} MB model with every part of HealthGPT: a CLIP-style vision tower with hierarchical
  features, a small Llama as frozen backbone, one H-LoRA plugin for reading and one for drawing, one fusion
  embedding and head for words and codes, and an f8 VQGAN codec (128 px, 16 x 16 codes). Half-precision safetensors.
- **Trained on** VL-Phantom (this project's simulated cases, training seeds) and on the training parts of: {packs}.
- **Reproduced by** `healthgpt train nano --packs FOLDER`; the recipe is `recipes/nano.yaml`.
- **Measured by** `healthgpt evaluate nano --packs FOLDER` on {machine}; all figures are in
  `benchmarks/results/nano.json`.
- **Licence.** Weights Apache-2.0; the training images keep their own licences, named above.

*Majority* answers with the most frequent training answer to the same words (or kind of question); *blind* is the
model without the image. Held-out simulated cases come from test seeds; held-out real items from each data set's test
part. Where a real data set is a single patient, its test part is other slices of that patient.
"""


def _rows(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _reading_row(name: str, scores: dict[str, Any]) -> list[str]:
    ways = ("model", "blind", "majority")
    closed = [str(scores[way]["closed_accuracy"]) for way in ways] if scores["model"]["closed_questions"] else ["-"] * 3
    opened = [str(scores[way]["open_exact_match"]) for way in ways] if scores["model"]["open_questions"] else ["-"] * 3
    counts = f"{scores['model']['closed_questions']} + {scores['model']['open_questions']}"
    return [name, counts, *closed, *opened]


def reading_table(scores: dict[str, Any], groups: str) -> str:
    """Closed accuracy and open exact match, all and by a grouping (``by_modality``, ``by_kind``, ``by_source``)."""
    header = ["questions", "closed + open", "closed", "blind", "majority", "open", "blind", "majority"]
    rows = [_reading_row("**all**", scores["all"])]
    rows += [_reading_row(name, part) for name, part in scores[groups].items()]
    return _rows(header, rows)


BASELINES = ("model", "codec_ceiling", "copying_the_input", "bicubic", "another_image")


def drawing_table(scores: dict[str, Any]) -> str:
    """SSIM (percent) / PSNR (dB) of every task beside its baselines."""
    rows = []
    for task, part in scores.items():
        cells = [f"{part[way]['ssim']:.1f} / {part[way]['psnr']:.1f}" if way in part else "-" for way in BASELINES]
        rows.append([task, str(part["images"]), *cells])
    return _rows(["task", "images", "nano", "codec's ceiling", "copying the input", "bicubic", "another image"], rows)


def findings_table(findings: dict[str, dict[str, float]]) -> str:
    """Agreement of drawn X-rays with their reports through the reader, percent."""
    rows = [
        [
            name.replace("_", " "),
            *(f"{findings[way][name]:.1f}" for way in ("model", "shuffled_reports", "reader_on_truth")),
        ]
        for name in findings["model"]
    ]
    return _rows(["finding", "nano's drawing", "shuffled reports", "reader on the true image"], rows)


def headline(figures: dict[str, Any]) -> str:
    """The figures in short, each beside what no skill would give; the README shows exactly this."""
    rows = []
    for group, title in (("phantom", "simulated"), ("real", "real")):
        part = figures[group]
        if "reading" not in part:
            continue
        ways = part["reading"]["all"]
        for key, name in (("closed_accuracy", "choices answered right"), ("open_exact_match", "open answers right")):
            values = {way: f"{ways[way][key]:.0f} %" for way in ("model", "blind", "majority")}
            rows.append(
                [
                    f"{title}: {name}",
                    values["model"],
                    f"{values['blind']} blind, {values['majority']} majority",
                    "100 %",
                ]
            )
        for task, scores in part["drawing"].items():
            plain = "bicubic" if "bicubic" in scores else "copying_the_input"
            words = plain.replace("_", " ") if task != "reconstruct" else ""
            name = words if words and plain in scores else "another image"
            other = scores[plain] if name == words else scores["another_image"]
            cells = [
                f"{one['ssim']:.0f} / {one['psnr']:.1f} dB" for one in (scores["model"], other, scores["codec_ceiling"])
            ]
            rows.append([f"{title}: {task}, SSIM / PSNR", cells[0], f"{cells[1]} {name}", cells[2]])
        findings = part["drawing"].get("report-to-cxr", {}).get("findings")
        if findings:
            shown = {way: f"{findings[way]['mean']:.0f} %" for way in findings}
            shuffled = f"{shown['shuffled_reports']} shuffled"
            rows.append(
                [f"{title}: findings of the report in the X-ray", shown["model"], shuffled, shown["reader_on_truth"]]
            )
    return _rows(["held out", "nano", "without skill", "the most possible"], rows)


def write_card(path: Path, figures: dict[str, Any], packs: list[str], size_mb: float) -> None:
    """Write the card of a measured model; whole or not at all."""
    parts = [
        INTRODUCTION.format(
            name=figures["model"], size=size_mb, packs=", ".join(packs) or "nothing else", machine=figures["machine"]
        )
    ]
    for name, title in (("phantom", "Held-out VL-Phantom"), ("real", "Held-out real items")):
        part = figures[name]
        if "skipped" in part:
            parts.append(f"## {title}\n\nNot measured: {part['skipped']}.\n")
            continue
        parts.append(f"## {title}: reading (percent right)\n")
        parts.append(reading_table(part["reading"], "by_modality" if name == "phantom" else "by_source"))
        if name == "phantom":
            parts.append(reading_table(part["reading"], "by_kind"))
        parts.append(f"## {title}: drawing (SSIM percent / PSNR dB)\n")
        parts.append(drawing_table(part["drawing"]))
        report = part["drawing"].get("report-to-cxr", {})
        if "findings" in report:
            parts.append("Does the drawn X-ray show what its report says? Percent of images, measured from pixels:\n")
            parts.append(findings_table(report["findings"]))
    if "cost" in figures:
        cost = figures["cost"]
        parts.append(
            "## Cost on CPU\n\n"
            f"Loading {cost['load_seconds']:.1f} s, a short answer {cost['ask_seconds']:.2f} s, one image "
            f"{cost['generate_seconds']:.1f} s, peak memory {cost['peak_memory_mib']:.0f} MiB "
            f"(medians of 5, {figures['machine']}).\n"
        )
    partial = path.with_name(path.name + ".partial")
    partial.write_text("\n".join(parts), encoding="utf-8")
    partial.replace(path)
