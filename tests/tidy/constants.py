"""Numeric constants: each says its unit and reason on its line or directly above.

A comment above a run of constants on consecutive lines counts for all of them. Only production code is checked: a
test's numbers are read beside what they test.
"""

import re

from source import without_comments

_NUMERIC = (
    r"(?:std::)?(?:u?int(?:8|16|32|64|ptr)?(?:_t)?|size_t|ptrdiff_t|unsigned(?:\s+\w+)?|long|short|float|double|auto)"
    r"|(?:std::chrono::|chrono::)?(?:nano|micro|milli)?seconds|(?:std::chrono::)?(?:minutes|hours|days)"
    r"|\w*(?:Id|Slot)|char32_t"
)
_CONSTANT = re.compile(
    rf"^\s*(?:static\s+|inline\s+|__device__\s+)*(?:constexpr|const)\s+(?:static\s+|inline\s+)*"
    rf"(?:{_NUMERIC}|std::array<(?:{_NUMERIC}),[^;=]*>)\s+k[A-Z]\w*\s*(?:\[[^\]]*\]\s*)?(?:=|\{{|$)"
)
# `auto` hides a number if the value starts like one.
_AUTO = re.compile(r"\bauto\b")
_NUMBER = re.compile(r"=\s*(?:-?[\d.]|k[A-Z]|static_cast<|std::numeric_limits<)")


def _constants(lines):
    """For each line, whether it begins or continues a numeric constant."""
    marks = ["" for _ in lines]
    open_statement = False
    for i, line in enumerate(lines):
        if open_statement:
            marks[i] = "continues"
        elif _CONSTANT.match(line) and (not _AUTO.search(line) or _NUMBER.search("".join(lines[i : i + 2]))):
            marks[i] = "begins"
        else:
            continue
        open_statement = ";" not in line
    return marks


def uncommented_constants(text):
    """Yields (line number, name) of each numeric constant without a comment."""
    lines = text.split("\n")
    code = without_comments(text).split("\n")
    marks = _constants(code)
    for i, mark in enumerate(marks):
        if mark != "begins":
            continue
        last = i
        while last + 1 < len(marks) and marks[last + 1] == "continues":
            last += 1
        if any("//" in lines[at][len(code[at].rstrip()) :] for at in range(i, last + 1)):
            continue
        above = i - 1
        while above >= 0 and marks[above]:
            above -= 1
        if above < 0 or not lines[above].lstrip().startswith("//"):
            yield i + 1, re.search(r"\bk[A-Z]\w*", code[i]).group(0)


def check_constants(name, text):
    for line, constant in uncommented_constants(text):
        yield f"{name}:{line}: {constant} needs its unit and reason on the line or directly above"
