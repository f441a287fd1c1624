"""A small SVG of lines over powers of two: the plots of docs/performance."""

import math

COLOURS = ["#1668b0", "#c0492b", "#1f6f4a", "#8a6d1d", "#6b4b9a"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 64, 118, 40, 52


def nice_step(most, count=5):
    raw = most / count
    power = 10 ** math.floor(math.log10(raw))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= raw)


def line_plot(title, x_label, y_label, lines):
    """SVG text. `lines`: (name, colour, dashed, [(x, y), …]) each; x are positive and drawn by their logarithm."""
    places = sorted({x for _, _, _, points in lines for x, _ in points})
    most = max(y for _, _, _, points in lines for _, y in points)
    step = nice_step(most)
    most = math.ceil(most / step) * step
    span = max(1e-9, math.log2(places[-1]) - math.log2(places[0]))

    def across(x):
        return LEFT + (math.log2(x) - math.log2(places[0])) / span * (WIDTH - LEFT - RIGHT)

    def up(y):
        return HEIGHT - BOTTOM - y / most * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{title}</text>',
    ]
    for index in range(round(most / step) + 1):
        y = up(index * step)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{index * step:g}</text>')
    for place in places:
        out.append(f'<text x="{across(place):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{place:,}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{x_label}</text>')
    out.append(f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{y_label}</text>')
    for name, colour, dashed, points in lines:
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        if not dashed:
            out += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>' for x, y in points]
        x, y = points[-1]
        out.append(f'<text x="{across(x) + 8:.1f}" y="{up(y) + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
