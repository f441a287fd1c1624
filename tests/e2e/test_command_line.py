"""What is typed wrongly is answered in one line that says what to type instead; help has groups and examples."""

import re
import subprocess

import pytest


def run(binary, *arguments):
    done = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["coppice: name one of its commands: serve, ", "for example: coppice serve demo"]),
        (["nope"], ["nope is not known; name one of its commands: serve, "]),
        (["bench"], ["coppice bench: name one of its commands: engine, ", "for example: coppice bench engine "]),
        (["bench", "nope"], ["nope is not known; name one of its commands: engine, "]),
        (["bench", "serve"], ["--url is required", "for example: coppice bench serve --url http://127.0.0.1:8080 "]),
        (["serve"], ["coppice serve: MODEL is required; for example: coppice serve demo; "]),
        (["serve", "demo", "--prot", "1"], ["--prot is not known; the nearest flag is --port"]),
        (["serve", "demo", "--max-runing=4"], ["--max-runing=4 is not known; the nearest flag is --max-running"]),
        (["serve", "demo", "more"], ["more is not known"]),
        (["generate", "demo", "--prompt"], ["--prompt", "for example: coppice generate demo --prompt "]),
        (["serve", "demo", "--port", "x"], ["coppice: --port", "x"]),
    ],
)
def test_wrong_usage_is_one_line_that_helps(binary, arguments, words):
    code, out, err = run(binary, *arguments)
    assert code == 2 and out == "" and err.count("\n") == 1, err
    for each in words:
        assert each in err, err


def commands(text):
    return re.findall(r"^  (\w+) ", text.split("Subcommands:")[1].split("Examples:")[0], re.M)


def test_every_command_has_examples_that_parse(binary):
    help_of = {(): run(binary, "--help")[1]}
    for name in commands(help_of[()]):
        help_of[(name,)] = run(binary, name, "--help")[1]
    for name in commands(help_of[("bench",)]):
        help_of[("bench", name)] = run(binary, "bench", name, "--help")[1]
    for words, text in help_of.items():
        if words == ("bench", "machine"):
            continue  # has nothing to choose
        assert "Examples:\n  coppice " + " ".join(words) in text, (words, text)


def test_the_flags_of_serve_stand_in_groups(binary):
    text = run(binary, "serve", "--help")[1]
    groups = [line[:-1] for line in text.split("\n") if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert {"Network", "Access", "Speculation", "Sharing", "Time"} <= set(groups)
