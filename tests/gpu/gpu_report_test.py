#!/usr/bin/env python3
"""tools/gpu_report.py on results that are made up here (round numbers; no figure below was measured), and that the page
in docs/performance/h200 is what the tool writes."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/gpu_report.py"
PAGE = ROOT / "docs/performance/h200"


def predicted(case):
    """What the forecast's row of a case begins with behind it."""
    lines = (PAGE / "forecast.md").read_text().splitlines()
    row = next(line for line in lines if line.startswith(f"| {case[1]} | "))
    return row.removeprefix(f"| {case[1]} | ").split(" | ")[0]


def step(name, *results, **more):
    return {"name": name, "command": "made up", "exit": 0, "timed_out": False, "optional": False, "seconds": 1,
            "results": list(results)} | more  # fmt: skip


def attention(tree, heads, us, us_unshared, size):
    return {"tree": tree, "heads": heads, "head_dim": 128, "kv_dtype": "f16", "us": us, "us_unshared": us_unshared,
            "bytes_min": size, "max_rel_error": 0.001}  # fmt: skip


def decode(requests, prefix, sharing, speed, steps=127):
    return {"requests": requests, "shared_prefix": prefix, "sharing": sharing, "decode_tokens_per_s": speed,
            "decode_steps": steps, "host_share": 0.02}  # fmt: skip


MADE_UP = [
    step("machine", {"read_gb_per_s": 4000.0, "copy_gb_per_s": 4000.0, "bf16_gflops": 1e6, "isa": "made up"}),
    step("machine-wgmma", exit=1, optional=True),
    step("linear", {"name": "machine", "read_gb_per_s": 4000.0}, {"name": "qkv", "rows": 1, "bound_share": 0.875},
         {"name": "qkv", "rows": 512, "bound_share": 0.5}),
    step("linear-int4", {"name": "qkv", "rows": 512, "bound_share": 0.25}),
    step("flash", attention("256_256", "16/2", 20.0, 20.0, 72e6), attention("1_131072", "16/2", 50.0, 40.0, 136e6)),
    step("flash-torch",
         {"tree": "256_256", "heads": "16/2", "flash": {"us": 30.0}, "cudnn": {"error": {"gqa": "no"}}},
         {"tree": "1_131072", "heads": "16/2", "flash": {"us": 30.0}, "cudnn": {"us": 36.0}}),
    step("trees", attention("1,256_256,32", "32/8", 10.0, 40.0, 1e6), attention("256_1024", "32/8", 100.0, 99.0, 1e6),
         {"tree": "256_4096", "heads": "32/32", "left_out": "the tree's KV takes 16 GiB"}),
    step("trees-torch", {"tree": "1,256_256,32", "heads": "32/8", "flash": {"us": 90.0}}),
    step("engine-8b-batch-1", decode(1, 0, True, 200.0) | {"roofline": 0.9}),
    step("engine-8b", decode(256, 1024, True, 9000.0), decode(1024, 1024, True, 20000.0),
         decode(1024, 16384, True, 19000.0), decode(1024, 16384, False, 900.0),
         decode(1024, 1024, False, 1.0, steps=0)),
    step("engine-8b-bound", decode(1024, 1024, True, 22000.0)),
    step("host", {"idle_us_p50": 31.25}),
    step("weights", timed_out=True, exit=124),
    {"name": "sanitizer", "skipped": "no compute-sanitizer in PATH"},
]  # fmt: skip


class Report(unittest.TestCase):
    def write(self, folder, lines):
        folder = pathlib.Path(folder)
        (folder / "facts.json").write_text(json.dumps(
            {"command": "./run", "date": "2000-01-01T00:00:00Z", "commit": "0" * 40, "device": "cuda", "tiny": False,
             "gpu": "made up", "driver": "0", "memory": "0", "power_limit": "0", "cores": 1, "torch": ""}))  # fmt: skip
        (folder / "results.jsonl").write_text("\n".join(lines) + "\n")

    def report(self, lines):
        with tempfile.TemporaryDirectory() as folder:
            self.write(folder, lines)
            out = pathlib.Path(folder) / "out"
            done = subprocess.run([sys.executable, TOOL, folder, "--out", out], capture_output=True, text=True)
            self.out = {path.name: path.read_text() for path in out.iterdir()}
            return done

    def test_tables_and_verdicts(self):
        done = self.report([json.dumps(line) for line in MADE_UP])
        self.assertEqual(done.returncode, 0, done.stderr)
        page = self.out["README.md"]
        for expected in (
            "| qkv | bf16 | 0.88 | 0.50 |",
            "| qkv | int4 |  | 0.25 |",
            "| 256 x 256 | {256 x 256} | 20.0 | 3,600.0 | 0.90 | 30.0 |  | 1.50 | 1.0e-03 |",
            "| 1 x 131072 | {1 x 131072} | 40.0 | 3,400.0 | 0.85 | 30.0 | 36.0 | 0.75 | 1.0e-03 |",
            "from 64 MB of K and V on: **met** (least 0.85)",
            "no row slower than PyTorch: **not met** (least ratio 0.75)",
            "| `1,256_256,32` | 32/8 | {1,256_256,32 | 32/8} | 10.0 | 40.0 | 4.00 | 90.0 | 9.00 | 1.0e-03 |",
            "the tree's KV takes 16 GiB",
            "our own unshared plan: **not met** (1.99 over 2 settings)",  # of 4 and 0.99
            "over PyTorch's flash attention, which shares nothing: **met** (9.00)",
            "within 2 % of unshared: **met** (least ratio 0.990)",
            "| 1024 | on | 20,000 | 19,000 | 22,000 |",
            "| 1024 | off |  | 900 | 22,000 |",
            "from 1,024 to 16,384 shared tokens: **met** (5.0 %)",
            "| batch 1, `8b`: share of the weight-bandwidth bound | 0.85 | 0.90 | **met** |",
            "| batch 256, `8b`: the host's share of a step | 0.03 | 0.020 | **met** |",
            "microseconds of the engine between two steps |  | 31.2 |",
            "| weights | 1 | stopped at its time limit, with 0 results |",
            "| machine-wgmma | 1 | failed with exit code 1 (optional) |",
            "| sanitizer |  | left out: no compute-sanitizer in PATH |",
        ):
            self.assertIn(re.sub(r"\{(.*)\}", predicted, expected), page)
        for name in ("flash.svg", "engine_8b.svg"):
            xml.etree.ElementTree.fromstring(self.out[name])
            self.assertIn(f"]({name})", page)
        self.assertEqual(json.loads(self.out["results.json"])["steps"], MADE_UP)

    def test_a_broken_line_is_told(self):
        done = self.report([json.dumps(MADE_UP[0]), '{"name":"flash","results":[', json.dumps(MADE_UP[3])])
        self.assertEqual(done.returncode, 1)
        self.assertIn("results.jsonl:2", done.stderr)
        self.assertIn("Lines that could not be read", self.out["README.md"])

    def test_the_committed_page_is_the_tool_s(self):
        if not (PAGE / "results.json").exists():
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([sys.executable, TOOL, "--out", folder], check=True)
                self.assertEqual((pathlib.Path(folder) / "README.md").read_text(), (PAGE / "README.md").read_text())
            return
        data = json.loads((PAGE / "results.json").read_text())
        with tempfile.TemporaryDirectory() as folder:
            results = pathlib.Path(folder)
            for index, facts in enumerate(data["facts"]):
                part = results / str(index)
                part.mkdir()
                (part / "facts.json").write_text(json.dumps(facts))
                lines = data["steps"] if index == 0 else []
                (part / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            parts = sorted(results.iterdir())
            subprocess.run([sys.executable, TOOL, *parts, "--out", results / "out"], check=True)
            self.assertEqual((results / "out/README.md").read_text(), (PAGE / "README.md").read_text())


if __name__ == "__main__":
    unittest.main()
