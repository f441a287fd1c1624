#!/usr/bin/env python3
"""The scripts of scripts/gpu-check without a GPU: every stage on the CPU with small sizes, and what they do when
things fail.  Programs that only run on a GPU are stand-ins; PyTorch is a stand-in; no figure that appears here is a
measurement.

Usage: gpu_check_test.py COPPICE
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPPICE = pathlib.Path("build/release/coppice")
TESTS = ("operations", "attention", "model", "identity")

# What torch_attention.py uses of PyTorch, with one back end that refuses and one that cannot be captured.
FAKE_TORCH = '''
import contextlib, enum, sys, types
__version__ = "stand-in"
float16, bfloat16 = "f16", "bf16"
class Tensor:
    def __init__(self, shape): self.shape = tuple(shape)
    def normal_(self): return self
    def transpose(self, a, b):
        shape = list(self.shape); shape[a], shape[b] = shape[b], shape[a]; return Tensor(shape)
    def view(self, *shape): return Tensor(shape)
    def repeat_interleave(self, count, dim):
        shape = list(self.shape); shape[dim] *= count; return Tensor(shape)
def empty(shape, device, dtype): return Tensor(shape)
class Event:
    def __init__(self, enable_timing): pass
    def record(self): pass
    def synchronize(self): pass
    def elapsed_time(self, other): return 0.016
class Stream:
    def wait_stream(self, other): pass
    def synchronize(self): pass
class CUDAGraph:
    def replay(self): pass
class cuda:
    Event, Stream, CUDAGraph = Event, Stream, CUDAGraph
    is_available = staticmethod(lambda: True)
    empty_cache = synchronize = staticmethod(lambda: None)
    mem_get_info = staticmethod(lambda: (8 << 30, 8 << 30))
    current_stream = staticmethod(Stream)
    stream = graph = staticmethod(lambda _: contextlib.nullcontext())
inference_mode = contextlib.nullcontext
class SDPBackend(enum.Enum):
    FLASH_ATTENTION = 1
    CUDNN_ATTENTION = 2
state = {}
def sdpa_kernel(backends): state["backend"] = backends[0]; return contextlib.nullcontext()
def scaled_dot_product_attention(q, k, v, enable_gqa=False):
    if state["backend"] == SDPBackend.CUDNN_ATTENTION and enable_gqa: raise RuntimeError("no such form\\nmore")
    if not enable_gqa and q.shape[1] != k.shape[1]: raise RuntimeError("heads differ")
for name, values in {"torch.nn": {}, "torch.nn.attention": {"SDPBackend": SDPBackend, "sdpa_kernel": sdpa_kernel},
                     "torch.nn.functional": {"scaled_dot_product_attention": scaled_dot_product_attention}}.items():
    module = types.ModuleType(name); module.__dict__.update(values); sys.modules[name] = module
'''


class GpuCheck(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gpu-check-"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "bin").mkdir()
        shutil.copy(ROOT / "scripts/gpu-check-run", self.folder / "run")
        shutil.copy(ROOT / "scripts/gpu-check-torch.py", self.folder / "torch_attention.py")
        shutil.copy(ROOT / "tools/attention_trees.txt", self.folder)
        shutil.copy(ROOT / "tools/gpu_report.py", self.folder / "report.py")
        shutil.copy(ROOT / "docs/performance/h200/forecast.md", self.folder)
        (self.folder / "bin/coppice").symlink_to(COPPICE.resolve())
        (self.folder / "commit").write_text("0123456789abcdef\n")
        for name in TESTS:
            self.program(f"gpu_{name}_test", "echo All tests passed")

    def program(self, name, script):
        path = self.folder / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text("#!/bin/bash\n" + textwrap.dedent(script) + "\n")
        path.chmod(0o755)

    def run_stages(self, *stages, **environment):
        """Exit code, what the terminal showed, steps by name."""
        names = {"GPU_CHECK_DEVICE": "cpu", "GPU_CHECK_TINY": "1", **environment}
        done = subprocess.run([self.folder / "run", *stages], env=os.environ | names, capture_output=True, text=True,
                              timeout=800, cwd="/")  # fmt: skip
        self.steps = {}
        for line in (self.folder / "results/results.jsonl").read_text().splitlines():
            step = json.loads(line)
            self.assertNotIn(step["name"], self.steps)
            self.steps[step["name"]] = step
        return done.returncode, done.stdout + done.stderr

    def test_the_trees_are_those_of_their_list(self):
        self.program("coppice", 'echo "$@"')
        self.run_stages("trees", GPU_CHECK_TINY="")
        lines = (ROOT / "tools/attention_trees.txt").read_text().splitlines()
        trees = [line for line in lines if not line.startswith("#")]
        self.assertEqual(len(trees), 20)
        self.assertIn(f"--tree {' '.join(trees)} --heads", (self.folder / "results/trees.log").read_text())

    def test_every_stage(self):
        self.program("gpu_step_test", "echo a test that has no stage")
        self.program("ncu", 'echo "$@"')
        code, shown = self.run_stages("facts", "operations", "attention", "models", "identity", "linear", "flash",
                                      "trees", "engine", "engine-grid", "weights", "sanitizer", "profile",
                                      PATH=f"{self.folder}/bin:{os.environ['PATH']}")  # fmt: skip
        self.assertEqual(code, 0, shown)
        facts = json.loads((self.folder / "results/facts.json").read_text())
        self.assertEqual(facts["commit"], "0123456789abcdef")
        self.assertTrue(facts["tiny"])
        self.assertEqual(self.steps["step"]["exit"], 0)
        self.assertNotIn("model", self.steps)
        self.assertGreater(self.steps["host"]["results"][0]["planned_ahead"], 0.5)
        self.assertGreater(self.steps["engine-8b-prompts"]["results"][0]["prefill_tokens_per_s"], 0)
        for name in ("facts", "operations", "operations-wgmma", "attention", "models", "identity"):
            self.assertEqual(self.steps[name]["exit"], 0)
        for name in ("linear", "linear-wgmma", "linear-int8", "linear-int4"):
            products = self.steps[name]["results"][1:]  # behind the machine's figures
            self.assertEqual({entry["rows"] for entry in products}, {1, 8})
            self.assertTrue(all(0 < entry["bound_share"] < 10 for entry in products), products)
        for name, kernel in (("attention", "Attention"), ("linear-1", "Linear"), ("linear-512", "Linear")):
            self.assertEqual(self.steps[f"profile-{name}"]["exit"], 0)
            self.assertIn(f"regex:{kernel}Kernel", (self.folder / f"results/profile-{name}.log").read_text())
        self.assertEqual([entry["tree"] for entry in self.steps["flash"]["results"]], ["4_256", "1_1024"])
        self.assertEqual(len(self.steps["trees"]["results"]), 4)
        grid = self.steps["engine-8b"]["results"]
        settings = {(entry["requests"], entry["shared_prefix"], entry["sharing"]) for entry in grid}
        self.assertEqual(settings, {(r, p, s) for r in (2, 4) for p in (32, 64) for s in (True, False)})
        for entry in grid:
            self.assertTrue(entry["attention"])
            self.assertGreater(entry["decode_tokens_per_s"], 0)
        self.assertEqual([entry["attention"] for entry in self.steps["engine-8b-bound"]["results"]], [False, False])
        self.assertGreater(self.steps["weights"]["results"][0]["gb_per_s"], 0)
        for name in ("flash-torch", "trees-torch", "sanitizer"):
            self.assertIn("skipped", self.steps[name])
        page = (self.folder / "results/report/README.md").read_text()
        self.assertIn("stand-in run", page)
        self.assertIn("| 2 | on |", page)
        self.assertTrue((self.folder / "results/report/engine_8b.svg").is_file())

    def test_a_failing_stage_is_told_and_the_others_go_on(self):
        self.program("gpu_attention_test", 'echo "a \\"quoted\\" word"; echo "what was wrong" >&2; exit 3')
        code, shown = self.run_stages("attention", "models", "facts")
        self.assertEqual(code, 1)
        self.assertEqual(self.steps["attention"]["exit"], 3)
        self.assertIn("what was wrong", shown)
        self.assertEqual(self.steps["models"]["exit"], 0)

    def test_what_is_optional_may_fail(self):
        self.program("gpu_operations_test", '[ -z "$COPPICE_CUDA_WGMMA" ] || exit 4')
        code, _ = self.run_stages("operations")
        self.assertEqual(code, 0)
        self.assertEqual(self.steps["operations"]["exit"], 0)
        self.assertEqual(self.steps["operations-wgmma"]["exit"], 4)
        self.assertTrue(self.steps["operations-wgmma"]["optional"])

    def test_a_stage_that_hangs_is_stopped_and_what_it_printed_counts(self):
        self.program("gpu_model_test", "echo '{\"us\":1}'; echo '{\"us\":2}'; sleep 100")
        code, shown = self.run_stages("models", "identity", BUDGET="6")
        self.assertEqual(code, 1, shown)
        self.assertTrue(self.steps["models"]["timed_out"])
        self.assertEqual(self.steps["models"]["results"], [{"us": 1}, {"us": 2}])
        self.assertIn("skipped", self.steps["identity"])

    def test_a_name_that_is_no_stage(self):
        done = subprocess.run([self.folder / "run", "machines"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("unknown stage machines", done.stderr)

    def test_no_gpu(self):
        self.program("nvidia-smi", "exit 1")
        code, shown = self.run_stages("weights", "flash", GPU_CHECK_DEVICE="cuda", CUDA_VISIBLE_DEVICES="",
                                      PATH=f"{self.folder}/bin:{os.environ['PATH']}")  # fmt: skip
        self.assertEqual(code, 1)
        self.assertEqual(self.steps["flash"]["exit"], 2)
        self.assertIn("--device cuda:", shown)
        self.assertIn("no PyTorch here", self.steps["flash-torch"]["skipped"])

    def test_pytorch(self):
        (self.folder / "torch.py").write_text(FAKE_TORCH)
        done = subprocess.run(
            [sys.executable, self.folder / "torch_attention.py", "--tree", "256_256 1,4_64,64 640_99999", "--heads",
             "16/2 4/4", "--seconds", "0.01"], capture_output=True, text=True, timeout=300)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        found = {(entry["tree"], entry["heads"]): entry for entry in map(json.loads, done.stdout.splitlines())}
        self.assertEqual(len(found), 6)
        first = found["256_256", "16/2"]
        self.assertEqual(set(first["flash"]["forms"]), {"gqa", "grouped", "expanded"})
        self.assertEqual(first["flash"]["us"], 1.0)
        self.assertEqual(set(first["cudnn"]["forms"]), {"grouped", "expanded"})
        self.assertEqual(set(found["1,4_64,64", "4/4"]["cudnn"]["forms"]), {"plain"})
        self.assertIn("GiB", found["640_99999", "16/2"]["left_out"])


if __name__ == "__main__":
    COPPICE = pathlib.Path(sys.argv.pop(1))
    unittest.main()
