"""The code in docs/growing.md, which is run as it stands there."""

import re
from pathlib import Path

CHAPTER = Path(__file__).parent.parent / "docs" / "growing.md"


def code(title, language="python"):
    """The block of the chapter that begins with the comment `title`."""
    blocks = re.findall(
        rf"^```{language}\n(.*?)^```$", CHAPTER.read_text(), re.DOTALL | re.MULTILINE
    )
    (found,) = [block for block in blocks if block.startswith(f"# {title}\n")]
    return found
