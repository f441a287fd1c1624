"""Reading the tree: which files there are, and C++ text with its comments and literals taken apart."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE_SUFFIXES = {".h", ".cc", ".cu", ".cuh"}
PROSE_SUFFIXES = {".md", ".cmake", ".proto", ".yaml", ".yml", ".txt", ".sh", ".html", ".js", ".css", ".j2"}
# Folders whose content is data, not our prose.
DATA_FOLDERS = ("tests/fixtures/", "tests/fuzz/corpus/")


def repository_files():
    """Pairs (path, name relative to the root) of what git tracks or does not ignore."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in sorted(set(listed.stdout.splitlines())):
        path = ROOT / name
        if path.is_file():
            yield path, Path(name)


def is_source(name):
    return name.suffix in CODE_SUFFIXES or name.suffix == ".py"


def is_prose(name):
    """A text file that a person reads, beside the sources."""
    if str(name).startswith(DATA_FOLDERS):
        return False
    return name.suffix in PROSE_SUFFIXES or (name.parts[0] in ("scripts", "docker") and name.suffix == "")


# Comments, literals and preprocessor lines; raw strings first, since nothing inside them is a comment.
_LEXEME = re.compile(
    r"""
      (?P<raw>R"(?P<mark>[^()\s\\]{0,16})\(.*?\)(?P=mark)")
    | (?P<line>//[^\n]*)
    | (?P<block>/\*.*?\*/)
    | (?P<text>"(?:\\.|[^"\\\n])*")
    | (?P<char>(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+')
    """,
    re.DOTALL | re.VERBOSE,
)


def _blank(text):
    """As many blanks, with the line ends kept."""
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    """C++ text of the same lines and columns whose comments are blank and whose literals are empty."""

    def replace(match):
        found = match.group(0)
        if match.group("line") or match.group("block"):
            return _blank(found)
        return '"' + _blank(found[1:-1]) + '"'

    return _LEXEME.sub(replace, text)


def code_only(text):
    """without_comments(), with preprocessor lines blank as well."""
    lines = without_comments(text).split("\n")
    continued = False
    for i, line in enumerate(lines):
        if continued or line.lstrip().startswith("#"):
            continued = line.rstrip().endswith("\\")
            lines[i] = " " * len(line)
    return "\n".join(lines)
