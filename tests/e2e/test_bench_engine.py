"""`coppice bench engine --speculation both`: the same answers with speculation on and off, and their rates compared."""

import json
import re
import subprocess
import sys

import pytest

from running_server import ROOT


def run(binary, *flags):
    command = [binary, "bench", "engine", "demo", "--requests", "3", "--unique-prefix", "16", "--device", "cpu"]
    return subprocess.run([*command, *flags], capture_output=True, text=True, timeout=120)


def test_pairs_of_passes_are_compared(binary, tmp_path):
    log = tmp_path / "steps.tsv"
    done = run(binary, "--output", "120", "--speculation", "both", "--repeat", "3", "--step-log", str(log), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["speculation"] == "both" and report["pairs"] == 3 and report["same_answers"] is True
    for name in ("decode_ratio", "full_ratio", "output_ratio"):
        spread = report[name]
        low, high = spread["quartiles"]
        least, most = spread["range"]
        assert 0 < least <= low <= spread["median"] <= high <= most
    assert report["off"]["draft_tokens"] == 0 and report["off"]["accepted_per_step"] == 1
    # The prompts are those of the pass before, so nearly all is known; how much is drafted depends on measured costs.
    assert report["on"]["accepted_tokens"] > 100 and report["on"]["accepted_per_step"] > 1
    assert report["on"]["decode_tokens_per_s"] > 0
    head, *lines = [line.split("\t") for line in log.read_text().splitlines()]
    assert head == ["pass", "rows", "draft_nodes", "tokens", "expected_ms", "body_ms", "step_ms"]
    assert {int(line[0]) for line in lines} == set(range(8))  # off and on of each pair
    without = [line for line in lines if int(line[0]) % 2 == 0]
    assert all(line[2] == "0" and line[1] == line[3] for line in without)  # a row draws a token
    assert any(int(line[2]) > 0 for line in lines)
    for line in lines:
        assert int(line[1]) >= int(line[2]) and float(line[6]) >= float(line[5]) > 0


def test_prompts_may_be_fresh_in_each_pass(binary):
    flags = ["--output", "20", "--temperature", "1", "--speculation", "both", "--repeat", "2", "--json"]
    same, fresh = (json.loads(run(binary, *flags, "--fresh-prompts", mode).stdout) for mode in ("off", "on"))
    assert same["same_answers"] and fresh["same_answers"]
    assert same["pairs"] == fresh["pairs"] == 2


def test_two_engines_share_the_memory(binary):
    left = {}
    for mode in "off", "both":
        done = run(binary, "--speculation", mode, "--kv-memory", str(1 << 50))
        assert done.returncode != 0
        left[mode] = int(re.search(r"only (\d+) bytes are left", done.stderr).group(1))
    assert left["both"] == pytest.approx(left["off"] / 2, rel=0.2)  # other programs take and give back meanwhile


def test_a_table_without_json(binary):
    done = run(binary, "--output", "20", "--speculation", "both")
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("decode_ratio ") for line in done.stdout.splitlines())


@pytest.mark.parametrize("command", [["generate", "demo", "--prompt", "a"], ["serve", "demo"]])
def test_only_the_benchmark_compares(binary, command):
    done = subprocess.run([binary, *command, "--speculation", "both"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "suffix, on, off" in done.stderr, done.stderr


@pytest.mark.parametrize("flags, words", [(["--shape", "none"], "bf16: the engine ended with"),
                                          (["--output", "3"], "ask for more --output")])  # fmt: skip
def test_formats_are_not_compared_by_runs_that_failed(binary, flags, words):
    tool = [sys.executable, str(ROOT / "tools" / "bench_kv_formats.py"), "--coppice", str(binary)]
    small = ["--requests", "1", "--context", "16", "--formats", "bf16"]
    done = subprocess.run([*tool, *small, *flags], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and words in done.stderr.splitlines()[-1], done.stderr
