"""How a search compares texts: without case and accents."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

from .plain import plain_text_start

SEARCH_LENGTH = 10_000
"""Characters of a message that a search looks through, names and subject first."""
PLAIN_LENGTH = 300
"""Of a message that has no more, and nothing to fold, the columns are looked through themselves."""

# Accents of Latin, Greek and Cyrillic, vowel signs of Hebrew and Arabic, and what is not seen: soft
# hyphens, joiners, directions.
_IGNORED_CHARACTERS = (
    "\u00ad\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u061c\u0640\u064b-\u065f\u0670\u180e"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
)
_IGNORED = re.compile(f"[{_IGNORED_CHARACTERS}]")
# A character, and what belongs to it: with those, and the parts of Japanese and Korean ones.
_CLUSTER = re.compile(f".[{_IGNORED_CHARACTERS}\u3099\u309a\u1160-\u11ff]*", re.DOTALL)
_APOSTROPHES = str.maketrans({"\N{LEFT SINGLE QUOTATION MARK}": "'", "\u2019": "'"})


# What is compared


def fold(text: str) -> str:
    """Return `text` as a search compares it: spaces as one, in no case, without accents."""
    return " ".join(_fold_characters(text).split())


def _fold_characters(text: str) -> str:
    # That of Unicode for comparing (NFKC, casefold), less the accents. It keeps the spaces.
    if text.isascii():
        return text.lower()
    seen = _IGNORED.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", seen.casefold()).translate(_APOSTROPHES)


@lru_cache(maxsize=16)  # the copies of a message have the same texts
def search_text(subject: str, text: str, *names: str, is_html: bool) -> str:
    """Return what a search looks through, folded, the columns line by line; of `names` each line.

    "" where these say just that themselves, but for upper and lower case: in short ASCII.
    """
    columns = (subject, *names, text)
    is_short = sum(map(len, columns)) <= PLAIN_LENGTH and all(map(str.isascii, columns))
    has_markup = is_html and ("<" in text or "&" in text)
    if is_short and not has_markup and all(_is_one_line(column) for column in (subject, text)):
        return ""
    if is_html:
        text = plain_text_start(text, 5 * SEARCH_LENGTH)
    people = (line for column in names for line in column.splitlines())
    lines = (subject, *people, text[:SEARCH_LENGTH])
    return "\n".join(filter(None, map(fold, lines)))[:SEARCH_LENGTH]


def _is_one_line(text: str) -> bool:
    return text == " ".join(text.split())


# What was found


def find_first_match(text: str, terms: Sequence[str]) -> tuple[int, int] | None:
    """Return where in `text` the first of `terms`, folded ones, begins and ends."""
    folded = _fold_characters(text)
    match = _pattern_of(terms).search(folded)
    if match is None or len(folded) == len(text):
        return match and match.span()
    return next(iter(find_matches(text, terms)), None)


def find_matches(text: str, terms: Sequence[str]) -> list[tuple[int, int]]:
    """Return where in `text` each of `terms`, folded ones, begins and ends, in order."""
    pattern = _pattern_of(terms)
    if text.isascii():
        return [match.span() for match in pattern.finditer(text.lower())]
    # A character may become several, or none, so each place is counted.
    clusters = _CLUSTER.findall(text)
    pieces = [_fold_cluster(cluster) for cluster in clusters]
    place = [number for number, piece in enumerate(pieces) for _ in piece]
    ends = [0, *accumulate(map(len, clusters))]
    return [
        (ends[place[match.start()]], ends[place[match.end() - 1] + 1])
        for match in pattern.finditer("".join(pieces))
    ]


_fold_cluster = lru_cache(maxsize=4096)(_fold_characters)


def _pattern_of(terms: Sequence[str]) -> re.Pattern[str]:
    # The longest first, which has the others in it.
    ordered = sorted(terms, key=len, reverse=True)
    return re.compile("|".join(r"\s+".join(map(re.escape, term.split())) for term in ordered))
