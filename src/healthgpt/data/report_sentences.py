"""Sentences of radiology reports: parted and joined, masks of removed words taken out, dictation phrases told.

Everything here is conservative: a sentence goes only when its sense went with a mask or it is not about the picture.
"""

import re

_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\bDr\.)(?<!\bDrs\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bvs\.)(?<!\b[ap]\.m\.)(?<!\be\.g\.)(?<!\bi\.e\.)"
    r"(?<!\bFig\.)\s+"
)
_ITEM = re.compile(r"(?<!\S)(\d{1,2})[.)]\s+(?=[A-Z_])")
_STRAY = re.compile(r"\s+(?=[.,;:!?](?:\s|$))")
_STOPS = re.compile(r"([.!?;,:])(?:\s*[.,;])+(?=\s|$)")
_A_BEFORE_VOWEL = re.compile(r"\b([Aa]) (?=[aeiou](?!ni|ne\b|se))")
_AN_BEFORE_CONSONANT = re.compile(r"\b([Aa])n (?=[bcdfgjklmnpqrstvwz])")


def sentences(text: str) -> list[str]:
    """The sentences of one-line text, in order; numbers of list items ("1. ", "2. ") are left out."""
    return [part for part in _SENTENCE_END.split(_without_item_numbers(text)) if part.strip(" .,;:")]


def joined(parts: list[str]) -> str:
    """Sentences as one text: each begins with a capital and ends with a stop."""
    return " ".join(_finished(part) for part in parts if part.strip(" .,;:"))


def _finished(sentence: str) -> str:
    text = _STOPS.sub(r"\1", _STRAY.sub("", " ".join(sentence.split()))).strip(" ,;:")
    # Articles of nouns whose adjective was left out.
    text = _AN_BEFORE_CONSONANT.sub(r"\1 ", _A_BEFORE_VOWEL.sub(r"\1n ", text))
    text = text[:1].upper() + text[1:]
    return text if text[-1:] in ".!?" else text + "."


def _without_item_numbers(text: str) -> str:
    """Numbers go when they count on from 1, so that "at the level of T6. No" and "series 3. The" stay."""
    pieces, start, expected = [], 0, 1
    for match in _ITEM.finditer(text):
        number, before = int(match[1]), text[start : match.start()].rstrip()
        heading = re.split(r"[.!?]\s", before)[-1]
        opens = number == 1 and (not before or before[-1] in ".:;!?)" or len(heading.split()) <= 2)
        if opens or number == expected > 1:
            pieces.append(before)
            start, expected = match.end(), number + 1
    pieces.append(text[start:])
    return " ".join(piece if piece[-1:] in ".:;!?" else piece + "." for piece in pieces if piece.strip())


# --- masks ----------------------------------------------------------------------------------------------------------

_MARK = re.compile(r"(?:_{2,}|X{4,})[,/-]?")
_MASKED_STUDY = re.compile(
    r"^(?:(?:in|as|when)\s+)?(?:compar(?:ed|ison)|since|on)\b[^,.;]*(?:_{2,}|X{4,})[^,.;]*,\s*"
    r"|^[^.:]{0,60}\bcompar(?:ed|ison)\b[^.:]*(?:_{2,}|X{4,})[^.:]*:\s*",
    re.IGNORECASE,
)
_MASKED = re.compile(r"[\"'(]*(?=[\w/-]*(?:_{2,}|X{4,}))[\w/-]+[\"')]*[.,;:!?]*")
_AGE = re.compile(r"(?:_{2,}|X{4,})[\s-]*(?:years?|yrs?|y)?[\s/-]*(?:old|o)\b[\s,]*", re.IGNORECASE)
_RAY = re.compile(r"\b([xX])-X{4,}")
_LYMPH = re.compile(r"\blymph X{4,}")
_DATES = frozenset({"on", "from", "at", "since", "in", "dated", "by", "until", "between", "and", "of", "to"})
_HEADLESS = frozenset(
    {"the", "a", "an", "no", "this", "that", "these", "with", "for", "is", "are", "was", "were", "be", "as"}
    | {"have", "has", "had", "than", "or", "both", "some", "any", "not", "may", "without", "there", "into", "through"}
)
_GOES_ON = frozenset(
    {"is", "are", "was", "were", "has", "have", "had", "of", "and", "or", "appear", "appears", "remain", "remains"}
    | {"be", "may", "could", "with", "in", "at", "on", "for", "to", "from", "which", "that", "show", "shows"}
)
_SINGULAR = {"are": "is", "appear": "appears", "were": "was", "have": "has", "remain": "remains"}
_ADJECTIVE = re.compile(r"(?:al|ar|ary|ic|ous|ed|ior)$|^(?:right|left|soft|upper|lower|lymph|low|high|large|small)$")


def unmasked(sentence: str) -> str:
    """The sentence without the marks of removed words ("XXXX", "___"); empty where they took its sense along.

    A mark before a word was an adjective or a name and goes ("XXXX opacity in the left midlung"); so does one after a
    noun and a date with its preposition. Where the noun itself is gone ("The XXXX are intact") so is the sentence.
    """
    if "XXXX" not in sentence and "__" not in sentence:
        return sentence
    # Two words that are masked everywhere in Open-i and cannot have been others.
    tokens = _LYMPH.sub("lymph nodes", _RAY.sub(r"\1-ray", _AGE.sub("", _MASKED_STUDY.sub("", sentence)))).split()
    kept: list[str] = []
    place = 0
    while place < len(tokens):
        if not _MASKED.fullmatch(tokens[place]):
            kept.append(tokens[place])
            place += 1
            continue
        while place + 1 < len(tokens) and _MASKED.fullmatch(tokens[place]) and _MASKED.fullmatch(tokens[place + 1]):
            place += 1
        stop = tokens[place][-1] if tokens[place][-1] in ".,;:!?" else ""
        place += 1
        following = tokens[place].strip(".,;:").lower() if place < len(tokens) and not stop else ""
        before = kept[-1].lower() if kept and kept[-1][-1] not in ".,;:" else ""
        if following in ("cm", "mm"):
            stop = tokens[place][-1] if tokens[place][-1] in ".,;:" else ""
            place += 1
        elif following == "of" and (before in _HEADLESS or _ADJECTIVE.search(before)):
            # "No XXXX of effusion" was "no evidence of" or "no sign of".
            place += 1
        elif not following or following in _GOES_ON:
            _drop_dangling(kept, tokens, place, following)
            before = kept[-1].lower() if kept and kept[-1][-1] not in ".,;:" else ""
            if not kept or before in _HEADLESS or (following and not before and kept[-1][-1] != ","):
                return ""
        if stop and kept:
            kept[-1] = kept[-1].rstrip(".,;:") + stop
    # Marks grown together with other words ("XXXX,high").
    return _MARK.sub("", " ".join(kept))


def _drop_dangling(kept: list[str], tokens: list[str], place: int, following: str) -> None:
    """Take from the end of ``kept`` what made sense only with the masked noun: its adjective, its preposition."""
    before = kept[-1].lower() if kept else ""
    leads = kept[-2].lower() if len(kept) > 1 else ""
    if _ADJECTIVE.search(before) and (following or not leads or leads in _HEADLESS or leads in _DATES):
        kept.pop()
        if kept and kept[-1] in ("and", "or"):
            kept.pop()
            # "The heart and pulmonary XXXX appear" has lost its plural.
            if following and kept and "and" not in kept and not kept[-1].endswith(("s", ",")):
                tokens[place] = _SINGULAR.get(tokens[place], tokens[place])
        elif kept and following in ("and", "or"):
            kept[-1] = kept[-1].rstrip(",")
    if following in ("", "and", "or", "for") and kept and kept[-1].lower() in _DATES:
        kept.pop()
        if kept and kept[-1].lower() in ("compared", "comparison", "dated"):
            kept.pop()


# --- what a picture does not show -----------------------------------------------------------------------------------

_BOILERPLATE = re.compile(
    r"""personally\ reviewed | \bI\ have\ reviewed | \battending\ (?:radiologist|physician) | electronically\ signed
    | \bdictated\b | \btranscribed\b | \bwet\ read | \bpreliminary\ (?:report|read) | \backnowledged\ (?:the\ )?receipt
    | \b(?:was|were|been|is|are)\ (?:\w+\ ){0,3}(?:notified|discussed|communicated|conveyed|relayed|telephoned|paged|
        e-?mailed|informed|posted|entered|flagged)\b
    | \b(?:by|via|over\ the|per)\ (?:tele)?(?:phone|page)r?\b | \btelephone\ (?:call|conversation|discussion)
    | \b(?:discussed|reviewed|communicated)\ with\ (?:dr|the\ (?:clinical|primary|referring|team)) | \bDrs?\.?\s
    | \bcritical\ (?:results?|findings?)\ (?:dashboard|communication|system|reporting) | \btime\ of\ discovery
    | ^(?:please|kindly)\ (?:see|refer|note|call|contact)\b | \bsee\ (?:the\ )?(?:separate|separately|dedicated)\b
    | ^comparison\W*$ | ^(?:as|see)\ (?:above|below|impression|findings)\b
    | ^case\ courtesy\b | ^(?:end\ of\ )?(?:impression|report)\W*$""",
    re.IGNORECASE | re.VERBOSE,
)
_TECHNIQUE = re.compile(
    r"(?:\d|one|two|three|four|single)\s+(?:views?|images?|films?)\W*|(?:chest (?:radiographs?|x-?rays?)|views?)\W*"
    r"|[^.]*\b(?:views?|radiographs?|images?|films?|x-?rays?|projections?)\b[^.]*\b(?:was|were|are|is)\s+"
    r"(?:obtained|provided|submitted|acquired|performed|reviewed|available|presented)\b(?! (?:which|and) )[^.]*\W*",
    re.IGNORECASE,
)


# Parts of words without which no pattern above matches: most sentences have none and are spared the patterns.
_ASIDE_HINTS = (
    *("review", "attending", "signed", "dictated", "transcribed", "wet", "preliminary", "acknowledged", "notified"),
    *("discuss", "communicat", "conveyed", "relayed", "phone", "page", "mail", "informed", "posted", "entered", "dr"),
    *("flagged", "critical", "discovery", "please", "kindly", "see ", "above", "below", "impression", "report", "case"),
    *("comparison", "view", "radiograph", "image", "film", "ray", "projection", "as findings", "see findings"),
)


def spoken_aside(sentence: str) -> bool:
    """Whether the sentence is about the reading, not the picture: dictation, notification, technique."""
    lowered = sentence.lower()
    if not any(hint in lowered for hint in _ASIDE_HINTS):
        return False
    return bool(_BOILERPLATE.search(sentence) or _TECHNIQUE.fullmatch(sentence))
