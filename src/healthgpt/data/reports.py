"""Radiology reports: free text to findings and impression, and to the words from which a chest X-ray is drawn.

Layouts. A MIMIC-CXR report is a text file with headings at the start of lines, mostly in capitals and followed by a
colon ("EXAMINATION:", "INDICATION:", "TECHNIQUE:", "COMPARISON:", "FINDINGS:", "IMPRESSION:"), below a centred
"FINAL REPORT"; lines are wrapped, "___" stands where protected information was removed, "WET READ" is a preliminary
reading and "ADDENDUM" a later one. Findings may stand below a heading that names the views ("PA AND LATERAL CHEST
RADIOGRAPH:"), or below none: then the paragraphs without a heading are taken, as the section parser published with the
data set takes the last one (Johnson A, Pollard T, Mark R, Berkowitz S, Horng S. MIMIC-CXR Database, PhysioNet 2019,
doi 10.13026/C2JT1Q; Johnson et al., Sci Data 6, 317, 2019). Open-i's reports come in sections already, with "XXXX" for
removed words (Demner-Fushman et al., JAMIA 23(2), 2016). A clinical note has no headings: sentences that tell the
history are its indication, the others its findings.

Left out: technique, wet reads where they are not all there is, addenda (they say what was corrected, not what is
seen), dictation and notification phrases, masks.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from healthgpt.data.normalise import clean_text
from healthgpt.data.report_priors import without_advice, without_priors
from healthgpt.data.report_sentences import joined, sentences, spoken_aside, unmasked

PROMPT_WORDS = 80
"""Words of the longest prompt made from a report; the longest of 120 Open-i reports has 61."""


class Report(NamedTuple):
    """The sections of a report as clean one-line text; "" for a section it does not have."""

    findings: str
    impression: str
    indication: str
    comparison: str


_SECTIONS: dict[str, tuple[str, ...]] = {
    "findings": ("findings", "finding", "findings and impression", "findings/impression", "chest findings", "report"),
    "impression": (
        *("impression", "impressions", "conclusion", "conclusions", "summary", "opinion", "assessment", "diagnosis"),
        *("impression and recommendation", "impression and recommendations", "impression/recommendation", "imp"),
    ),
    "indication": (
        *("indication", "indications", "history", "clinical history", "clinical information", "clinical indication"),
        *("reason for exam", "reason for examination", "reason for study", "reason", "clinical data"),
        *(
            "patient history",
            "indication for study",
            "indication for examination",
            "clinical statement",
            "medical history",
        ),
    ),
    "comparison": ("comparison", "comparisons", "comparison exam", "comparison study", "comparison studies", "priors"),
    "wet read": ("wet read", "preliminary report"),
    "left out": (
        *("examination", "exam", "exam type", "type of examination", "type of exam", "study", "procedure"),
        *("study type", "technique", "techniques", "views", "protocol", "date", "exam date", "notification", "dose"),
        *(
            "notifications",
            "recommendation",
            "recommendations",
            "addendum",
            "final addendum",
            "attending",
            "radiologist",
            "signed",
        ),
        *("dictated by", "electronically signed by", "communication", "critical results", "note"),
    ),
    "start": ("final report", "final"),
}
_SECTION_OF = {name: section for section, names in _SECTIONS.items() for name in names}
_VIEWS = re.compile(r"\b(?:views?|radiographs?|x-?rays?|films?|chest|portable|frontal|lateral)\b", re.IGNORECASE)
_LINE_HEADING = re.compile(
    r"^[ \t]*(?P<name>[A-Za-z][^\n:]{1,80}(?::\d\d[^\n:]{0,20})?):(?!\d)|^[ \t]*(?P<bare>[A-Z][A-Z ]{3,30}?)[ \t]*$"
    r"|^[ \t]*(?P<open>(?:FINAL )?ADDENDUM|WET READ(?: VERSION)?)\b",
    re.MULTILINE,
)
_MIDDLE_HEADING = re.compile(
    r"(?<=[\s.])(?P<name>FINDINGS AND IMPRESSION|FINDINGS|IMPRESSION|INDICATION|COMPARISON|TECHNIQUE|HISTORY|"
    r"EXAMINATION|CLINICAL HISTORY|REASON FOR EXAM(?:INATION)?|CONCLUSION|RECOMMENDATIONS?|NOTIFICATION|ADDENDUM|"
    r"WET READ):"
)
_CLOCK = re.compile(r"^[^\n]*\d:\d\d\s*[AP]\.?M\.?[^\n]*", re.IGNORECASE)
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_RULE = re.compile(r"^[ \t]*[_=*-]{8,}[ \t]*$", re.MULTILINE)


def clean_report(text: str) -> Report:
    """The sections of a report given as free text; headings in any case. Text without any is taken as a note."""
    lines = _RULE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    headings = _headings(lines)
    if not headings:
        return _from_note(clean_text(lines).text)
    parts: dict[str, list[str]] = {}
    loose: list[str] = []
    for place, (_, begin, section) in enumerate(headings):
        end = headings[place + 1][0] if place + 1 < len(headings) else len(lines)
        paragraphs = _PARAGRAPH.split(lines[begin:end].strip())
        if section == "start":
            # What stood before was preliminary.
            parts.pop("wet read", None)
            loose += paragraphs
        elif section in ("findings", "impression", "wet read"):
            parts.setdefault(section, []).extend(paragraphs)
        else:
            parts.setdefault(section, []).append(paragraphs[0])
            loose += paragraphs[1:]
    if not "".join(parts.get("findings", [])).strip():
        parts["findings"] = [paragraph for paragraph in loose if not _VIEWS_ONLY.fullmatch(paragraph.strip())]
    if not any("".join(parts.get(section, [])).strip() for section in ("findings", "impression")):
        parts["findings"] = [_CLOCK.sub("", paragraph, count=1) for paragraph in parts.get("wet read", [])]
    return report_of_sections({section: "\n".join(texts) for section, texts in parts.items()})


_VIEWS_ONLY = re.compile(r"[^a-z]*|(?:(?!\.\s).){0,60}\b(?:views?|chest|radiographs?)\b(?:(?!\.\s).){0,40}[^.]")


def _headings(text: str) -> list[tuple[int, int, str]]:
    """(start, end, section) of each heading, in order."""
    found: dict[int, tuple[int, str]] = {}
    for match in _LINE_HEADING.finditer(text):
        name = match["name"] or match["bare"] or match["open"]
        section = _section_of(name)
        if section and not (match["bare"] and section == "findings" and name.strip().lower() not in _SECTION_OF):
            found[match.start()] = (match.end(), section)
    for match in _MIDDLE_HEADING.finditer(text):
        if not any(start <= match.start() < end for start, (end, _) in found.items()):
            found[match.start()] = (match.end(), _section_of(match["name"]))
    return [(start, *found[start]) for start in sorted(found)]


def _section_of(name: str) -> str:
    """The section a heading opens; "" where it is none, such as "Lungs:" within the findings."""
    plain = " ".join(name.lower().split()).strip(" .-")
    if plain in _SECTION_OF:
        return _SECTION_OF[plain]
    if plain.startswith(("wet read", "final addendum", "addendum")):
        return "wet read" if plain.startswith("wet") else "left out"
    return "findings" if name.isupper() and _VIEWS.search(name) else ""


def report_of_sections(sections: Mapping[str, object]) -> Report:
    """A report whose sections are known, by name in any case, as Open-i's ``AbstractText`` elements are."""
    texts = {name.lower(): clean_text(value).text for name, value in sections.items()}
    # Not asked for asides: a comparison is hardly more than the technique of an earlier study.
    comparison = joined([unmasked(part) for part in sentences(texts.get("comparison", ""))])
    return Report(
        _clean_section(texts.get("findings", "")),
        _clean_section(texts.get("impression", "")),
        _clean_section(texts.get("indication", "")),
        "" if re.fullmatch(r"(?:none|no|n/?a|not)\b[\w\s]{0,20}\W*", comparison, re.IGNORECASE) else comparison,
    )


def _clean_section(text: str) -> str:
    kept = []
    for part in sentences(text):
        if not spoken_aside(part):
            plain = unmasked(part)
            # Asked again, as "Comparison XXXX." shows only without its mask that nothing is left.
            if plain is part or not spoken_aside(plain):
                kept.append(plain)
    return joined(kept)


# --- notes ----------------------------------------------------------------------------------------------------------

_HISTORY = re.compile(
    r"year-?\s?old|\badmi(?:tted|ssion)|\bpresent(?:s|ed|ation|ing)\b|\bfever|\bcough|history|\bPCR|\btested\b|laborator|"
    r"lymphopeni|saturation|\bsymptom|\bdyspn|discharge|\bdays?\b|\bweeks?\b|illness|\brash\b|treatment|\btravel|\bblood\b|"
    r"\bpatient|antigen|\bculture|infection|oxygen|\bpain|neutropeni|intubated|chemotherapy|\bCOVID|pyrexia|"
    r"attended|virus|\bSARS|\bHIV|smear|recovery|tachypn|febrile|hypox|\bT2DM|\bPMH\b|stepped down|diagnosis|pregnan",
    re.IGNORECASE,
)
_BEDSIDE = re.compile(r"laborator|auscultation|crackles|crepitation|physical exam|antigen|\bPCR\b", re.IGNORECASE)
_PICTURE = re.compile(
    r"opaci|consolidat|effusion|pneumothora|infiltrat|ground[- ]glass|\bGGO|\blungs?\b(?! cancer)|\blobes?\b|"
    r"\bzones?\b|\bheart (?:is|size|border)|enlarged|silhouette|mediastin|\btubes?\b|\blines?\b|catheter|\bETT\b|\bNG|"
    r"\bx-?\s?ray|radiograph|\bCXR\b|air-?\s?space|bronch|hilar|pleur|nodul|cavit|reticul|interstitial|costophrenic|"
    r"diaphragm|\bribs?\b|shadow|haz[ey]|patchy|^(?:no )?(?:significant )?findings|drain|^radiological",
    re.IGNORECASE,
)
_OTHER_SCAN = re.compile(r"\bCT\b|computed tomography|ultrasound", re.IGNORECASE)
_LABEL = re.compile(r"^(?:patient \d+\s*-\s*)?(?:\w+\s+){0,3}(?:chest x-?\s?ray|CXR)\s*:\s*", re.IGNORECASE)
_FILM = re.compile(r"\bx-?\s?ray|radiograph|\bCXR\b", re.IGNORECASE)


def _from_note(text: str) -> Report:
    told: list[str] = []
    seen: list[str] = []
    for spoken in sentences(text):
        sentence = _LABEL.sub("", spoken)
        if spoken_aside(sentence):
            continue
        if _BEDSIDE.search(sentence) or (_HISTORY.search(sentence) and not _PICTURE.search(sentence)):
            told.append(unmasked(sentence))
        elif _FILM.search(spoken) or not _OTHER_SCAN.search(sentence):
            seen.append(unmasked(sentence))
    return Report(joined(seen), "", joined(told), "")


# --- prompts --------------------------------------------------------------------------------------------------------

_REGION = re.compile(
    r"(?:^|(?<=[.:] ))(chest|kub|abdomen|pelvis|(?:left|right|cervical|thoracic|lumbar)\s+\w+)[.:]\s+(?=[A-Z])",
    re.IGNORECASE,
)


def prompt_of_report(report: Report, words: int = PROMPT_WORDS) -> str:
    """What a chest X-ray is drawn from: the findings, or the impression where nothing visible is left of them.

    Without comparisons, advice and parts about other regions; at most ``words`` words, cut after a sentence (only a
    first sentence that is longer by itself is cut within). "" for a report that says nothing about the picture.
    """
    for section in (report.findings, report.impression):
        kept: list[str] = []
        count = 0
        for sentence in sentences(_chest_part(section)):
            plain = without_priors(without_advice(sentence))
            size = len(plain.split())
            if not size:
                continue
            if kept and count + size > words:
                break
            kept.append(" ".join(plain.split()[:words]))
            count += size
        if kept:
            return joined(kept)
    return ""


def _chest_part(text: str) -> str:
    """What stands below "Chest." in a report on several regions; all of a report on one."""
    pieces = _REGION.split(text)
    regions = {name.lower() for name in pieces[1::2]}
    if "chest" not in regions or len(regions) < 2:
        return text
    return " ".join(part for name, part in zip(pieces[1::2], pieces[2::2], strict=True) if name.lower() == "chest")
