"""The house rules that a machine can keep. Run by ctest (label tidy); needs Python's standard library and clang-format.

Checks every source file that git tracks or does not ignore: floors (an include may name only a lower floor), file and
function sizes, line lengths, opening comments, banned words, formatting.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES_MAX = 500
SCRIPT_LINES_MAX = 1000  # a tool in Python is one file that a person runs
HEADER_LINES_MAX = 250
FUNCTION_LINES_MAX = 70
TEST_FUNCTION_LINES_MAX = 90  # a test is read from top to bottom
COLUMNS_MAX = 120
NOT_A_FUNCTION = ("namespace", "class", "struct", "enum", "union", "extern", "#", "using", "template")
# The words are put together here so that this file does not contain them.
BANNED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")

# Folder -> floor. The longest matching prefix counts. Tests and tools may see everything.
FLOORS = {
    "base": 0,
    "kernels": 1,
    "proto": 1,
    "models": 2,
    "text": 2,
    "engine": 3,
    "engine/speculation": 2,
    "server": 4,
}
# Floors that may not see each other although one is lower, with the reason in docs/architecture.md.
FORBIDDEN = [
    ("engine", "text"),
    ("engine", "proto"),
    ("engine/speculation", "kernels"),
    ("models", "text"),
    ("text", "models"),
    ("models", "proto"),
    ("text", "proto"),
    ("text", "kernels"),
    ("kernels", "proto"),
    ("proto", "kernels"),
]


def area_of(path):
    """The FLOORS key that a path relative to the root stands under, or None."""
    text = str(path)
    found = [area for area in FLOORS if text.startswith(area + "/")]
    return max(found, key=len) if found else None


def source_files():
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".h", ".cc", ".cu", ".cuh", ".py"} and path.is_file():
            yield path, Path(name)


def check_includes(name, lines):
    area = area_of(name)
    if area is None:
        return
    for number, line in enumerate(lines, 1):
        match = re.match(r'\s*#include "([^"]+)"', line)
        if not match:
            continue
        target = area_of(match.group(1))
        if target is None:
            continue
        if target != area and FLOORS[target] >= FLOORS[area]:
            yield f"{name}:{number}: floor {FLOORS[area]} ({area}) includes floor {FLOORS[target]} ({target})"
        elif (area, target) in FORBIDDEN:
            yield f"{name}:{number}: {area} must not know {target}"


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


def check_file(path, name):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    problems = []
    limits = {".h": HEADER_LINES_MAX, ".cuh": HEADER_LINES_MAX, ".py": SCRIPT_LINES_MAX}
    limit = limits.get(path.suffix, FILE_LINES_MAX)
    if len(lines) > limit:
        problems.append(f"{name}: {len(lines)} lines (at most {limit})")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX and 'R"' not in line:  # JSON and templates in raw strings stay on their line
            problems.append(f"{name}:{number}: {len(line)} columns (at most {COLUMNS_MAX})")
        if line != line.rstrip():
            problems.append(f"{name}:{number}: trailing blank")
        if BANNED.search(line):
            problems.append(f"{name}:{number}: unfinished work is an issue, not a comment")
        if "using namespace" in line and path.suffix in {".h", ".cc"} and not line.lstrip().startswith("//"):
            problems.append(f"{name}:{number}: using namespace")
    if "\r" in text:
        problems.append(f"{name}: carriage returns")
    if text and not text.endswith("\n"):
        problems.append(f"{name}: no newline at the end")
    if path.suffix in {".h", ".cuh", ".cc", ".cu"} and not (lines and (lines[0].startswith("//"))):
        problems.append(f"{name}: a file opens with a comment saying what it is for")
    if path.suffix in {".h", ".cc"}:
        problems.extend(check_includes(name, lines))
    if path.suffix == ".cc":
        problems.extend(check_functions(name, lines))
    return problems


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


def main():
    problems = []
    files = list(source_files())
    if not files:
        print("tidy: no source files found")
        return 1
    for path, name in files:
        problems.extend(check_file(path, name))
    problems.extend(check_format([name for _, name in files]))
    for problem in problems:
        print(problem)
    print(f"tidy: {len(files)} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
