"""Sizes and shapes of files and functions."""

import re
import shutil
import subprocess

from source import ROOT

FILE_LINES_MAX = 500
SCRIPT_LINES_MAX = 1000  # a tool in Python is one file that a person runs
HEADER_LINES_MAX = 250
FUNCTION_LINES_MAX = 70
TEST_FUNCTION_LINES_MAX = 90  # a test is read from top to bottom
COLUMNS_MAX = 120
NOT_A_FUNCTION = ("namespace", "class", "struct", "enum", "union", "extern", "#", "using", "template")
# The words are put together here so that this file does not contain them.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")


def check_functions(name, lines):
    """Functions at namespace scope: from the line that opens a brace at depth 0 to the brace in column 0."""
    start = None
    most = TEST_FUNCTION_LINES_MAX if str(name).startswith("tests/") else FUNCTION_LINES_MAX
    for number, line in enumerate(lines, 1):
        if start is None and re.match(r"[A-Za-z_].*(\{|\(|,)$", line) and not line.startswith(NOT_A_FUNCTION):
            start = number
        if line.startswith("}"):
            is_function = line == "}"
            if start is not None and is_function and number - start + 1 > most:
                yield f"{name}:{start}: function of {number - start + 1} lines (at most {most})"
            start = None
        elif line.endswith(";") and start is not None and not line.startswith((" ", "\t")):
            start = None


def check_layout(name, text):
    lines = text.splitlines()
    limits = {".h": HEADER_LINES_MAX, ".cuh": HEADER_LINES_MAX, ".py": SCRIPT_LINES_MAX}
    limit = limits.get(name.suffix, FILE_LINES_MAX)
    if len(lines) > limit:
        yield f"{name}: {len(lines)} lines (at most {limit})"
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX and 'R"' not in line:  # JSON and templates in raw strings stay on their line
            yield f"{name}:{number}: {len(line)} columns (at most {COLUMNS_MAX})"
        if line != line.rstrip():
            yield f"{name}:{number}: trailing blank"
        if UNFINISHED.search(line):
            yield f"{name}:{number}: unfinished work is an issue, not a comment"
        if "using namespace" in line and name.suffix in {".h", ".cc"} and not line.lstrip().startswith("//"):
            yield f"{name}:{number}: using namespace"
    if "\r" in text:
        yield f"{name}: carriage returns"
    if text and not text.endswith("\n"):
        yield f"{name}: no newline at the end"
    if name.suffix in {".h", ".cuh", ".cc", ".cu"} and not (lines and (lines[0].startswith("//"))):
        yield f"{name}: a file opens with a comment saying what it is for"
    if name.suffix == ".cc":
        yield from check_functions(name, lines)


def check_format(names):
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if tool is None:
        return ["clang-format is missing (scripts/setup --tests installs it)"]
    sources = [str(name) for name in names if name.suffix in {".h", ".cc", ".cu", ".cuh"}]
    command = [tool, "--dry-run", "-Werror", *sources]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return sorted(
        {
            line.split(": error")[0] + ": not as clang-format would have it"
            for line in done.stderr.splitlines()
            if ": error" in line
        }
    )
