"""Fold texts for a search that ignores case and accents, and find matches."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

from .plain import plain_text_start

SEARCH_LENGTH = 10_000
"""The number of characters of a message that are searched, subject and names first."""
PLAIN_LENGTH = 300
"""Up to this length, plain ASCII messages have no `search_text`; their columns are searched."""

# Accents of Latin, Greek and Cyrillic, vowel signs of Hebrew and Arabic, and invisible characters:
# soft hyphens, joiners and direction marks.
_IGNORED_CHARACTERS = (
    "\u00ad\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u061c\u0640\u064b-\u065f\u0670\u180e"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
)
_IGNORED = re.compile(f"[{_IGNORED_CHARACTERS}]")
# A character with its combining characters, including Japanese sound marks and Korean jamo.
_CLUSTER = re.compile(f".[{_IGNORED_CHARACTERS}\u3099\u309a\u1160-\u11ff]*", re.DOTALL)
_APOSTROPHES = str.maketrans({"\N{LEFT SINGLE QUOTATION MARK}": "'", "\u2019": "'"})


# Folding


def fold(text: str) -> str:
    """Return `text` case-folded, without accents, and with single spaces."""
    return " ".join(_fold_characters(text).split())


def _fold_characters(text: str) -> str:
    # Unicode's normalization for comparisons (NFKC and casefold), without accents. Keeps spaces.
    if text.isascii():
        return text.lower()
    seen = _IGNORED.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", seen.casefold()).translate(_APOSTROPHES)


@lru_cache(maxsize=16)  # the copies of a message have the same texts
def search_text(subject: str, text: str, *names: str, is_html: bool) -> str:
    """Return the folded text to search, with a line for each column and each line of `names`.

    Returns "" if the columns themselves can be searched: short ASCII texts that differ from their
    folded form only in case.
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


# Matches


def find_first_match(text: str, terms: Sequence[str]) -> tuple[int, int] | None:
    """Return the start and end of the first match of the folded `terms` in `text`, or None."""
    folded = _fold_characters(text)
    match = _pattern_of(terms).search(folded)
    if match is None or len(folded) == len(text):
        return match and match.span()
    return next(iter(find_matches(text, terms)), None)


def find_matches(text: str, terms: Sequence[str]) -> list[tuple[int, int]]:
    """Return the start and end of each match of the folded `terms` in `text`, in order."""
    pattern = _pattern_of(terms)
    if text.isascii():
        return [match.span() for match in pattern.finditer(text.lower())]
    # Folding may turn a character into several or none, so map positions back to `text`.
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
    # The longest first, because it may contain others.
    ordered = sorted(terms, key=len, reverse=True)
    return re.compile("|".join(r"\s+".join(map(re.escape, term.split())) for term in ordered))
