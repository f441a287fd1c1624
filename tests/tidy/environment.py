"""What code may not take from its surroundings: the time within the engine, environment variables anywhere.

A simulation replays from a seed only if every clock that the engine reads is its own, and two devices in one process
can differ only if options arrive by argument.
"""

import re

from source import without_comments

CLOCK_FREE = ("engine/",)
# The folders whose code may read environment variables.
MAY_READ_ENVIRONMENT = ("server/app/", "tests/")

_CLOCK = re.compile(
    r"\b(?:steady|system|high_resolution|utc|file)_clock\b(?!\s*::\s*(?:time_point|duration)\b)"
    r"|\b(?:clock_gettime|gettimeofday|timespec_get|__rdtsc)\b|\bstd::time\("
)
_ENVIRONMENT = re.compile(r"\b(?:secure_)?getenv\s*\(|\bextern\s+char\s*\*\*\s*environ\b")


def check_clocks(name, text):
    if not str(name).startswith(CLOCK_FREE):
        return
    for number, line in enumerate(without_comments(text).split("\n"), 1):
        match = _CLOCK.search(line)
        if match:
            yield f"{name}:{number}: {match.group(0)}: time comes from a base::Clock"


def check_environment(name, text):
    if str(name).startswith(MAY_READ_ENVIRONMENT):
        return
    for number, line in enumerate(without_comments(text).split("\n"), 1):
        if _ENVIRONMENT.search(line):
            yield f"{name}:{number}: options arrive by argument, not through the environment"
