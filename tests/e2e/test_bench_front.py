"""`coppice bench front` serves every stream whole, over both APIs, and says what it cost."""

import json
import subprocess

import pytest


@pytest.mark.parametrize("api", ["http", "grpc"])
def test_every_stream_is_served(binary, api):
    flags = ["--api", api, "--streams", "30", "--tokens", "40", "--step-ms", "5", "--ramp", "0.05", "--json"]
    done = subprocess.run([binary, "bench", "front", *flags], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert 0 < report["tokens"] <= 30 * 40
    assert report["tokens_per_s"] > 0 and report["server_us_per_token"] > 0 and report["added_ms_p99"] > 0
