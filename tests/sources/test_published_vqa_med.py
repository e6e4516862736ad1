"""The three editions of VQA-Med as published.

The test questions of 2019 are real. Training and validation parts are built here as the READMEs of the editions and
the names in their archives describe them: github.com/abachaa/VQA-Med-2019, VQA-Med-2020, VQA-Med-2021.
"""

from collections import Counter
from pathlib import Path

import pytest
from published_rows import read_all

from healthgpt.sources import vqa_med, vqa_med_2020, vqa_med_2021
from healthgpt.sources.base import Source
from healthgpt.sources.entry import Question
from healthgpt.sources.imageclef import technique_of

REPEATED = "line left out: other files hold the same question"
SEVERAL = "several accepted answers, the first taken"
BY_CATEGORY = {
    "C1_Modality": "synpic1|what modality is shown?|mr - flair\nsynpic2|is this a ct scan?|no\n",
    "C2_Plane": "synpic1|what plane is this?|axial\nsynpic2|in what plane is this ultrasound?|transverse\n",
    "C3_Organ": "synpic1|what organ system is shown?|skull and contents\nsynpic3|what organ is this?|breast\n",
    "C4_Abnormality": "synpic1|what is abnormal in the mri?|fracture at t2\nsynpic3|is the x-ray normal?|no\n",
}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def yielded(source: Source, folder: Path) -> tuple[list[Question], list[str], Counter[str]]:
    entries, damaged, oddities = read_all(source, folder)
    return [entry for entry in entries if isinstance(entry, Question)], damaged, oddities


def test_real_test_questions_whole(packs: Path) -> None:
    folder = packs / "vqa_med_2019"
    found, damaged, oddities = yielded(vqa_med.SOURCE, folder)
    lines = (folder / "VQAMed2019Test" / "VQAMed2019_Test_Questions_w_Ref_Answers.txt").read_text().splitlines()
    told = [line.split("|") for line in lines]
    assert damaged == []
    assert len(found) == len(told) == 347
    for one, (image, category, question, answer) in zip(found, told, strict=True):
        assert one.images == (f"VQAMed2019Test/VQAMed2019_Test_Images/{image}.jpg",)
        assert (one.question, one.answer, one.split, one.group) == (question, answer.split("#")[0], "test", image)
        assert one.kind == {"organ": "region"}.get(category, category)
        # Where no file tells the category, the words of the question do.
        assert vqa_med.kind_of_question(question) == one.kind
    assert oddities == {SEVERAL: sum("#" in line for line in lines)} == {SEVERAL: 5}
    assert len({one.original_id for one in found}) == len(found)
    assert Counter(one.task for one in found) == {"other": 176, "ct": 72, "mri": 59, "x-ray": 29, "ultrasound": 11}


def test_2019_by_category_or_whole_but_never_both(tmp_path: Path) -> None:
    training, validation = tmp_path / vqa_med.TRAINING, tmp_path / vqa_med.VALIDATION
    for name, text in BY_CATEGORY.items():
        write(training / "QAPairsByCategory" / f"{name}_train.txt", text)
    whole = "".join(BY_CATEGORY.values())
    alone, damaged, oddities = yielded(vqa_med.SOURCE, tmp_path)
    assert (damaged, oddities, len(alone)) == ([], {}, 8)
    write(training / "All_QA_Pairs_train.txt", whole)
    write(validation / "All_QA_Pairs_val.txt", whole.replace("synpic", "synpic9"))
    write(validation / "QAPairsByCategory" / "C2_Plane_val.txt", BY_CATEGORY["C2_Plane"].replace("synpic", "synpic9"))
    found, damaged, oddities = yielded(vqa_med.SOURCE, tmp_path)
    assert damaged == []
    assert oddities == {REPEATED: 8 + 2}
    assert [one for one in found if one.split == "train"] == alone
    held_out = [one for one in found if one.split == "validation"]
    assert [(one.question, one.kind) for one in held_out] == [(one.question, one.kind) for one in alone]
    assert alone[0].images == ("ImageClef-2019-VQA-Med-Training/Train_images/synpic1.jpg",)
    assert held_out[0].images == ("ImageClef-2019-VQA-Med-Validation/Val_images/synpic91.jpg",)
    # One question tells the technique for all questions of its image.
    assert {one.group: one.task for one in alone} == {"synpic1": "mri", "synpic2": "ultrasound", "synpic3": "x-ray"}
    assert len({one.original_id for one in found}) == len(found)


def test_2020(tmp_path: Path) -> None:
    both = tmp_path / "VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets"
    training = both / "VQAMed2020-VQAnswering-TrainingSet"
    write(
        training / vqa_med_2020.TRAINING, "synpic1|is the mri normal?|yes\nsynpic2|what is abnormal in the ct scan?\n"
    )
    validation = both / "VQAMed2020-VQAnswering-ValidationSet"
    write(validation / vqa_med_2020.VALIDATION, "synpic3|what abnormality is seen in the image?|renal mass\n")
    test = tmp_path / "VQA-TestSet-ReferenceAnswers-VQAMed2020-Task1"
    write(test / vqa_med_2020.TEST, "synpic4|is this ultrasound normal?\nsynpic5|what is abnormal?\n|what?\n")
    write(test / vqa_med_2020.ANSWERS, "synpic4|no\n")
    found, damaged, oddities = yielded(vqa_med_2020.SOURCE, tmp_path)
    assert [(one.split, one.group, one.answer, one.task, one.kind) for one in found] == [
        ("train", "synpic1", "yes", "mri", "abnormality"),
        ("validation", "synpic3", "renal mass", "other", "abnormality"),
        ("test", "synpic4", "no", "ultrasound", "abnormality"),
    ]
    assert [one.images[0].removeprefix(f"{both.name}/") for one in found] == [
        f"{training.name}/VQAnswering_2020_Train_images/synpic1.jpg",
        f"{validation.name}/VQAnswering_2020_Val_images/synpic3.jpg",
        f"{test.name}/Task1-2020-VQAnswering-Test-Images/synpic4.jpg",
    ]
    assert [reason.split(" ", 1)[1] for reason in damaged] == [
        "2 cells where the table has 3 columns",
        "no reference answer",
        "no image",
    ]
    assert oddities == {}


def test_2021(tmp_path: Path) -> None:
    validation = tmp_path / "VQA-Med-2021-Tasks-1-2-NewValidationSets"
    write(validation / vqa_med_2021.VALIDATION, "synpic1|what is abnormal in the x-ray?|pneumothorax\n")
    test = tmp_path / "Task1-VQA-2021-TestSet-w-GroundTruth"
    write(test / vqa_med_2021.TEST, "synpic2|what is abnormal in the mri?\nsynpic3|what is abnormal in the ct scan?\n")
    # A word of the real answers: its apostrophe is the one of Windows-1252.
    lines = "synpic2|nodular sclerosing hodgkin’s lymphoma|an anterior mediastinal mass\nsynpic3|hiatal hernia\n"
    (test / vqa_med_2021.ANSWERS).write_bytes(lines.encode("cp1252"))
    found, damaged, oddities = yielded(vqa_med_2021.SOURCE, tmp_path)
    assert (damaged, oddities) == ([], {SEVERAL: 1})
    assert [(one.split, one.answer, one.task) for one in found] == [
        ("validation", "pneumothorax", "x-ray"),
        ("test", "nodular sclerosing hodgkin’s lymphoma", "mri"),
        ("test", "hiatal hernia", "ct"),
    ]
    assert found[0].images == (f"{validation.name}/ImageCLEF-2021-VQA-Med-New-Validation-Images/synpic1.jpg",)
    assert found[1].images == (f"{test.name}/VQA-500-Images/synpic2.jpg",)
    (test / "images" / "VQA-500-Images").mkdir(parents=True)
    again, _, _ = yielded(vqa_med_2021.SOURCE, tmp_path)
    assert again[1].images == (f"{test.name}/images/VQA-500-Images/synpic2.jpg",)


@pytest.mark.parametrize(
    ("question", "answer", "task"),
    [
        ("what imaging modality was used to take this image?", "CT with GI and IV contrast", "ct"),
        ("which image modality is this?", "mr - flair", "mri"),
        ("what type of imaging modality is shown?", "sbft - small bowel", "x-ray"),
        ("what kind of scan is this?", "an - angiogram", None),
        ("what kind of scan is this?", "mra - mr angiography/venography", "mri"),
        ("is this a ct scan?", "no", None),
        ("is this a ct scan?", "yes", "ct"),
        ("was the mri taken with contrast?", "no", "mri"),
        ("is this a contrast or noncontrast ct?", "noncontrast", "ct"),
        ("is this a t2 weighted image?", "no", None),
        ("is this an mri or a ct?", "mri", "mri"),
        ("is this an mri or a ct?", "", None),
        ("what is abnormal in the x-ray?", "fracture of t1", "x-ray"),
        ("what abnormality is seen in the image?", "mass at t2", None),
        ("what is most alarming about this nuclear medicine image?", "metastases", None),
        ("what is the plane of the mammograph?", "mammo - mlo", "x-ray"),
    ],
)
def test_technique(question: str, answer: str, task: str | None) -> None:
    assert technique_of(question, answer) == task
