#!/usr/bin/env python3
"""Draws docs/architecture.svg: the floors of the house and the path of a request through them.

Usage: draw_architecture.py [--check]
The floors and libraries are read from CMake's floor_library calls, so the picture cannot disagree with the build; the
path of a request is PATH below. --check writes nothing and exits 1 when the committed picture is out of date or PATH
names a library that CMake does not have (a test runs it).
"""

import re
import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs/architecture.svg"
SKIPPED_FOLDERS = {"build", "tests"}

FLOOR_NAMES = {
    0: "base",
    1: "kernels | proto",
    2: "models | text | suffix trees",
    3: "engine",
    4: "server",
}
# (library, what happens there), in the order in which a request passes.
PATH = [
    ("http", "read the request from the socket (gRPC: grpc)"),
    ("openai", "parse it, check every field against its bounds"),
    ("sessions", "start a session, render the chat template"),
    ("text", "turn text into token ids"),
    ("engine", "queue, admit, choose rows, write the step's plan"),
    ("speculation", "draft the next tokens from past outputs"),
    ("models", "run the one forward pass"),
    ("kernels", "multiply, attend, draw tokens on the CPU or a GPU"),
    ("engine", "settle the tokens, send events, book the step"),
    ("output", "tokens to text, text to typed items"),
    ("openai", "write the items in the API's format"),
    ("http", "send server-sent events or one answer"),
]

# Pixels. A label of 13 px bold letters needs about 8.4 px a letter; boxes are sized by it.
WIDTH = 1890
BAND_HEIGHT = 92
BAND_GAP = 10
BAND_TOP = 56
BAND_WIDTH = 1470
FLOOR_LABEL_WIDTH = 132
BOX_HEIGHT = 44
BOX_GAP = 10
LETTER_WIDTH = 8.4
BADGE_RADIUS = 9
LEGEND_LEFT = 1510
LEGEND_STEP = 39
BAND_COLOURS = {0: "#eceae4", 1: "#dfe8ee", 2: "#e3eddf", 3: "#f3e6d0", 4: "#ead9e6"}


def floor_libraries():
    """{floor: [library without its prefix]} of every floor_library and grpc_proto_library call."""
    floors = {}
    for lists in sorted(ROOT.rglob("CMakeLists.txt")):
        folder = lists.parent.relative_to(ROOT)
        if folder.parts and folder.parts[0] in SKIPPED_FOLDERS:
            continue
        text = lists.read_text(encoding="utf-8")
        found = [(name, int(floor)) for name, floor in re.findall(r"floor_library\((\w+)\s+FLOOR\s+(\d+)", text)]
        found += [(name, 1) for name in re.findall(r"^grpc_proto_library\((\w+)", text, re.MULTILINE)]
        for name, floor in found:
            if not name.endswith("_bench"):  # benchmarks are on no request's path
                floors.setdefault(floor, []).append(name.removeprefix("coppice_"))
    return floors


def badges_of(library):
    return [number for number, (name, _) in enumerate(PATH, 1) if name == library]


def text(x, y, words, size, weight="normal", anchor="start", colour="#222"):
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}">{escape(words)}</text>'
    )


def badge(x, y, number):
    circle = f'<circle cx="{x:g}" cy="{y:g}" r="{BADGE_RADIUS}" fill="#8a3b12"/>'
    return circle + text(x, y + 4, str(number), 11, "bold", "middle", "#fff")


def box_width(library):
    return max(64, len(library) * LETTER_WIDTH + 18)


def draw_box(x, y, library):
    width = box_width(library)
    parts = [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{BOX_HEIGHT}" rx="5" fill="#fff" stroke="#777"/>',
        text(x + width / 2, y + BOX_HEIGHT / 2 + 5, library, 13, "bold", "middle"),
    ]
    for place, number in enumerate(badges_of(library)):
        parts.append(badge(x + 10 + place * (2 * BADGE_RADIUS + 2), y, number))
    return parts


def draw_band(floor, top, libraries):
    parts = [
        f'<rect x="20" y="{top}" width="{BAND_WIDTH}" height="{BAND_HEIGHT}" rx="8" fill="{BAND_COLOURS[floor]}"/>',
        text(32, top + 26, f"floor {floor}", 12, "normal", "start", "#555"),
    ]
    for line, words in enumerate(FLOOR_NAMES[floor].split(" | ")):
        parts.append(text(32, top + 44 + 15 * line, words, 13, "bold"))
    x = 20 + FLOOR_LABEL_WIDTH
    for library in libraries:
        parts += draw_box(x, top + 30, library)
        x += box_width(library) + BOX_GAP
    return parts, x


def draw_legend():
    parts = [text(LEGEND_LEFT, BAND_TOP - 16, "The path of a request", 16, "bold")]
    for number, (library, words) in enumerate(PATH, 1):
        y = BAND_TOP + 16 + (number - 1) * LEGEND_STEP
        parts.append(badge(LEGEND_LEFT + BADGE_RADIUS, y, number))
        parts.append(text(LEGEND_LEFT + 28, y, library, 13, "bold"))
        parts.append(text(LEGEND_LEFT + 28, y + 16, words, 12, "normal", "start", "#444"))
    return parts


def draw(floors):
    height = BAND_TOP + len(floors) * (BAND_HEIGHT + BAND_GAP) + 24
    parts = [text(20, BAND_TOP - 16, "Floors: a library links only libraries of a lower floor", 16, "bold")]
    for place, floor in enumerate(sorted(floors, reverse=True)):
        band, right = draw_band(floor, BAND_TOP + place * (BAND_HEIGHT + BAND_GAP), floors[floor])
        if right > 20 + BAND_WIDTH:
            raise SystemExit(f"floor {floor} does not fit: {right:g} of {20 + BAND_WIDTH} pixels; widen the picture")
        parts += band
    parts += draw_legend()
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="DejaVu Sans, Arial, sans-serif">'
    )
    background = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"


def main():
    floors = floor_libraries()
    known = {library for libraries in floors.values() for library in libraries}
    unknown = sorted({library for library, _ in PATH} - known)
    if unknown:
        print(f"draw_architecture: CMake has no library {', '.join(unknown)}; mend PATH")
        return 1
    picture = draw(floors)
    if "--check" in sys.argv[1:]:
        if not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != picture:
            print("docs/architecture.svg is out of date; run tools/draw_architecture.py")
            return 1
        return 0
    PICTURE.write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
