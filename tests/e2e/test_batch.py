"""`coppice batch`: the same answers as the server, bad lines, resuming after a kill at any moment."""

import json
import subprocess
import time

PREFIXES = ["Once upon a time there was a king who ", "The sea was calm and the old ship "]


def line(custom_id, url, body):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": {"model": "demo", **body}})


def requests(count):
    """Completions and chats, greedy and seeded, with shared beginnings."""
    out = {}
    for i in range(count):
        drawn = {"temperature": 0} if i % 3 else {"temperature": 0.9, "seed": i}
        if i % 4 == 3:
            body = {"messages": [{"role": "user", "content": f"Tell me about number {i}"}], "max_completion_tokens": 20}
            out[f"chat-{i}"] = ("/v1/chat/completions", {**body, **drawn})
        else:
            body = {"prompt": PREFIXES[i % 2] + str(i), "max_tokens": 24, "logprobs": 1}
            out[f"text-{i}"] = ("/v1/completions", {**body, **drawn})
    return out


def write_input(path, wanted, *more):
    path.write_text("\n".join([line(name, *rest) for name, rest in wanted.items()] + list(more)) + "\n")


def run_batch(binary, source, target, *flags):
    command = [str(binary), "batch", "demo", str(source), str(target), "--kv-memory", "64MiB", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def answers(path):
    return [json.loads(text) for text in path.read_text().splitlines()]


def same_answer(server, url, body, got):
    status, served = server.post(url, {"model": "demo", **body})
    assert status == got["status_code"] == 200
    for mine, theirs in zip(got["body"]["choices"], served["choices"], strict=True):
        assert mine == theirs
    assert got["body"]["object"] == served["object"] and got["body"]["model"] == "demo"


def test_answers_are_the_servers(binary, server, tmp_path):
    wanted = requests(24)
    write_input(tmp_path / "in.jsonl", wanted)
    done = run_batch(binary, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    assert "24 answered, 0 refused, 0 had an answer already" in done.stderr
    got = {each["custom_id"]: each for each in answers(tmp_path / "out.jsonl")}
    assert got.keys() == wanted.keys()
    for name, (url, body) in wanted.items():
        assert got[name]["error"] is None
        same_answer(server, url, body, got[name]["response"])


def test_bad_lines_harm_no_other_line(binary, tmp_path):
    good = {"good": ("/v1/completions", {"prompt": "a", "max_tokens": 2})}
    write_input(
        tmp_path / "in.jsonl",
        good,
        "not json",
        "",
        line("good", "/v1/completions", {"prompt": "b"}),
        line("bad field", "/v1/completions", {"prompt": "b", "max_tokens": -1}),
        line("streamed", "/v1/completions", {"prompt": "b", "stream": True}),
        line("elsewhere", "/v1/embeddings", {"input": "b"}),
        line("other model", "/v1/completions", {"model": "gpt", "prompt": "b"}),
        json.dumps({"method": "POST", "url": "/v1/completions", "body": {}}),
    )
    done = run_batch(binary, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    got = {each["id"]: each for each in answers(tmp_path / "out.jsonl")}
    assert len(got) == 8
    assert got["batch_req_1"]["response"]["status_code"] == 200
    refusals = {2: "line 2: ", 4: "custom_id 'good' is already used by line 1", 7: "'url' must be", 9: "custom_id"}
    for number, words in refusals.items():
        each = got[f"batch_req_{number}"]
        assert each["response"] is None and each["error"]["code"] == "invalid_line"
        assert words in each["error"]["message"]
    assert got["batch_req_4"]["custom_id"] is None and got["batch_req_7"]["custom_id"] == "elsewhere"
    for number, status, words in [(5, 400, "max_tokens"), (6, 400, "stream"), (8, 404, "gpt")]:
        each = got[f"batch_req_{number}"]
        assert each["error"] is None and each["response"]["status_code"] == status
        assert words in each["response"]["body"]["error"]["message"]
    again = run_batch(binary, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert again.returncode == 0 and "8 had an answer already" in again.stderr
    assert len(answers(tmp_path / "out.jsonl")) == 8


def test_killed_and_resumed(binary, server, tmp_path):
    wanted = requests(60)
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_input(source, wanted)
    command = [str(binary), "batch", "demo", str(source), str(target), "--kv-memory", "64MiB", "--max-running", "2"]
    for lines in (5, 20):
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while time.monotonic() < end and running.poll() is None:
            if target.exists() and target.read_bytes().count(b"\n") >= lines:
                break
            time.sleep(0.001)
        running.kill()
        running.wait()
    kept = target.read_bytes()
    assert 20 <= kept.count(b"\n") < 60
    torn = kept[: kept.rindex(b"\n") + 1] + kept[:100]  # as if the kill had come in the middle of a write
    target.write_bytes(torn)
    done = run_batch(binary, source, target)
    assert done.returncode == 0, done.stderr
    got = answers(target)
    assert sorted(each["custom_id"] for each in got) == sorted(wanted)
    assert target.read_bytes().startswith(kept[: kept.rindex(b"\n") + 1])
    for each in got:
        same_answer(server, *wanted[each["custom_id"]], each["response"])


def test_usage_errors(binary, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    assert run_batch(binary, source, target).returncode == 2  # no input
    write_input(source, requests(1))
    same = run_batch(binary, source, source)
    assert same.returncode == 2 and "same file" in same.stderr
    target.write_text("my notes\n")
    other = run_batch(binary, source, target)
    assert other.returncode == 2 and "line 1 is no answer" in other.stderr
    assert target.read_text() == "my notes\n"
    full = run_batch(binary, source, "/dev/full")
    assert full.returncode == 2 and "not a regular file" in full.stderr  # endless to read
