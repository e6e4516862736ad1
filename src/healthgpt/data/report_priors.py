"""What a single picture does not show: advice, and comparison with earlier studies.

Reports are written for colleagues who know the patient; a picture does not show a recommendation or how it looked last
week. A sentence goes only when nothing visible is left of it.
"""

import re

_TRAILING_ADVICE = re.compile(
    r",\s*(?:and\s+)?(?:consider\b|(?:(?:clinical|close)\s+)?(?:correlation|follow-?\s?up)\b)[^.;]*", re.IGNORECASE
)
_ADVICE = re.compile(
    r"\b(?:recommend\w*|advis(?:ed|able)|consider(?:ed|ation)?\s+(?:\w+\s+)?(?:further|follow\w*|evaluation|CT|MRI|scan|"
    r"repeat|with)|correlat(?:e|ion)|follow[\s-]?up|(?:further|additional)\s+(?:evaluat\w+|charact\w+|imaging|workup)|"
    r"more detailed evaluation|clinically (?:appropriate|indicated|warranted)|if\s+clinical\w*)\b",
    re.IGNORECASE,
)


def without_advice(sentence: str) -> str:
    """The sentence without what should be done next; empty where it is about that only."""
    kept = _TRAILING_ADVICE.sub("", sentence)
    return "" if _ADVICE.search(kept) else kept


# --- earlier studies ------------------------------------------------------------------------------------------------

_EARLIER = (
    r"(?:(?:the|a|an|any|her|his|most|recent|multiple|same|patient's)\s+)*"
    r"(?:prior|previous|earlier|preceding|past|last|comparison|outside|old|study|exam\w*|radiograph\w*|film\w*|x-?ray|CT|day|"
    r"yesterday|_{2,}|X{4,})"
)
_TO = rf"\s+(?:(?:as|when|in)\s+)?(?:compar(?:ed|ison)\s+)?(?:from|to|with|since|on|of)\s+{_EARLIER}[^.,;]*"
_SAME = r"(?:(?:again|essentially|grossly|relatively|largely|overall|not\s+significantly|entirely|generally)\s+)*"
_SAME += r"(?:unchanged|stable|similar|unaltered|not\s+(?:significantly\s+)?changed|the\s+same)"
_IN = r"(?:\s+in\s+(?:appearance|size|extent|position|configuration|contour|location)(?:\s+and\s+\w+)?)?"
_OPENING = re.compile(
    rf"^(?:(?:in|as|when|by)\s+)?(?:compar(?:ed|ison|ing)|contrast)\s+(?:is\s+made\s+)?(?:with|to)\b[^,.;]*,\s*"
    rf"|^(?:since|on|from)\s+{_EARLIER}[^,.;]*,\s*|^without\s+(?:prior\s+)?comparisons?,\s*",
    re.IGNORECASE,
)
_ONLY_COMPARES = re.compile(
    r"(?:(?:no|without)\s+)?(?:\w+\s+){0,2}(?:comparisons?|priors?)\b(?!.*\b(?:shows?|there|demonstrates?)\b)[^.]*\W*"
    r"|(?:(?:as|when|in|by)\s+)?compar(?:ed|ison)\b(?!.*\b(?:shows?|there|demonstrates?)\b)[^.]*\W*"
    r"|(?:there\s+(?:is|are|has\s+been|have\s+been)\s+)?(?:otherwise,?\s+)?(?:no|little|minimal|without)(?:\s+\w+){0,3}"
    r"\s+changes?(?:\s+(?:is|are)\s+(?:seen|noted|identified))?(?:\s+(?:from|since|compared|in\s+comparison|in\s+the\s+"
    r"interval|over)\b[^.]*)?\W*"
    r"|(?:as|when)\s+(?:seen|noted)\s+(?:previously|before)\W*"
    r"|[^.]*\bha(?:s|ve)\s+been\s+(?:removed|withdrawn|extubated)\b[^.]*\W*"
    r"|(?:there\s+(?:is|has\s+been)\s+)?(?:interval|marked|complete|partial|almost)?\s*(?:removal|extubation|resolution|"
    r"clearing|complete\s+regression)\b[^.]*\W*",
    re.IGNORECASE,
)
_VERB = r"(?:(?:likely|probably)\s+)?(?:indicates?|may|represents?|suggests?|could|demonstrates?|is|are|shows?)\b"
_ANATOMY = (
    r"(?:(?:the|this|these|it|and|of|remainder|overall|visualized|appearance|examination|exam|study|chest|heart|cardiac|"
    r"lungs?|size|silhouette|cardiomediastinal|mediastin\w+|hilar|hila|contours?|bones?|bony|osseous|structures?|pulmonary|"
    r"vasculature|rest|findings|otherwise|also|position|tubes?|lines?|support|devices?|monitoring)\b[\s,]*)"
)
_ANATOMY_ONLY = re.compile(rf"{_ANATOMY}+", re.IGNORECASE)
_PREDICATE = re.compile(
    rf"^(?:there\s+is\s+)?(?P<subject>[^.;]*?)\s+(?:is|are|remains?|appears?|has\s+remained)\s+{_SAME}{_IN}(?:{_TO})?\W*$",
    re.IGNORECASE,
)
_CHANGE = re.compile(
    rf"^(?P<subject>[^.;,]*?)\s+(?:(?:is|are)\s+new|ha(?:s|ve)\s+(?:\w+ly\s+)?(?:increased|decreased|improved|worsened|progressed)"
    rf"{_IN})(?:\s+(?:since|from|in\s+the\s+interval|compared|now)\b[^.,;]*)?\W*$",
    re.IGNORECASE,
)
_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), plain)
    for pattern, plain in (
        (rf",?\s*(?:and\s+)?which\s+(?:is|are|was|were)\s+{_SAME}{_IN}(?:{_TO})?(?=\s*[.,;]|\s*$)", ""),
        (rf",\s*(?:and\s+|but\s+)?(?:appear\w*\s+|is\s+|are\s+)?{_SAME}{_IN}(?:{_TO})?(?=\s*[.,;]|\s*$)", ""),
        (rf"\s+(?:and|but)\s+(?:appear\w*\s+|is\s+|are\s+)?{_SAME}{_IN}(?:{_TO})?(?=\s*[.,;]|\s*$)", ""),
        (rf",\s*{_ANATOMY}{{1,8}}(?:is|are|appears?|remains?)\s+{_SAME}{_IN}(?:{_TO})?(?=\s*[.,;]|\s*$)", ""),
        (rf"\s+(?:is|are|appears?|remains?)\s+{_SAME}{_IN}(?:{_TO})?\s+and\s+(?={_VERB})", " "),
        (rf"\b(is|are|appears?|remains?)\s+{_SAME}{_IN}(?:{_TO})?\s+and\s+", r"\1 "),
        (rf",?\s+(?:as|when|in)?\s*compar(?:ed|ison)\s+(?:with|to)\s+{_EARLIER}[^.,;]*", ""),
        (rf"\s+(?:is|are)\s+(?:better|best)\s+(?:seen|appreciated|evaluated)\s+(?:in|on)\s+{_EARLIER}[^.,;]*", ""),
        (rf",\s+from\s+{_EARLIER}[^.,;]*", ""),
        (rf",?\s+(?:since|as\s+(?:seen\s+)?(?:on|in))\s+{_EARLIER}[^.,;]*", ""),
        (r"^again\s+(?:seen|noted|identified|demonstrated|visualized)\s+(?:is|are)\s+", ""),
        (r"^again,?\s+", ""),
        (
            r"^(?:radiological|radiographic|marked|slight|clinical)\s+"
            r"(?:worsening|progression|stability|improvement|deterioration)\b,?\s*(?:with\s+)?",
            "",
        ),
        (r"\b(the)\s+previously\s+(?:seen|noted|identified|described|demonstrated)\s+", r"\1 "),
        (r"\b(?:again|previously)\s+(?=seen|noted|identified|demonstrated|visualized|described)", ""),
        (r"\b(there\s+(?:is|are))\s+again\s+", r"\1 "),
        (
            r"^(?:there\s+(?:is|has\s+been)\s+)?(?:(?:slight|mild|marked|significant|further|minimal)\s+)?interval\s+"
            r"(?:increase|decrease|improvement|worsening|progression|enlargement|placement|insertion|development)\s+(?:in|of)\s+"
            r"(?:the\s+)?(?:size\s+of\s+(?:the\s+)?)?",
            "",
        ),
    )
)


_TRAILING_SAME = re.compile(rf"(?<!\bis)(?<!\bare)\s+{_SAME}{_IN}(?:{_TO})?\W*$", re.IGNORECASE)
_COMPARING_ADJECTIVE = re.compile(
    r"\b(?:interval|newly|new|stable|unchanged|persistent|persisting|worsening|progressive|increasing|decreasing|now)\s+"
    r"(?!(?:of|in|with|during|to|from|and|or|but|since)\b)(?=[A-Za-z0-9])",
    re.IGNORECASE,
)


# Most sentences have none of these and are spared the rest.
_MAY_COMPARE = re.compile(
    r"compar|prior|previous|earlier|since|again|interval|\bnew|\bnow|chang|stab|similar|same|altered|persist|worsen|progress|"
    r"increas|decreas|improv|remov|withdr|extub|resol|clearing|regress|deteriorat|better|best|as noted|as seen|"
    r"^(?:on|from) |contrast|remain|has been",
    re.IGNORECASE,
)


def without_priors(sentence: str) -> str:
    """The sentence as if no earlier study existed; empty where it only compares.

    Reports of MIMIC-CXR and Open-i compare with studies that a single image does not show, and a model trained on them
    invents such studies (Ramesh et al., "Improving radiology report generation systems by removing hallucinated
    references to non-existent priors", 2022). Clauses of comparison and words such as "stable" or "new" are left
    out; "The right effusion is unchanged" becomes "Right effusion", and "The heart size is stable" nothing.
    """
    kept = sentence.strip()
    if not _MAY_COMPARE.search(kept):
        return "" if _ANATOMY_ONLY.fullmatch(kept.strip(" .,;") + " ") else kept
    kept = _OPENING.sub("", kept, count=1)
    if _ONLY_COMPARES.fullmatch(kept):
        return ""
    for pattern, plain in _REWRITES:
        kept = pattern.sub(plain, kept)
    predicate = _PREDICATE.match(kept) or _CHANGE.match(kept)
    if predicate and "," not in predicate["subject"]:
        subject = re.sub(r"^(?:the|this|these|a|an)\s+", "", predicate["subject"], flags=re.IGNORECASE)
        kept = "" if _ANATOMY_ONLY.fullmatch(predicate["subject"] + " ") else subject
    kept = _COMPARING_ADJECTIVE.sub("", _TRAILING_SAME.sub("", kept))
    return "" if _ANATOMY_ONLY.fullmatch(kept.strip(" .,;") + " ") else kept
