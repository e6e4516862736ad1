"""Question text for language-model pre-training: English only, training files only, the pickle never opened."""

import json
from pathlib import Path

import pytest

from healthgpt.errors import DataError
from healthgpt.sources import path_vqa, slake, vqa_med


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_slake_is_english_and_training_only(tmp_path: Path) -> None:
    folder = tmp_path / "slake" / "Slake1.0"
    entries = [
        {"question": "Which organ is  abnormal?", "answer": "Liver ", "q_lang": "en"},
        {"question": "哪个器官?", "answer": "肝脏", "q_lang": "zh"},
        {"question": "Is it empty?", "answer": "", "q_lang": "en"},
    ]
    write(folder / "train.json", json.dumps(entries))
    write(folder / "test.json", "not even read")
    assert list(slake.text_pairs(tmp_path)) == [("Which organ is abnormal?", "liver")]
    write(folder / "train.json", '[{"question": "x"}]')
    with pytest.raises(DataError, match=r"train\.json"):
        list(slake.text_pairs(tmp_path))


def test_path_vqa_pairs_by_position_and_leaves_the_pickle_closed(tmp_path: Path) -> None:
    folder = tmp_path / "path_vqa"
    opened = tmp_path / "opened"
    # A pickle that makes a folder when loaded: (os.mkdir, (opened,)) called by REDUCE.
    (folder / "qas" / "train").mkdir(parents=True)
    (folder / "qas" / "train" / "train_qa.pkl").write_bytes(f"cos\nmkdir\n(V{opened}\ntR.".encode())
    entries = [
        {"img_id": "a", "labelf": {"pvqa": [{"Yes": 1}, {"gram": 1}]}, "sentf": {"pvqa": ["Is it?", "What stain?"]}},
        {"img_id": "b", "labelf": {"pvqa": []}, "sentf": {"pvqa": []}},
    ]
    write(folder / "lxmert" / "pvqa_train.json", json.dumps(entries))
    assert list(path_vqa.text_pairs(tmp_path)) == [("Is it?", "yes"), ("What stain?", "gram")]
    assert not opened.exists()
    entries[1]["sentf"] = {"pvqa": ["one question too many?"]}
    write(folder / "lxmert" / "pvqa_train.json", json.dumps(entries))
    with pytest.raises(DataError, match="pvqa_train"):
        list(path_vqa.text_pairs(tmp_path))


def test_vqa_med_takes_the_first_answer_and_skips_vqa_rad_images(tmp_path: Path) -> None:
    path = tmp_path / "vqa_med_2019" / "VQAMed2019Test" / "VQAMed2019_Test_Questions_w_Ref_Answers.txt"
    write(path, "synpic1|organ|What organ?|Lung, pleura#Spine\nsynpic47964|modality|What modality?|mri\n")
    assert list(vqa_med.text_pairs(tmp_path)) == [("What organ?", "lung, pleura")]
    write(path, "synpic1|What organ?\n")
    with pytest.raises(DataError, match="line 1"):
        list(vqa_med.text_pairs(tmp_path))


def test_real_packs(packs: Path) -> None:
    counts = {}
    for source in (slake.SOURCE, path_vqa.SOURCE, vqa_med.SOURCE):
        assert source.text_pairs is not None
        pairs = list(source.text_pairs(packs))
        assert all(question and answer and answer == answer.lower() for question, answer in pairs)
        assert not [question for question, _ in pairs if any("\u4e00" <= letter <= "\u9fff" for letter in question)]
        counts[source.name] = len(pairs)
    assert counts == {"slake": 4918, "path_vqa": 4900, "vqa_med_2019": 345}


def test_no_shared_image_between_vqa_med_and_vqa_rad(packs: Path) -> None:
    lines = (packs / "vqa_med_2019" / "VQAMed2019Test" / "VQAMed2019_Test_Questions.txt").read_text().splitlines()
    asked = {line.split("|")[0] for line in lines}
    held = {path.stem for path in (packs / "vqa_rad" / "VQA_RAD Image Folder").glob("*.jpg")}
    assert asked & held == vqa_med.ALSO_IN_VQA_RAD
