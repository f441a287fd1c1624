#!/usr/bin/env python3
"""Writes text/jinja/unicode_tables.cc: the character classes and case mappings that Python's str methods use.

Chat templates are rendered with Python's semantics, so the tables come from Python itself (CPython 3.11, Unicode 14).
Usage: make_template_unicode.py > text/jinja/unicode_tables.cc
"""

import unicodedata

BITS = [
    ("alpha", str.isalpha),
    ("decimal", str.isdecimal),
    ("digit", str.isdigit),
    ("numeric", str.isnumeric),
    ("printable", str.isprintable),
    ("lower", str.islower),
    ("upper", str.isupper),
    ("title", lambda c: unicodedata.category(c) == "Lt"),
]


def class_runs():
    runs, previous = [], None
    for code in range(0x110000):
        char = chr(code)
        bits = sum(1 << i for i, (_, test) in enumerate(BITS) if test(char))
        if bits != previous:
            runs.append((code, bits))
            previous = bits
    return runs


def mapping(convert, base):
    """What `convert` does to single characters, where it does not do what `base` does."""
    single, special = [], []
    for code in range(0x110000):
        image = convert(chr(code))
        if image == base(chr(code)):
            continue
        if len(image) == 1:
            single.append((code, ord(image) - code))
        else:
            special.append((code, [ord(c) for c in image] + [0] * (3 - len(image))))
    return ranges(single), special


def ranges(pairs):
    """(first, last, stride, delta) runs, greedily, with stride 1 or 2."""
    result, i = [], 0
    while i < len(pairs):
        best = (i, 1)
        for stride in (1, 2):
            j = i
            while j + 1 < len(pairs) and pairs[j + 1] == (pairs[j][0] + stride, pairs[i][1]):
                j += 1
            if j > best[0]:
                best = (j, stride)
        last, stride = best
        result.append((pairs[i][0], pairs[last][0], stride, pairs[i][1]))
        i = last + 1
    return result


def write_array(declaration, items):
    print(declaration + " = {{")
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > 118:
            print(line)
            line = "   "
        line += f" {item},"
    print(line)
    print("}};\n")


def main():
    print(
        "// Character classes and case mappings of Unicode "
        + unicodedata.unidata_version
        + ", as Python's str methods see"
    )
    print("// them. Written by tools/make_template_unicode.py; do not edit.")
    print('#include "text/jinja/unicode_tables.h"\n')
    print("namespace coppice::text::unicode_tables {\n")
    print("// clang-format off")
    runs = class_runs()
    write_array(f"const std::array<std::uint32_t, {len(runs)}> kClassRuns", [f"0x{c << 8 | b:X}" for c, b in runs])
    for name, convert, base in (
        ("Upper", str.upper, str),
        ("Lower", str.lower, str),
        ("Title", str.title, str.upper),
    ):
        single, special = mapping(convert, base)
        write_array(
            f"const std::array<CaseRange, {len(single)}> k{name}Ranges",
            [f"{{0x{a:X},0x{b:X},{s},{d}}}" for a, b, s, d in single],
        )
        write_array(
            f"const std::array<CaseSpecial, {len(special)}> k{name}Specials",
            [f"{{0x{c:X},{{0x{i[0]:X},0x{i[1]:X},0x{i[2]:X}}}}}" for c, i in special],
        )
    print("// clang-format on")
    print("\n}  // namespace coppice::text::unicode_tables")


if __name__ == "__main__":
    main()
