"""The code blocks of the documentation."""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md"))]

# The first line of a block may name its file and the version of Django that it needs.
_FILE = re.compile(
    r"(?:#|\{#) (?P<path>[\w/.]+\.\w+)(?:: [^\n]*)?"
    r"(?: \(Django (?P<django>[\d.]+) or newer\))?(?: #\})?\n"
)


@dataclass(frozen=True)
class Block:
    """A code block."""

    page: str
    line: int
    language: str
    text: str

    @property
    def path(self):
        """The path of the file, or ""."""
        found = _FILE.match(self.text)
        return found["path"] if found else ""

    @property
    def django(self):
        """The version of Django that it requires."""
        found = _FILE.match(self.text)
        version = found["django"] if found and found["django"] else "0"
        return tuple(map(int, version.split(".")))

    @property
    def place(self):
        """Its place, so that the lines in tracebacks are those of the page."""
        return f"{self.page}:{self.line}"

    def __str__(self):
        return self.place


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def read(name):
    """Return the text of a page by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks_of(page):
    """Return the code blocks of a page, without Sphinx directives."""
    for token in MarkdownIt().parse(read(name_of(page))):
        if token.type in ("fence", "code_block") and not token.info.startswith("{"):
            yield Block(name_of(page), token.map[0] + 1, token.info, token.content)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def blocks_in(*languages):
    return [block for block in BLOCKS if block.language in languages]


def first_column(name, heading=""):
    """Return the code in the first cell of each table row below a heading of a page."""
    text = read(name)
    text = text[text.index(heading) :] if heading else text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [re.split(r"(?<!\\)\|", line)[1] for line in rows]
    return [code for cell in cells for code in re.findall("`([^`]+)`", cell)]
