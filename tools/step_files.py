#!/usr/bin/env python3
"""Counts the files that a steady CPU decode step crosses.

Usage: step_files.py [--build FOLDER] [--lines] [--without-most N] [--with-most N]
Builds tests/support/steady_steps.cc and the floors below it with --coverage (build/coverage; minutes the first time),
runs it without and with drafts, and lists the files of which the counted steps executed a line, folder by folder. A
header and its source of one stem and folder count as one file; so does a header alone. Of the steps counted, two pages'
worth, the union is taken: taking a page and showing a full one to the prefix cache are part of it; admission, prompts
and ends are not.

Not counted: system headers, tests, and base/, the vocabulary of every file (checks, ids, clock, queues), which is
listed apart. Kernel bodies count once, however many instruction sets they are compiled for.
--lines adds the number of executed lines to each file. With --without-most or --with-most the exit status is 1 if there
are more files than that.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = "steady_steps"
UNCOUNTED_FOLDERS = {"base"}
SKIPPED_FOLDERS = {"tests", "build"}
# gcov reads this many object files at once: a few MB of JSON each.
GCOV_BATCH = 16


def build(folder):
    if not (folder / "build.ninja").exists():
        subprocess.run(["cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
                        "-DCMAKE_CXX_FLAGS=--coverage", "-DCOPPICE_SERVER=OFF", "-DCOPPICE_TESTS=ON",
                        "-DCOPPICE_CUDA=OFF"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", folder, TARGET], check=True, stdout=sys.stderr)


def executed_lines(folder, drafts):
    """{path in the tree: set of executed lines} of the counted steps."""
    for data in folder.rglob("*.gcda"):
        data.unlink()
    program = next(folder.rglob(TARGET))
    said = subprocess.run([program, ROOT / "models/demo", drafts], check=True, capture_output=True, text=True).stdout
    lines = defaultdict(set)
    data = [str(path) for path in sorted(folder.rglob("*.gcda"))]
    for first in range(0, len(data), GCOV_BATCH):
        output = subprocess.run(["gcov", "--json-format", "--stdout", *data[first:first + GCOV_BATCH]], cwd=folder,
                                check=True, capture_output=True, text=True).stdout
        for report in filter(None, output.splitlines()):
            for file in json.loads(report)["files"]:
                path = (folder / file["file"]).resolve()
                if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] not in SKIPPED_FOLDERS:
                    lines[path.relative_to(ROOT)].update(
                        line["line_number"] for line in file["lines"] if line["count"] > 0)
    return said.strip(), {path: found for path, found in lines.items() if found}


def print_folders(lines, with_lines):
    """Prints the stems of each folder. Returns the number of those that count."""
    folders = defaultdict(dict)
    for path, found in lines.items():
        stems = folders[path.parent.as_posix()]
        stems[path.stem] = stems.get(path.stem, 0) + len(found)
    counted = 0
    for folder, stems in sorted(folders.items()):
        counts = folder.split("/")[0] not in UNCOUNTED_FOLDERS
        counted += len(stems) if counts else 0
        names = ", ".join(f"{stem} {stems[stem]}" if with_lines else stem for stem in sorted(stems))
        print(f"  {folder} ({len(stems) if counts else f'{len(stems)}, not counted'}): {names}")
    return counted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build/coverage")
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--without-most", type=int)
    parser.add_argument("--with-most", type=int)
    arguments = parser.parse_args()
    folder = arguments.build.resolve()
    build(folder)
    failed = False
    for drafts, most in (("without", arguments.without_most), ("with", arguments.with_most)):
        said, lines = executed_lines(folder, drafts)
        print(f"{drafts} drafts: {said}")
        counted = print_folders(lines, arguments.lines)
        print(f"  files: {counted}" + (f", at most {most}" if most is not None else ""))
        failed |= most is not None and counted > most
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
