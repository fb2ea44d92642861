"""Update the list of files in docs/ARCHITECTURE.md: one line per file, from its docstring.

python -m tools.file_list
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "ARCHITECTURE.md"
PACKAGES = ("s3pot", "s3pot_synthetic", "s3pot_mini")
START, END = "<!-- files -->\n", "<!-- end of files -->"


def first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=[.?])\s", paragraph)[0].replace("|", "\\|")


def file_list() -> str:
    """Format all files of the packages as Markdown tables, one for each folder."""
    tables = []
    for package in PACKAGES:
        folders = sorted({path.parent for path in (ROOT / package).rglob("*.py")})
        for folder in folders:
            files = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
            about = first_sentence(folder / "__init__.py")
            name = folder.relative_to(ROOT).as_posix()
            rows = [
                f"| [`{path.name}`](../{name}/{path.name}) | {first_sentence(path)} |\n"
                for path in files
            ]
            tables.append(
                f"### `{name}/`\n\n{about}\n\n| file | content |\n|---|---|\n{''.join(rows)}\n"
            )
    return "".join(tables)


def updated(text: str) -> str:
    """Return the document with the current list.

    Raises:
        ValueError: The document has no place for the list.
    """
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"{DOCUMENT} has no lines {START.strip()} and {END}.")
    return f"{before}{START}\n{file_list()}{END}{after}"


def main(argv: list[str] | None = None) -> int:
    """Write the document and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.file_list",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(argv)
    DOCUMENT.write_text(updated(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
