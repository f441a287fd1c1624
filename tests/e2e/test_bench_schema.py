"""`coppice bench engine --schema` holds every answer to the schema, and forced tokens save steps."""

import json
import pathlib
import subprocess

SCHEMAS = pathlib.Path(__file__).parents[2] / "docs" / "performance"


def run(binary, *flags):
    schema = SCHEMAS / "structured_fields.json"
    command = [binary, "bench", "engine", "demo", "--schema", str(schema), "--unique-prefix", "16", "--json"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_forced_tokens_save_steps(binary):
    flags = ["--requests", "3", "--output", "300", "--temperature", "1"]
    plain = run(binary, "--speculation", "off", *flags)
    forced = run(binary, *flags)
    assert plain["schema"]["complete"] == forced["schema"]["complete"]
    assert plain["schema"]["tokens"] == forced["schema"]["tokens"]  # drafts change no answer
    assert plain["schema"]["forced_drafted"] == 0
    assert forced["schema"]["forced_drafted"] >= forced["schema"]["forced_accepted"] > 10
    assert forced["decode_steps"] < plain["decode_steps"]
    assert forced["schema"]["compile_ms"] > 0 and forced["schema"]["mask_us_p99"] >= forced["schema"]["mask_us_p50"] > 0
    assert 0 < forced["schema"]["mask_share"] < 1


def test_a_prompt_from_a_file(binary, tmp_path):
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("An order was paid by card. As JSON: ")
    few = run(binary, "--prompt-file", str(prompt), "--output", "5")
    none = run(binary, "--output", "5")
    assert few["prompt_tokens_computed"] > none["prompt_tokens_computed"] == 16


def test_a_schema_that_cannot_be_compiled_is_named(binary, tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "strange"}')
    done = subprocess.run([binary, "bench", "engine", "demo", "--schema", str(schema)], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode != 0
    assert "strange" in done.stderr
