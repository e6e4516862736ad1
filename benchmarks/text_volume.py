"""A large volume of text rows in the published layouts, made from the rows of real samples with other ids and words.

SLAKE, VQA-RAD, PathVQA and VQA-Med 2019 rows are real ones again and again; LLaVA-Med and PubMedVision arrays, of
which only the evaluation sample is at hand, are filled with its captions and answers. In every text one word in about
ten is another word of the same samples, so that answers and captions differ as much as they do in the originals.
"""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SHARES = {
    "llava_med_alignment": 0.30,
    "llava_med_instruct": 0.20,
    "pubmedvision_alignment": 0.20,
    "slake": 0.10,
    "path_vqa": 0.10,
    "vqa_rad": 0.06,
    "vqa_med_2019": 0.04,
}
"""Of all records, how many come from which layout."""
MODALITIES = ("Computed Tomography", "Magnetic Resonance Imaging", "Ultrasound", "Microscopy Images", "Others")
DOMAINS = ("chest_xray", "mri", "ct_scan", "histology", "gross")
EXCHANGES = 4
"""Questions of a LLaVA-Med conversation; the released 60k file has 3 to 5."""
OTHER_WORDS = 0.1

Write = Callable[[str], object]


class Volume:
    """Writes files below ``folder`` from the samples in ``packs``; the same seed writes the same bytes."""

    def __init__(self, packs: Path, folder: Path, seed: int = 0) -> None:
        self.packs, self.folder, self.random = packs, folder, random.Random(seed)
        evaluation = packs / "nc_llava_med" / "data" / "eval"
        captions = json.loads((evaluation / "llava_med_eval_qa50_fig_captions.json").read_text(encoding="utf-8"))
        self.captions = [figure["fig_caption"] for figures in captions.values() for figure in figures]
        lines = (evaluation / "llava_med_eval_qa50_qa.jsonl").read_text(encoding="utf-8").splitlines()
        asked = [json.loads(line) for line in lines]
        self.talks = [(row["text"], row["gpt4_answer"]) for row in asked if row["gpt4_answer"]]
        self.words = sorted({word for text in self.captions for word in text.split() if word.isalpha()})

    def write(self, records: int) -> dict[str, Path]:
        """Files for about ``records`` records; name of each source to its folder."""
        for source, share in SHARES.items():
            getattr(self, f"_{source}")(round(records * share))
        shared = {"llava_med_alignment": "llava_med", "llava_med_instruct": "llava_med"}
        return {source: self.folder / shared.get(source, source) for source in SHARES}

    def varied(self, text: str) -> str:
        """The text with other words here and there."""
        words = text.split(" ")
        for _ in range(1 + int(len(words) * OTHER_WORDS)):
            words[self.random.randrange(len(words))] = self.random.choice(self.words)
        return " ".join(words)

    def _array(self, path: Path, rows: Iterator[dict[str, Any]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as stream:
            for number, row in enumerate(rows):
                stream.write(("[" if number == 0 else ",\n") + json.dumps(row, ensure_ascii=False))
            stream.write("]\n")

    def _llava_med_alignment(self, count: int) -> None:
        path = self.folder / "llava_med" / "data" / "alignment" / "llava_med_alignment_500k.json"
        self._array(path, (self._llava_med_row(number, [("Describe the image.\n<image>", self.varied(
            self.random.choice(self.captions)))], "conversatons") for number in range(count)))  # fmt: skip

    def _llava_med_instruct(self, count: int) -> None:
        path = self.folder / "llava_med" / "data" / "instruct" / "llava_med_instruct_60k_inline_mention.json"
        rows = (
            self._llava_med_row(10_000_000 + number, [
                (self.varied(question), self.varied(answer))
                for question, answer in self.random.choices(self.talks, k=EXCHANGES)
            ], "conversatons")
            for number in range(count // EXCHANGES)
        )  # fmt: skip
        self._array(path, rows)

    def _llava_med_row(self, number: int, talk: list[tuple[str, str]], key: str) -> dict[str, Any]:
        domain = self.random.choice(DOMAINS)
        figure = f"{20_000_000 + number // 3}_F{number % 3 + 1}"
        return {
            "id": figure, "image": f"{figure}.jpg", "domain": {name: name == domain for name in DOMAINS},
            key: _turns(talk),
        }  # fmt: skip

    def _pubmedvision_alignment(self, count: int) -> None:
        rows = (
            {
                "image": [f"images/pmc_{number // 2}_{number % 2}.jpg"], "id": f"align_{number}",
                "conversations": _turns([(self.varied("Please describe this picture."), self.varied(
                    " ".join(answer for _, answer in self.random.choices(self.talks, k=2))))]),
                "modality": self.random.choice(MODALITIES), "body_part": "Chest",
            }
            for number in range(count)
        )  # fmt: skip
        self._array(self.folder / "pubmedvision_alignment" / "PubMedVision_Alignment_VQA.json", rows)

    def _slake(self, count: int) -> None:
        rows = _loaded(self.packs / "slake" / "Slake1.0" / "train.json")
        english = [row for row in rows if row["q_lang"] == "en"]
        made = (
            english[number % len(english)]
            | {"qid": number, "img_name": f"xmlab{number // 8}/source.jpg"}
            | {"question": self.varied(english[number % len(english)]["question"])}
            for number in range(count)
        )
        self._array(self.folder / "slake" / "Slake1.0" / "train.json", made)

    def _vqa_rad(self, count: int) -> None:
        rows = _loaded(self.packs / "vqa_rad" / "VQA_RAD Dataset Public.json")
        # A row yields its question and, two times of three, the one made from its frame.
        made = (
            rows[number % len(rows)]
            | {
                "qid": number,
                "image_name": f"synpic{number // 7}.jpg",
                "image_case_url": f"https://e.org/{number // 7}",
            }
            | {"question": self.varied(str(rows[number % len(rows)]["question"]))}
            for number in range(round(count * 0.62))
        )
        self._array(self.folder / "vqa_rad" / "VQA_RAD Dataset Public.json", made)

    def _path_vqa(self, count: int) -> None:
        rows = [row for row in _loaded(self.packs / "path_vqa" / "lxmert" / "pvqa_train.json") if row["sentf"]["pvqa"]]

        def made() -> Iterator[dict[str, Any]]:
            left, number = count, 0
            while left > 0:
                row = rows[number % len(rows)]
                questions = [self.varied(question) for question in row["sentf"]["pvqa"]]
                yield row | {"img_id": f"train_{number:06d}", "sentf": {"pvqa": questions}}
                left, number = left - len(questions), number + 1

        self._array(self.folder / "path_vqa" / "lxmert" / "pvqa_train.json", made())

    def _vqa_med_2019(self, count: int) -> None:
        sample = self.packs / "vqa_med_2019" / "VQAMed2019Test" / "VQAMed2019_Test_Questions_w_Ref_Answers.txt"
        lines = [line.split("|") for line in sample.read_text(encoding="utf-8").splitlines()]
        path = self.folder / "vqa_med_2019" / "ImageClef-2019-VQA-Med-Training" / "All_QA_Pairs_train.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as stream:
            for number in range(count):
                _, _, question, answer = lines[number % len(lines)]
                stream.write(f"synpic{number // 4}|{self.varied(question)}|{answer}\n")


def _turns(talk: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [
        {"from": speaker, "value": text}
        for exchange in talk
        for speaker, text in zip(("human", "gpt"), exchange, strict=True)
    ]


def _loaded(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))
