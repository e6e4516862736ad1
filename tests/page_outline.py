"""An HTML page as a browser would read it, for tests of the pages the project writes."""

import re
from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "rect"}
"""Tags that are never closed."""


class Outline(HTMLParser):
    """Reads a page as a browser would: tags, attributes, headings, text; every tag must be closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.headings: list[int] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(page)
        assert not self._open
        self.text = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += f"{data} "
