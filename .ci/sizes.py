"""Prints the code lines of tinygrad_edu by folder and by file: a watch over the sizes the design aims at, not a gate.

A code line holds a token that is neither a comment nor part of a docstring.
"""

import ast
import tokenize
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LIMIT = 400
CORE = ("backend", "autograd", "ops")
CORE_LIMIT = 2500
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def docstring_lines(source):
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    lines = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node):
            docstring = node.body[0]
            lines.update(range(docstring.lineno, docstring.end_lineno + 1))
    return lines


def code_lines(path):
    """Return how many lines of the file hold code."""
    lines = set()
    with open(path, "rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in LAYOUT:
                lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstring_lines(path.read_bytes()))


def row(name, count, limit=None):
    print(f"{count:7,}  {name}" + (f"  <-- over {limit:,}" if limit and count > limit else ""))


def main():
    folders = defaultdict(dict)  # folder -> file -> code lines
    for path in sorted((ROOT / "tinygrad_edu").rglob("*.py")):
        inside = path.relative_to(ROOT / "tinygrad_edu")
        folders[inside.parts[0] if len(inside.parts) > 1 else "."][inside.as_posix()] = code_lines(path)

    print("  lines  code of tinygrad_edu, without blanks, comments and docstrings")
    for folder, files in folders.items():
        row(folder, sum(files.values()))
        for name, count in files.items():
            row("    " + name, count, FILE_LIMIT)
    totals = {folder: sum(files.values()) for folder, files in folders.items()}
    row(" + ".join(CORE), sum(totals.get(folder, 0) for folder in CORE), CORE_LIMIT)
    row("all", sum(totals.values()))


if __name__ == "__main__":
    main()
