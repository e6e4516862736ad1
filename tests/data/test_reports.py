"""Reports in the layouts they are published in become sections, and sections become what a picture shows."""

import csv
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthgpt.data.normalise import clean_text
from healthgpt.data.report_priors import without_advice, without_priors
from healthgpt.data.report_sentences import sentences, spoken_aside, unmasked
from healthgpt.data.reports import PROMPT_WORDS, Report, clean_report, prompt_of_report, report_of_sections

PACKS = Path(__file__).resolve().parents[2].parent / "shared" / "data"

# Layouts as the data set's documentation describes them; the words are made up.
SECTIONED = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with cough.

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  Radiographs from ___.

 FINDINGS:

 Large left pleural effusion is new.  The upper lungs are clear.  ET tube ends
 ___ cm above the carina.  In comparison with the study of ___, there is a small
 right effusion.  There is no pneumothorax

 IMPRESSION:

 1.  Large left pleural effusion.
 2.  No pneumothorax.

 NOTIFICATION:  The findings were discussed with ___, M.D. by ___, M.D. on the
 telephone on ___ at 10:32 AM, 5 minutes after discovery of the findings.
"""
WITHOUT_FINDINGS_HEADING = """WET READ: ___ ___ 9:12 PM
 No acute process.
______________________________________________________________________________
                                 FINAL REPORT
 PORTABLE CHEST RADIOGRAPH

 COMPARISON:  Radiograph ___.

 There is a large right effusion.  The cardiomediastinal silhouette is stable.

 I have personally reviewed the images and agree with the findings.
"""
VIEWS_AS_HEADING = """                                 FINAL REPORT
 HISTORY:  Fever.

 PA AND LATERAL CHEST RADIOGRAPHS:  The lungs are clear.  As compared to the
 previous radiograph, a right PICC line has been placed.

 IMPRESSION:  No pneumonia.

                                 ADDENDUM  The side was misstated.  The line is on the left.
"""
ON_ONE_LINE = "FINAL REPORT INDICATION: Fever. COMPARISON: None. FINDINGS: Lungs are clear. IMPRESSION: No pneumonia."


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_sections_in_the_published_layout(ending: str) -> None:
    report = clean_report(SECTIONED.replace("\n", ending))
    assert report == Report(
        findings="Large left pleural effusion is new. The upper lungs are clear. ET tube ends above the carina. "
        "There is a small right effusion. There is no pneumothorax.",
        impression="Large left pleural effusion. No pneumothorax.",
        indication="Woman with cough.",
        comparison="Radiographs.",
    )
    assert prompt_of_report(report) == (
        "Large left pleural effusion. The upper lungs are clear. ET tube ends above the carina. "
        "There is a small right effusion. There is no pneumothorax."
    )


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_headings_in_any_case(change) -> None:
    text = "{}:  Fever.\n\n{}:\n The lungs are clear.\n\n{}:  Normal chest.\n".format(
        change("INDICATION"), change("FINDINGS"), change("IMPRESSION")
    )
    assert clean_report(text) == Report("The lungs are clear.", "Normal chest.", "Fever.", "")


def test_paragraphs_without_a_heading_are_findings_and_a_wet_read_is_not() -> None:
    report = clean_report(WITHOUT_FINDINGS_HEADING)
    assert report.findings == "There is a large right effusion. The cardiomediastinal silhouette is stable."
    assert prompt_of_report(report) == "There is a large right effusion."


def test_a_wet_read_is_better_than_nothing() -> None:
    assert (
        clean_report("WET READ: ___ 9:12 PM\n Right lower lobe pneumonia.\n").findings == "Right lower lobe pneumonia."
    )


def test_views_are_a_heading_and_an_addendum_is_left_out() -> None:
    report = clean_report(VIEWS_AS_HEADING)
    assert report.impression == "No pneumonia."
    assert prompt_of_report(report) == "The lungs are clear. A right PICC line has been placed."


def test_a_report_on_one_line() -> None:
    assert clean_report(ON_ONE_LINE) == Report("Lungs are clear.", "No pneumonia.", "Fever.", "")


def test_a_heading_within_findings_stays_there() -> None:
    report = clean_report("FINDINGS:\n Lungs: clear.\n Heart: normal in size.\n")
    assert report.findings == "Lungs: clear. Heart: normal in size."


def test_a_note_is_parted_into_history_and_picture() -> None:
    report = clean_report("Fever and cough for 3 days. CXR: Opacity in the left lower zone. CT shows a cavity.")
    assert report == Report("Opacity in the left lower zone.", "", "Fever and cough for 3 days.", "")


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("XXXX opacity in the left midlung.", "opacity in the left midlung."),
        ("The XXXX are intact.", ""),
        ("XXXX XXXX is intact.", ""),
        ("Clear left lung XXXX.", "Clear left lung."),
        ("The heart XXXX is large.", "The heart is large."),
        ("The heart, pulmonary XXXX and mediastinum are normal.", "The heart and mediastinum are normal."),
        ("The heart and pulmonary XXXX appear normal.", "The heart appears normal."),
        ("No XXXX of pleural effusions.", "No pleural effusions."),
        ("Compared to XXXX, there is an effusion.", "there is an effusion."),
        ("The PICC line was placed on ___.", "The PICC line was placed."),
        ("The tube ends ___ cm above the carina.", "The tube ends above the carina."),
        ("Normal chest x-XXXX.", "Normal chest x-ray."),
        ("XXXX-year-old male with cough.", "male with cough."),
    ],
)
def test_masks_go_and_what_lost_its_sense(sentence: str, kept: str) -> None:
    assert unmasked(sentence) == kept


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("No significant change.", ""),
        ("There is no relevant change compared to the prior study.", ""),
        ("The cardiomediastinal silhouette is stable.", ""),
        ("Heart size is unchanged.", ""),
        ("Comparison is made to the prior study.", ""),
        ("The right IJ line has been removed.", ""),
        ("Stable cardiomegaly.", "cardiomegaly."),
        ("The moderate right pleural effusion is unchanged.", "moderate right pleural effusion"),
        ("Left effusion has increased since the prior study.", "Left effusion"),
        ("Calcified nodule, unchanged from prior exams.", "Calcified nodule."),
        ("In comparison with the prior study, there is a new effusion.", "there is a effusion."),
        ("Densities are unchanged from prior and indicate old disease.", "Densities indicate old disease."),
        ("Opacities are unchanged and compatible with scarring.", "Opacities are compatible with scarring."),
        ("Again seen is a hiatal hernia.", "a hiatal hernia."),
        ("The ICD is again identified.", "The ICD is identified."),
        ("Asymmetric density compared to left.", "Asymmetric density compared to left."),
        ("Degenerative changes of the spine.", "Degenerative changes of the spine."),
        ("No acute change in the lungs.", "No acute change in the lungs."),
    ],
)
def test_comparisons_go_and_findings_stay(sentence: str, kept: str) -> None:
    assert without_priors(sentence) == kept


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("Recommend chest CT for further evaluation.", ""),
        ("Pulmonary edema, clinical correlation recommended.", "Pulmonary edema."),
        ("A nodule of 1 cm, consider followup.", "A nodule of 1 cm."),
        ("No pneumothorax.", "No pneumothorax."),
    ],
)
def test_advice_goes(sentence: str, kept: str) -> None:
    assert without_advice(sentence) == kept


@pytest.mark.parametrize(
    "sentence",
    [
        "I have personally reviewed the images for this examination.",
        "Findings were discussed with Dr. Smith by telephone.",
        "Dr. XXXX was notified and acknowledged receipt.",
        "PA and lateral views of the chest were obtained.",
        "2 images.",
    ],
)
def test_dictation_is_told(sentence: str) -> None:
    assert spoken_aside(sentence)


def test_what_is_seen_is_no_dictation() -> None:
    for sentence in ("Frontal and lateral views show a nodule.", "The tube is in place.", "Lungs are clear."):
        assert not spoken_aside(sentence)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1. A nodule of 1.4 cm. 2. No effusion.", ["A nodule of 1.4 cm.", "No effusion."]),
        ("1. Edema 2. No effusion", ["Edema.", "No effusion."]),
        ("At the level of T6. No fracture.", ["At the level of T6.", "No fracture."]),
        ("Seen on series 3. The lung is clear.", ["Seen on series 3.", "The lung is clear."]),
        ("Told to Dr. Smith. Clear.", ["Told to Dr. Smith.", "Clear."]),
        ("Chest 1. Clear. 2. No effusion.", ["Chest.", "Clear.", "No effusion."]),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


def test_prompts_end_at_a_sentence() -> None:
    long = Report("The lungs are clear. " * 40, "Normal.", "", "")
    assert prompt_of_report(long, words=10) == "The lungs are clear. The lungs are clear."
    assert len(prompt_of_report(long).split()) == PROMPT_WORDS
    assert prompt_of_report(Report("a b c d e f.", "", "", ""), words=3) == "A b c."
    assert prompt_of_report(Report("No significant change.", "Edema.", "", "")) == "Edema."
    assert prompt_of_report(Report("", "", "", "")) == ""


def test_only_the_chest_of_a_report_on_several_regions() -> None:
    report = report_of_sections({"FINDINGS": "KUB. Dilated loops. Chest. Left basilar opacity. No effusion."})
    assert prompt_of_report(report) == "Left basilar opacity. No effusion."


WORDS = st.sampled_from(
    [
        *("FINDINGS:", "IMPRESSION:", "FINAL REPORT", "___", "XXXX", "1.", "2.", "The", "heart", "lungs", "is", "are"),
        *("stable", "unchanged", "from", "prior", "new", "effusion.", "Compared", "to", "and", "of", "no", "change"),
        *("pulmonary", "cm", "Dr.", "Chest.", "\n", "\n\n", "clear.", ",", "CT", "fever"),
    ]
)


@given(st.one_of(st.text(st.characters(codec="ascii"), max_size=200), st.lists(WORDS, max_size=40).map(" ".join)))
def test_any_text_gives_a_clean_report(text: str) -> None:
    report = clean_report(text)
    for section in report:
        assert clean_text(section).text == section
        assert "___" not in section
        assert "XXXX" not in section
    assert len(prompt_of_report(report).split()) <= PROMPT_WORDS


def test_real_reports_are_read() -> None:
    files = sorted((PACKS / "nc_openi_reports").rglob("*.xml"))
    if not files:
        pytest.skip("no Open-i pack beside the repository")
    for file in files:
        parts = ElementTree.parse(file).getroot().iter("AbstractText")
        report = report_of_sections({str(part.get("Label")): part.text for part in parts})
        assert report_of_sections(report._asdict()) == report
        prompt = prompt_of_report(report)
        assert len(prompt.split()) >= 3, file.name
        assert prompt[0].isupper() or prompt[0].isdigit()
        assert prompt.endswith(".")
        for word in ("XXXX", "unchanged", "Stable", "stable ", "prior exam", "again", "recommend", "  ", " ."):
            assert word not in prompt, (file.name, word)


def test_real_notes_are_parted() -> None:
    path = PACKS / "nc_covid_cxr_notes" / "metadata.csv"
    if not path.is_file():
        pytest.skip("no pack of clinical notes beside the repository")
    with path.open(encoding="utf-8", newline="") as stream:
        notes = {row["clinical_notes"] for row in csv.DictReader(stream)}
    prompts = [prompt_of_report(clean_report(note)) for note in notes]
    assert sum(bool(prompt) for prompt in prompts) >= len(notes) - 2
    for word in ("year-old", "fever", "PCR", "discharged", "laborator"):
        assert not [prompt for prompt in prompts if word in prompt.lower()]
