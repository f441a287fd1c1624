"""The house rules that a machine can keep. Run by ctest (label tidy); needs Python's standard library and clang-format.

    python3 tests/tidy/tidy.py            check the tree; print the problems, then what was counted
    python3 tests/tidy/tidy.py --largest  print the largest classes and interfaces too

Every file that git tracks or does not ignore is checked. Each rule has a module beside this one, which says what it
wants and why: layout, floors, classes, constants, environment, words.
"""

import sys

import classes
import constants
import environment
import floors
import layout
import words
from source import CODE_SUFFIXES, is_prose, is_source, repository_files

LARGEST_COUNT = 10


def checks_of(name, text, sizes):
    """Pairs (check, problems) for one file."""
    if is_source(name) or is_prose(name):
        yield "words", words.check_words(name, text)
    if is_source(name):
        yield "layout", layout.check_layout(name, text)
    if name.suffix in CODE_SUFFIXES:
        yield "floors", floors.check_includes(name, text)
        yield "classes", classes.check_classes(name, text, sizes)
        yield "clocks", environment.check_clocks(name, text)
        yield "environment", environment.check_environment(name, text)
        if floors.area_of(name):
            yield "constants", constants.check_constants(name, text)


def print_counts(sizes, counts):
    production = [(name, size) for name, size in sizes if floors.area_of(name)]
    most_members = max((len(size.members) for _, size in production), default=0)
    most_methods = max((len(size.methods) for _, size in production), default=0)
    most_virtuals = max((len(size.virtuals) for _, size in production), default=0)
    print(f"tidy: {len(production)} classes and structs; most members {most_members}, methods {most_methods}, "
          f"virtual functions {most_virtuals}")
    print("tidy: " + ", ".join(f"{check} {count}" for check, count in sorted(counts.items())))


def print_largest(sizes):
    production = [(name, size) for name, size in sizes if floors.area_of(name)]
    for what in ("members", "methods", "virtuals"):
        print(f"most {what}:")
        largest = sorted(production, key=lambda entry: -len(getattr(entry[1], what)))
        for name, size in largest[:LARGEST_COUNT]:
            numbers = f"{len(size.members):3} members {len(size.methods):3} methods {len(size.virtuals):3} virtual"
            print(f"  {numbers}  {size.name} ({name}:{size.line})")


def main():
    problems = []
    sizes = []
    counts = {}
    names = []
    for path, name in repository_files():
        if not (is_source(name) or is_prose(name)):
            continue
        names.append(name)
        text = path.read_text(encoding="utf-8")
        for check, found in checks_of(name, text, sizes):
            found = list(found)
            counts[check] = counts.get(check, 0) + len(found)
            problems.extend(found)
    problems.extend(floors.check_folders(names))
    problems.extend(layout.check_format(names))
    for problem in problems:
        print(problem)
    if "--largest" in sys.argv:
        print_largest(sizes)
    print_counts(sizes, counts)
    print(f"tidy: {len(names)} files, {len(problems)} problems")
    return 1 if problems or not names else 0


if __name__ == "__main__":
    sys.exit(main())
