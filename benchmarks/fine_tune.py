"""Fine-tuning nano on a folder of 100 real images with a CSV: how long it takes, and what is answered before and after.

.venv/bin/python benchmarks/fine_tune.py --packs FOLDER      writes benchmarks/results/fine_tune.json

The images are chest films of covid-chestxray-dataset (pack ``nc_covid_cxr_notes``), which nano was never trained on;
the questions are made from its table. The recipe is the bundled ``nano-finetune-comprehension``, the run
``healthgpt train`` as a user starts it. Patients are divided by the build: 70 % to learn from, 20 % held out. Beside
the model stands the most frequent training answer to the same question, which has not looked.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import RESULTS, machine

from healthgpt.data.shards import records_of
from healthgpt.evaluation.answers import Majority, normalised

PACK = "nc_covid_cxr_notes"
IMAGES = 100
RECIPE = "nano-finetune-comprehension"
LONGEST = 600.0
"""Seconds asked for."""
VIEWS = {"PA": "from behind", "AP": "from the front", "AP Supine": "lying", "L": "from the side"}


def write_export(pack: Path, folder: Path) -> int:
    """A hospital's export: 100 images and questions.csv; returns how many questions."""
    with (pack / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if (pack / row["folder"] / row["filename"]).is_file()][:IMAGES]
    (folder / "images").mkdir(parents=True)
    questions = 0
    with (folder / "questions.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "question", "answer", "patient", "modality"])
        for row in rows:
            image = f"images/{row['filename']}"
            (folder / image).write_bytes((pack / row["folder"] / row["filename"]).read_bytes())
            asked = [("How was this film taken?", VIEWS.get(row["view"]))]
            asked += [("Is this a lateral film?", "yes" if row["view"] == "L" else "no")]
            asked += [("Is the patient a man or a woman?", {"M": "man", "F": "woman"}.get(row["sex"]))]
            asked += [("Which disease was found?", row["finding"].split(",")[0] or None)]
            for question, answer in asked:
                if answer is not None:
                    writer.writerow([image, question, answer, row["patientid"], "x-ray"])
                    questions += 1
    return questions


def majority(folder: Path) -> float:
    """Share of held-out questions that the most frequent training answer gets right."""
    guess = Majority(list(records_of(folder, "train")))
    held_out = list(records_of(folder, "test"))
    hits = [normalised(record.response) == guess.answer(record) for record in held_out]
    return sum(hits) / len(hits)


def measure(packs: Path) -> dict[str, Any]:
    """One run of the command line, and the figures it leaves."""
    with tempfile.TemporaryDirectory() as place:
        export, run = Path(place) / "export", Path(place) / "run"
        questions = write_export(packs / PACK, export)
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "healthgpt.cli.main", "train", RECIPE, "--data", str(export), "--output", str(run)],
            check=True,
        )
        seconds = time.perf_counter() - started
        before, after = (json.loads(line) for line in (run / "held_out.jsonl").read_text().splitlines())
        data = json.loads((run / "data.json").read_text())
        steps = json.loads((run / "journal.jsonl").read_text().splitlines()[-1])["steps"]
        return {
            "images": IMAGES, "questions": questions, "recipe": RECIPE, "steps": steps,
            "seconds in all": round(seconds, 1), "at most": LONGEST,
            "records": {split: sum(found["records"].values()) for split, found in data.items()},
            "held out": {
                "answers right before": before["tasks"]["x-ray"]["right"],
                "answers right after": after["tasks"]["x-ray"]["right"],
                "most frequent training answer": round(majority(run / "data" / "0"), 3),
                "loss before": round(before["loss"], 3), "loss after": round(after["loss"], 3),
                "weights of step": after["step"],
            },
            "machine": machine(),
        }  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=Path, required=True, help="folder of real data packs")
    figures = measure(parser.parse_args().packs)
    text = json.dumps(figures, indent=2)
    (RESULTS / "fine_tune.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
