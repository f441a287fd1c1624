"""`coppice bench serve --trace` plays recorded requests against a live server at their own times, and judges them."""

import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import pytest

SHARED = "Once upon a time there was a little fox who lived beside a wide and quiet river. " * 4
SPAN_S = 1.0


def write_agents(path, requests=6):
    """Two sessions whose prompts grow, as recorders write them: in the order in which answers ended."""
    lines = []
    for turn in range(requests):
        session = "even" if turn % 2 == 0 else "odd"
        told = SHARED + "".join(f"{session} part {each}. " for each in range(turn // 2 + 1))
        at_us = 1_760_000_000_000_000 + int(SPAN_S * 1e6 * turn / (requests - 1))
        lines.append({"timestamp": at_us, "input": told, "output": "And so on.", "session_id": session})
    lines[0], lines[1] = lines[1], lines[0]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def play(binary, server, trace, *flags):
    command = [binary, "bench", "serve", "--url", server.url, "--model", "demo", "--trace", trace, *flags]
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=60)


def report_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_sessions_are_played_at_their_times(binary, server, tmp_path):
    trace = write_agents(tmp_path / "agents.jsonl")
    before = server.metric("vllm:request_success_total") or 0
    plot = tmp_path / "run.svg"
    flags = ["--slo", "ttft=60000,itl=60000", "--plot", plot, "--json"]
    report = report_of(play(binary, server, trace, *flags))
    assert server.metric("vllm:request_success_total") == before + 6
    assert report["requests"] == 6 and report["errors"] == 0 and report["trace"]["sessions"] == 2
    assert report["wall_s"] >= SPAN_S  # the last request is sent when the trace says
    assert report["output_tokens"] == 6 * 3  # ten bytes of answer
    assert report["cached_tokens"] > 0
    assert report["goodput_share"] == 1 and report["goodput_requests_per_s"] > 0
    dots = xml.etree.ElementTree.parse(plot).getroot().findall("{http://www.w3.org/2000/svg}circle")
    assert len(dots) == 2 * 6


def test_speed_and_a_goal_that_none_can_keep(binary, server, tmp_path):
    trace = write_agents(tmp_path / "agents.jsonl")
    done = play(binary, server, trace, "--speed", "1000", "--slo", "ttft=0.001", "--output-max", "2", "--json")
    report = report_of(done)
    assert report["goodput_share"] == 0 and report["goodput_requests_per_s"] == 0
    assert report["trace"]["speed"] == 1000 and report["output_tokens"] == 6 * 2


def test_made_traces_share_the_beginnings_of_their_kinds(binary, server, tmp_path):
    trace = tmp_path / "kinds.jsonl"
    tool = pathlib.Path(__file__).parents[2] / "tools" / "make_fleet_trace.py"
    made = ["--kinds", "2", "--requests", "6", "--seconds", "0.5", "--words", "60"]
    subprocess.run([sys.executable, str(tool), str(trace), *made], check=True, timeout=60)
    report = report_of(play(binary, server, trace, "--output-max", "2", "--json"))
    assert report["requests"] == 6 and report["errors"] == 0 and report["trace"]["sessions"] == 6
    assert report["cached_tokens"] > report["prompt_tokens"] / 3  # four of six begin with what is known


def test_counted_prompts_have_the_recorded_lengths(binary, server, tmp_path):
    trace = tmp_path / "azure.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
                     "2023-11-16 18:15:46.6805900,40,3\r\n2023-11-16 18:15:46.7005900,60,5\r\n")
    report = report_of(play(binary, server, trace, "--vocab", "400", "--json"))
    assert report["prompt_tokens"] == 100 and report["output_tokens"] == 8 and report["errors"] == 0


@pytest.mark.parametrize("text, says", [
    ("", "no requests in it"),
    ('{"timestamp": 1, "input": "x"}\n{"timestamp": 1e99, "input": "x"}\n', ":2: \"timestamp\" must be a whole number"),
    ('{"timestamp": 0, "input": "x"}\n{"timestamp": 4000000000000000000, "input": "x"}\n', "give a --speed"),
])
def test_bad_traces_are_one_clear_error(binary, server, tmp_path, text, says):
    trace = tmp_path / "bad.jsonl"
    trace.write_text(text)
    done = play(binary, server, trace)
    assert done.returncode != 0 and says in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert str(trace) in done.stderr and done.stdout == ""


def test_a_bad_goal_is_refused_before_anything_is_sent(binary, server, tmp_path):
    before = server.metric("vllm:request_success_total") or 0
    done = play(binary, server, write_agents(tmp_path / "agents.jsonl"), "--slo", "ttft=fast")
    assert done.returncode != 0 and '"ttft=fast" is not understood' in done.stderr
    assert (server.metric("vllm:request_success_total") or 0) == before
