"""The examples of docs/examples.md, run as they stand there, on the real model that the page names."""

import re
import subprocess
import sys

import pytest

from running_server import ROOT, RunningServer



def blocks(language):
    text = (ROOT / "docs" / "examples.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


@pytest.fixture(scope="module")
def real_server(binary, real_model):
    with RunningServer(binary, real_model, "--kv-memory", "1GiB") as running:
        yield running
        assert running.stop() == 0


def run_block(server, number):
    code = blocks("python")[number]
    assert "http://127.0.0.1:8080" in code
    code = code.replace("http://127.0.0.1:8080", server.url)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_chat_streamed(real_server):
    assert run_block(real_server, 0) == blocks("text")[0]


def test_many_questions_about_one_document(real_server):
    printed = run_block(real_server, 1)
    figures = [tuple(map(int, pair)) for pair in re.findall(r"(\d+) tokens of prompt, (\d+) from the cache", printed)]
    assert len(figures) == 9 and figures[0][1] < 100
    assert all(prompt > 1000 and prompt - cached < 64 for prompt, cached in figures[1:])
    assert printed.endswith(blocks("text")[1].split("\n")[-2] + "\n") and "True" in printed


def test_an_agent_that_repeats_itself(real_server):
    printed = run_block(real_server, 2)
    assert printed.startswith("the same answer: True\n")
    accepted, tokens = map(int, re.search(r"(\d+) of (\d+) tokens came from drafts", printed).groups())
    assert tokens > 50 and accepted > tokens / 2
