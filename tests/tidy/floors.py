"""Which code may include which: floors of the house, and the order of folders within a floor."""

import re

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
# Floors that may not see each other although one is lower.
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
# Within a floor: a folder may include those before it, never one beside or behind it. A file that lies in the floor's
# own folder is not checked.
FOLDER_ORDER = {
    "server": [
        ["access", "config", "hub", "metrics", "net", "output", "scoring", "stored", "work"],
        ["kv_events", "model", "structured"],
        ["prompts"],
        ["corpora"],
        ["sessions"],
        ["responses"],
        ["files"],
        ["batch"],
        ["bench", "grpc", "http"],
        ["app"],
        ["front_bench"],
        ["commands"],
    ],
    "text": [["jinja", "tokenizer"], ["grammar", "output"]],
}


def area_of(path):
    """The FLOORS key that a path relative to the root stands under, or None."""
    text = str(path)
    found = [area for area in FLOORS if text.startswith(area + "/")]
    return max(found, key=len) if found else None


def folder_rank(area, path):
    """(folder, place in FOLDER_ORDER) of a path of an area, or None."""
    parts = str(path)[len(area) + 1 :].split("/")
    for rank, folders in enumerate(FOLDER_ORDER.get(area, [])):
        if len(parts) > 1 and parts[0] in folders:
            return parts[0], rank
    return None


def folder_problem(area, source, target):
    """Why a file of an area may not include another file of it, or None."""
    above, below = folder_rank(area, source), folder_rank(area, target)
    if above is None or below is None or above[0] == below[0] or below[1] < above[1]:
        return None
    return f"{area}/{above[0]} must not know {area}/{below[0]}"


def check_includes(name, text):
    area = area_of(name)
    if area is None:
        return
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include "([^"]+)"', line)
        target = area_of(match.group(1)) if match else None
        if target is None:
            continue
        if target == area:
            problem = folder_problem(area, name, match.group(1))
            if problem:
                yield f"{name}:{number}: {problem}"
        elif FLOORS[target] >= FLOORS[area]:
            yield f"{name}:{number}: floor {FLOORS[area]} ({area}) includes floor {FLOORS[target]} ({target})"
        elif (area, target) in FORBIDDEN:
            yield f"{name}:{number}: {area} must not know {target}"


def check_folders(names):
    """Every folder of an ordered floor has a place in the order."""
    for area, order in FOLDER_ORDER.items():
        known = {folder for folders in order for folder in folders}
        seen = {str(name)[len(area) + 1 :].split("/")[0] for name in names if str(name).startswith(area + "/")}
        folders = {folder for folder in seen if "." not in folder}
        for folder in sorted(folders - known):
            yield f"{area}/{folder}: has no place in tests/tidy/floors.py"
        for folder in sorted(known - folders):
            yield f"tests/tidy/floors.py: there is no {area}/{folder}"
