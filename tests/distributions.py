"""Check that the wheel and the source distribution have exactly the right files.

Run it as a script with the directory of the distributions. It only needs Python and Git.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Files other than the package and the documentation.
OF_SOURCE = {".gitignore", "LICENSE", "PKG-INFO", "pyproject.toml"}
LICENSES = {"AUTHORS.md", "LICENSE"}


def tracked(*paths):
    """Return the files in the repository below `paths`."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--", *paths], cwd=ROOT, capture_output=True, check=True
    )
    return {name for name in done.stdout.decode().split("\0") if name}


def only(folder, pattern):
    (path,) = Path(folder).glob(pattern)
    return path


def check_wheel(path):
    with zipfile.ZipFile(path) as wheel:
        names = {*wheel.namelist()}
        metadata = wheel.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    info = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    compare("wheel", names - info, tracked("persistent_messages"))
    licenses = {name.partition("/licenses/")[2] for name in info if "/licenses/" in name}
    compare("wheel, licenses", licenses, LICENSES)
    for line in ("Project-URL: Documentation", "License-Expression: BSD-3-Clause", "Author: "):
        assert f"\n{line}" in metadata, f"{path.name}: the metadata lacks {line!r}"


def check_source(path):
    with tarfile.open(path) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    pages = {name for name in tracked("*.md") if "/" not in name}
    expected = tracked("persistent_messages", "docs", "benchmarks/*.md") | pages | OF_SOURCE
    compare("source distribution", names, expected)


def compare(what, found, expected):
    if missing := sorted(expected - found):
        sys.exit(f"The {what} lacks {', '.join(missing)}.")
    if extra := sorted(found - expected):
        sys.exit(f"The {what} has {', '.join(extra)}, too.")
    print(f"The {what} has its {len(found)} files.")


if __name__ == "__main__":
    check_wheel(only(sys.argv[1], "*.whl"))
    check_source(only(sys.argv[1], "*.tar.gz"))
