#!/usr/bin/env python3
"""Turn the results of scripts/gpu-check into docs/performance/h200: README.md, results.json and SVG plots.

Usage:
    gpu_report.py RESULTS... --out FOLDER      # RESULTS: folders with facts.json and results.jsonl; of a step that is
                                               # in several, the last one counts
    gpu_report.py --out FOLDER                 # nothing measured yet: the page with goals and empty tables
Needs Python's standard library alone: it also runs at the end of scripts/gpu-check, on the machine that was measured.
"""

import argparse
import json
import math
import os
import sys

FLASH_ROWS = ["256_256", "128_512", "64_1024", "32_2048", "16_4096", "8_8192", "4_16384", "2_32768", "1_65536",
              "1_131072"]  # fmt: skip
HEADS = ["32/32", "16/8", "32/8", "64/8"]
UNSHARED_TREES = ("256_1024", "256_4096")
LARGE_KV = 64e6  # bytes from which the goal for bandwidth holds
COLOURS = ["#1668b0", "#c0492b", "#3b8f4a", "#7b52a8", "#b8860b", "#555555"]

COMMANDS = """```
scripts/gpu-check pack                       # with nvcc: build/gpu-check.tar.gz; copy it to the GPU machine, there:
tar -xzf gpu-check.tar.gz
gpu-check/run                                # all stages, at most nine minutes
RESULTS=gpu-check/grid gpu-check/run engine-grid    # every batch size and prefix, a second run of nine minutes
# back in the checkout:
tools/gpu_report.py gpu-check/results gpu-check/grid --out docs/performance/h200
```"""


class Results:
    """Steps by name, of all folders."""

    def __init__(self, folders):
        self.facts = []
        self.steps = {}
        self.broken = []
        for folder in folders:
            with open(os.path.join(folder, "facts.json"), encoding="utf-8") as file:
                self.facts.append(json.load(file))
            with open(os.path.join(folder, "results.jsonl"), encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    try:
                        step = json.loads(line)
                        self.steps[step["name"]] = step
                    except (json.JSONDecodeError, KeyError, TypeError):
                        self.broken.append(f"{folder}/results.jsonl:{number}")

    def objects(self, name):
        return self.steps.get(name, {}).get("results", [])

    def one(self, name):
        found = self.objects(name)
        return found[-1] if found else {}

    def to_json(self):
        return {"facts": self.facts, "steps": list(self.steps.values())}


def number(value, form=",.1f"):
    return "" if value is None else format(value, form)


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values)) if values else None


def verdict(met, measured):
    return "not measured" if not measured else "**met**" if met else "**not met**"


def goal(text, met, measured, detail=""):
    """One line of a list; `detail` is told only where something was measured."""
    return f"- Goal: {text}: {verdict(met, measured)}{f' ({detail})' if measured and detail else ''}."


def facts_section(results):
    if not results.facts:
        return ("**Nothing has been measured yet: no H200 was at hand.** The tables below are empty on purpose; "
                "nothing is estimated into them.")  # fmt: skip
    rows = []
    for facts in results.facts:
        rows.append([facts.get("date", ""), f"`{facts.get('command', '')}`", facts.get("gpu", ""),
                     facts.get("driver", ""), facts.get("memory", ""), facts.get("power_limit", ""),
                     facts.get("cores", ""), facts.get("torch", "") or "none",
                     f"`{facts.get('commit', '')[:12]}`"])  # fmt: skip
    text = table(["date", "command", "GPU", "driver", "memory", "power limit", "cores", "PyTorch", "commit"], rows)
    if any(facts.get("tiny") or facts.get("device") != "cuda" for facts in results.facts):
        text = "**These are results of a stand-in run, not of a GPU.**\n\n" + text
    if results.broken:
        text += "\n\nLines that could not be read: " + ", ".join(results.broken) + "."
    return text


def steps_section(results):
    rows = []
    for step in results.steps.values():
        if "skipped" in step:
            rows.append([step["name"], "", f"left out: {step['skipped']}"])
            continue
        if step["exit"] == 0:
            state = "ok"
        elif step.get("timed_out"):
            state = f"stopped at its time limit, with {len(step['results'])} results"
        else:
            state = f"failed with exit code {step['exit']}"
        rows.append([step["name"], step["seconds"], state + (" (optional)" if step.get("optional") else "")])
    return table(["step", "seconds", "outcome"], rows)


def machine_section(results):
    rows = []
    for name, title in (("machine", "as built"), ("machine-wgmma", "`COPPICE_CUDA_WGMMA=1`")):
        machine = results.one(name)
        rows.append([title, number(machine.get("read_gb_per_s")), number(machine.get("copy_gb_per_s")),
                     number(machine.get("bf16_gflops"), ",.0f"), machine.get("isa", "")])  # fmt: skip
    return table(["", "read, GB/s", "copy, GB/s (read + written)", "bf16, GFLOP/s", "by what"], rows)


def forecasts():
    """Case -> microseconds that tools/attention_model predicts: (batch x length) and (tree, heads)."""
    here = os.path.dirname(os.path.abspath(__file__))
    for path in (os.path.join(here, "forecast.md"), os.path.join(here, "../docs/performance/h200/forecast.md")):
        if os.path.exists(path):
            break
    else:
        return {}
    found = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            try:
                if " x " in cells[0]:
                    found[cells[0]] = float(cells[1])
                elif "_" in cells[0] and cells[1] in HEADS:
                    found[cells[0], cells[1]] = float(cells[2])
            except (IndexError, ValueError):
                continue  # prose
    return found


FORECASTS = forecasts()


def torch_us(entry, backend):
    return (entry or {}).get(backend, {}).get("us")


def kv_bytes(tree, key_heads, dim):
    nodes, tokens = ([int(x) for x in part.split(",")] for part in tree.split("_"))
    return sum(n * t for n, t in zip(nodes, tokens)) * key_heads * dim * 2 * 2


def flash_rows(results):
    """A dictionary a row: what was found, joined by tree."""
    ours = {entry["tree"]: entry for entry in results.objects("flash")}
    theirs = {entry["tree"]: entry for entry in results.objects("flash-torch")}
    copy = results.one("machine").get("copy_gb_per_s")
    rows = []
    for tree in [*FLASH_ROWS, *(tree for tree in ours if tree not in FLASH_ROWS)]:
        own = ours.get(tree, {})
        us = min((own[key] for key in ("us", "us_unshared") if key in own), default=None)
        row = {"tree": tree, "us": us, "kv": kv_bytes(tree, 2, own.get("head_dim", 128))}
        row["gb_per_s"] = own["bytes_min"] / us * 1e-3 if us else None
        row["of_copy"] = row["gb_per_s"] / copy if us and copy else None
        for backend in ("flash", "cudnn"):
            row[backend] = torch_us(theirs.get(tree), backend)
        other = [row[backend] for backend in ("flash", "cudnn") if row[backend]]
        row["ratio"] = min(other) / us if us and other else None
        row["error"] = own.get("max_rel_error")
        rows.append(row)
    return rows


def flash_section(results):
    rows = flash_rows(results)
    large = [row["of_copy"] for row in rows if row["of_copy"] and row["kv"] >= LARGE_KV]
    ratios = [row["ratio"] for row in rows if row["ratio"]]
    text = table(
        ["batch x length", "predicted, us", "us", "GB/s", "of the copy bandwidth", "PyTorch flash, us",
         "PyTorch cuDNN, us", "best PyTorch / ours", "error"],
        [[row["tree"].replace("_", " x "), number(FORECASTS.get(row["tree"].replace("_", " x "))),
          number(row["us"]), number(row["gb_per_s"]), number(row["of_copy"], ".2f"),
          number(row["flash"]), number(row["cudnn"]), number(row["ratio"], ".2f"), number(row["error"], ".1e")]
         for row in rows])  # fmt: skip
    least, slowest = min(large, default=0), min(ratios, default=0)
    goals = [
        goal("at least 0.85 of the copy bandwidth measured in the same run from 64 MB of K and V on", least >= 0.85,
             large, f"least {least:.2f}"),
        goal("no row slower than PyTorch", slowest >= 1, ratios, f"least ratio {slowest:.2f}"),
    ]  # fmt: skip
    return text + "\n\n" + "\n".join(goals)


def tree_rows(results):
    theirs = {(entry["tree"], entry["heads"]): entry for entry in results.objects("trees-torch")}
    rows = []
    for own in results.objects("trees"):
        row = {"tree": own["tree"], "heads": own["heads"], "left_out": own.get("left_out")}
        row["us"], row["us_unshared"] = own.get("us"), own.get("us_unshared")
        row["error"] = own.get("max_rel_error")
        row["flash"] = torch_us(theirs.get((own["tree"], own["heads"])), "flash")
        row["ratio"] = row["us_unshared"] / row["us"] if row["us"] else None
        row["torch_ratio"] = row["flash"] / row["us"] if row["us"] and row["flash"] else None
        rows.append(row)
    return rows


def trees_section(results):
    rows = tree_rows(results)
    shared = [row for row in rows if row["ratio"] and row["tree"] not in UNSHARED_TREES]
    own_mean = geometric_mean([row["ratio"] for row in rows if row["ratio"]])
    torch_mean = geometric_mean([row["torch_ratio"] for row in rows if row["torch_ratio"]])
    alone = [row["ratio"] for row in rows if row["ratio"] and row["tree"] in UNSHARED_TREES]
    text = table(
        ["tree", "heads", "predicted, us", "shared, us", "unshared, us",
         "unshared / shared", "PyTorch flash, us", "PyTorch / shared",
         "error"],
        [[f"`{row['tree']}`", row["heads"], number(FORECASTS.get((row["tree"], row["heads"]))),
          row["left_out"] or number(row["us"]), number(row["us_unshared"]),
          number(row["ratio"], ".2f"), number(row["flash"]), number(row["torch_ratio"], ".2f"),
          number(row["error"], ".1e")] for row in rows])  # fmt: skip
    means = [[heads,
              number(geometric_mean([r["ratio"] for r in rows if r["ratio"] and r["heads"] == heads]), ".2f"),
              number(geometric_mean([r["ratio"] for r in shared if r["heads"] == heads]), ".2f"),
              number(geometric_mean([r["torch_ratio"] for r in rows if r["torch_ratio"] and r["heads"] == heads]),
                     ".2f")] for heads in HEADS]  # fmt: skip
    goals = [
        goal("at least 2 over our own unshared plan", own_mean and own_mean >= 2, own_mean,
             f"{number(own_mean, '.2f')} over {len([row for row in rows if row['ratio']])} settings"),
        goal("at least 2 over PyTorch's flash attention, which shares nothing", torch_mean and torch_mean >= 2,
             torch_mean, number(torch_mean, ".2f")),
        goal("`256_1024` and `256_4096` within 2 % of unshared", alone and min(alone) >= 0.98, alone,
             f"least ratio {min(alone, default=0):.3f}"),
    ]  # fmt: skip
    return text + "\n\nGeometric means:\n\n" + table(
        ["heads", "unshared / shared", "without the two trees that share nothing", "PyTorch flash / shared"], means
    ) + "\n\n" + "\n".join(goals)  # fmt: skip


def engine_points(results, model):
    """(requests, prefix, sharing) -> point; and requests -> the bound's point."""
    points, bounds = {}, {}
    for prefix in ("engine", "engine-grid"):
        for point in results.objects(f"{prefix}-{model}"):
            points[point["requests"], point["shared_prefix"], point["sharing"]] = point
        for point in results.objects(f"{prefix}-{model}-bound"):
            bounds[point["requests"]] = point
    return points, bounds


def rate(point):
    return point["decode_tokens_per_s"] if point and point.get("decode_steps", 0) > 0 else None


def engine_section(results, model):
    points, bounds = engine_points(results, model)
    prefixes = sorted({key[1] for key in points}) or [1024, 2048, 4096, 8192, 16384]
    requests = sorted({key[0] for key in points} | set(bounds)) or [32, 64, 128, 256, 512, 1024]
    rows = []
    for count in requests:
        for sharing in (True, False):
            cells = [number(rate(points.get((count, prefix, sharing))), ",.0f") for prefix in prefixes]
            rows.append([count, "on" if sharing else "off", *cells, number(rate(bounds.get(count)), ",.0f")])
    text = table(["batch", "sharing", *(f"{prefix:,}" for prefix in prefixes), "without attention"], rows)
    most = max(requests)
    first, last = (rate(points.get((most, prefix, True))) for prefix in (prefixes[0], prefixes[-1]))
    fall = 1 - last / first if first and last else None
    wide = prefixes[0] <= 1024 and prefixes[-1] >= 16384
    return text + "\n\n" + goal(
        "at batch 1,024 with sharing, decoding falls by at most 8 % from 1,024 to 16,384 shared tokens",
        fall is not None and fall <= 0.08, fall is not None and wide and most == 1024,
        f"{(fall or 0) * 100:.1f} %")  # fmt: skip


def single_section(results):
    one = results.one("engine-8b-batch-1")
    roofline = one.get("roofline")
    points, _ = engine_points(results, "8b")
    at_256 = next((points[key] for key in sorted(points) if key[0] == 256 and key[2]), {})
    host = at_256.get("host_share")
    weights = results.one("weights")
    speed = weights.get("gb_per_s")
    rows = [
        ["batch 1, `8b`: share of the weight-bandwidth bound", "0.85", number(roofline, ".2f"),
         verdict(roofline and roofline >= 0.85, roofline)],
        ["batch 1, `8b`: tokens/s", "", number(one.get("decode_tokens_per_s")), ""],
        ["the same with weights of `int4`", "",
         number(results.one("engine-8b-batch-1-int4").get("decode_tokens_per_s")), ""],
        ["the same in bf16 with `COPPICE_CUDA_OVERLAP=1`", "",
         number(results.one("engine-8b-batch-1-overlap").get("decode_tokens_per_s")), ""],
        ["prompts of 4,096 tokens, `8b`: tokens/s", "",
         number(results.one("engine-8b-prompts").get("prefill_tokens_per_s"), ",.0f"), ""],
        ["the same with `COPPICE_CUDA_WGMMA=1`", "",
         number(results.one("engine-8b-prompts-wgmma").get("prefill_tokens_per_s"), ",.0f"), ""],
        ["batch 256, `8b`: the host's share of a step", "0.03", number(host, ".3f"),
         verdict(host is not None and host <= 0.03, host is not None)],
        ["256 sequences that end and come at random: microseconds of the engine between two steps", "",
         number(results.one("host").get("idle_us_p50")), ""],
        [f"weights from the page cache{', `' + weights['model'] + '`' if weights else ''}: GB/s", "1.6",
         number(speed, ".2f"), verdict(speed and speed >= 1.6, speed)],
    ]  # fmt: skip
    return table(["", "goal", "measured", ""], rows)


LINEAR_STEPS = {"linear": "bf16", "linear-wgmma": "bf16, wgmma", "linear-int8": "int8", "linear-int4": "int4"}


def linear_section(results):
    points = {}  # (product, step) -> rows -> the share of the bound
    for name in LINEAR_STEPS:
        for point in results.objects(name):
            if "bound_share" in point:
                points.setdefault((point["name"], name), {})[point["rows"]] = point["bound_share"]
    counts = sorted({rows for shares in points.values() for rows in shares}) or [1, 16, 64, 512, 8192]
    lines = [[product, LINEAR_STEPS[step], *(number(shares.get(rows), ".2f") for rows in counts)]
             for (product, step), shares in points.items()]  # fmt: skip
    return table(["product", "weights", *(f"{rows:,}" for rows in counts)], lines)


def nice_step(most, count=5):
    power = 10 ** math.floor(math.log10(most / count))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= most / count)


def line_plot(title, x_title, y_title, lines):
    """lines: name -> [(x, y)], x on a logarithmic axis."""
    width, height, left, right, top, bottom = 720, 420, 72, 150, 40, 52
    xs = sorted({x for line in lines.values() for x, _ in line})
    step = nice_step(max(y for line in lines.values() for _, y in line))
    most = math.ceil(max(y for line in lines.values() for _, y in line) / step) * step
    span = max(1e-9, math.log2(xs[-1]) - math.log2(xs[0]))

    def place_x(x):
        return left + (math.log2(x) - math.log2(xs[0])) / span * (width - left - right)

    def place_y(y):
        return height - bottom - y / most * (height - top - bottom)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
           f'font-size="12">', f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{left}" y="22" font-size="14">{title}</text>']  # fmt: skip
    tick = 0
    while tick <= most + step / 2:
        y = place_y(tick)
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:,g}</text>')
        tick += step
    for x in xs:
        out.append(f'<text x="{place_x(x):.1f}" y="{height - bottom + 18}" text-anchor="middle">{x:,}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 12}" text-anchor="middle">{x_title}</text>')
    out.append(f'<text transform="translate(16 {height / 2}) rotate(-90)" text-anchor="middle">{y_title}</text>')
    for index, (name, line) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in sorted(line))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
        x, y = sorted(line)[-1]
        out.append(f'<text x="{place_x(x) + 8:.1f}" y="{place_y(y) + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def plots(results):
    """File name -> SVG, of what was measured."""
    found = {}
    rows = [row for row in flash_rows(results) if row["us"]]
    if rows:
        lines = {"ours": [(sizes(row["tree"])[1], row["gb_per_s"]) for row in rows]}
        for backend, name in (("flash", "PyTorch flash"), ("cudnn", "PyTorch cuDNN")):
            line = [(sizes(row["tree"])[1], row["gb_per_s"] * row["us"] / row[backend]) for row in rows if row[backend]]
            if line:
                lines[name] = line
        found["flash.svg"] = line_plot("Flash-Decoding, 16/2 heads of 128", "keys of a sequence", "GB/s", lines)
    for model in ("8b", "13b"):
        points, _ = engine_points(results, model)
        if not points:
            continue
        most = max(key[0] for key in points)
        lines = {}
        for sharing, name in ((True, "sharing on"), (False, "sharing off")):
            line = [(key[1], rate(point)) for key, point in points.items()
                    if key[0] == most and key[2] == sharing and rate(point) and key[1] > 0]  # fmt: skip
            if line:
                lines[name] = line
        if lines:
            found[f"engine_{model}.svg"] = line_plot(f"Decoding {most:,} requests, {model}", "shared prompt tokens",
                                                     "tokens a second", lines)  # fmt: skip
    return found


def sizes(tree):
    nodes, tokens = ([int(x) for x in part.split(",")] for part in tree.split("_"))
    return nodes[-1], sum(tokens)


def page(results, images):
    def image(name, text):
        return f"\n\n![{text}]({name})" if name in images else ""

    more = "; all of it is in `results.json`" if results.steps else ""
    steps = "\n\n## Steps\n" + steps_section(results) if results.steps else ""
    return f"""# On an H200

{facts_section(results)}

Made by `tools/gpu_report.py` from what `scripts/gpu-check` ([docs/gpu.md](../../gpu.md)) found{more}:

{COMMANDS}{steps}

## Single figures
{single_section(results)}

The host's share is the part of decode steps in which the GPU, by its own clock, did not work on one: it waited for the
host, for the copy of a step's inputs or for a launch. What of it is the engine's `bench host` measures, on steps that
pretend to take 6 ms.

## The machine
{machine_section(results)}

## Matrix products, `8b`
The share of what binds, by rows: reading the weights at the bandwidth above, or the peak in bf16, in which weights of
few bits are multiplied too.

{linear_section(results)}

## Flash-Decoding
"Predicted": what `tools/attention_model` said before anything was measured ([forecast.md](forecast.md)), here and
below.

16 query heads, 2 key heads of 128, f16 K and V, every sequence with keys of its own; the table of the Flash-Decoding
article (PyTorch blog, 2023). Ours and PyTorch's are timed alike: calls one after the other over copies of K and V that
together exceed 256 MiB, the quickest repetition. PyTorch's in a CUDA graph, the quickest of its forms
(`scripts/gpu-check-torch.py`).

{flash_section(results)}{image("flash.svg", "Flash-Decoding")}

## Prefix trees
The 20 trees of "PAT" (arXiv 2511.22333) and its four head settings, heads of 128, bf16. Unshared: our own plan without
sharing. PyTorch: one `scaled_dot_product_attention` with flash over a dense batch, as all leaves of a tree are equally
long; every sequence has its own copy of the prefix.

{trees_section(results)}

## Decoding, `8b`
`coppice bench engine --shape 8b`, random bf16 weights, prompts of a shared prefix and 16 tokens of each request's own,
up to 128 tokens of output; tokens a second in steps that only decode, by shared prompt tokens. "Without attention"
leaves attention out of every layer: what no sharing can beat.

What arithmetic allows: a token costs 15.0 GFLOP outside attention, and attention to 16,384 keys another 8.6 (4 x 4,096
x 32 layers a key; at 1,024 keys 0.5). Shared keys are read once but computed with for every request. So once a batch
is large enough for computing to bind, decoding must fall by a third from 1,024 to 16,384 shared tokens if both run
equally near the chip's peak; only a batch that reading the weights binds (up to about 200 here) can keep the goal of
8 %. Hydragen's 10 % at batch 1,024 were measured on eight A100, far from their peak.

{engine_section(results, "8b")}{image("engine_8b.svg", "Decoding, 8b")}

## Decoding, `13b`
CodeLlama-13B's shape; every token keeps 0.8 MB of K and V (40 key heads), so one GPU holds 512 requests of 128 tokens
of output, not 1,024.

{engine_section(results, "13b")}{image("engine_13b.svg", "Decoding, 13b")}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    results = Results(options.results)
    os.makedirs(options.out, exist_ok=True)
    images = plots(results)
    files = {"README.md": page(results, images), **images}
    if results.steps:
        files["results.json"] = json.dumps(results.to_json(), indent=1) + "\n"
    for name, text in files.items():
        with open(os.path.join(options.out, name), "w", encoding="utf-8") as file:
            file.write(text)
    for line in results.broken:
        print(f"gpu_report: {line} is no JSON object with a name", file=sys.stderr)
    return 1 if results.broken else 0


if __name__ == "__main__":
    sys.exit(main())
