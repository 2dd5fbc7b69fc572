#!/usr/bin/env python3
"""Fails unless every C++ and CMake block of README.md is taken from a file that a test compiles.

usage: check_readme.py README.md SOURCE...
A block passes when its lines, without indentation and blank lines, follow each other in one source.
"""
import pathlib
import re
import sys


def lines_of(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


def blocks_of(readme):
    return [(kind, lines_of(body))
            for kind, body in re.findall(r"```(cpp|cmake)\n(.*?)```", readme, re.DOTALL)]


def contains(lines, block):
    return any(lines[i:i + len(block)] == block for i in range(len(lines) - len(block) + 1))


def main():
    readme = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    sources = [lines_of(pathlib.Path(path).read_text(encoding="utf-8")) for path in sys.argv[2:]]
    blocks = blocks_of(readme)
    if not blocks:
        sys.exit("README.md has no code block: the check is blind")
    missing = [block for _, block in blocks if not any(contains(s, block) for s in sources)]
    for block in missing:
        print("not in any source that is compiled:\n    " + "\n    ".join(block), file=sys.stderr)
    print(f"{len(blocks) - len(missing)} of {len(blocks)} blocks of README.md are compiled by a test")
    sys.exit(1 if missing else 0)


main()
