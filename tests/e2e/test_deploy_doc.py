"""docs/deploy.md and the systemd unit: flags, metrics, values and files that they name exist."""

import re
import shutil
import subprocess

import pytest
import yaml

from helm_tools import CHART
from running_server import ROOT

DOC = (ROOT / "docs" / "deploy.md").read_text()
UNIT = ROOT / "configs" / "coppice.service"
# Of other programs, each beside the program's name.
OTHERS = {
    "docker": {"--rm", "--read-only", "--cap-drop", "--security-opt", "--stop-timeout", "--gpus"},
    "cmake": {"--preset", "--build", "--target", "--install", "--strip"},
    "systemctl": {"--now"},
    "systemd-analyze": {"--offline"},
}
EXPOSURE_MOST = 2.0  # of 10, by systemd-analyze


def known_flags(binary):
    flags = set()
    for words in (["serve"], ["inspect"], ["bench", "serve"]):
        text = subprocess.run([binary, *words, "--help"], capture_output=True, text=True, check=True).stdout
        flags |= set(re.findall(r"--[a-z][a-z-]+", text))
    return flags


def test_flags_exist(binary):
    known = known_flags(binary)
    others = {flag for program, flags in OTHERS.items() if program in DOC for flag in flags}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", DOC))
    assert len(named & known) > 15
    assert named - known == others - known, (named - known) ^ (others - known)


def test_metrics_exist(server):
    page = server.request("GET", "/metrics")[2]
    named = set(re.findall(r"`((?:vllm|coppice):[a-z_]+)`", DOC))
    silent = {"coppice:answers_total", "coppice:connections_refused_total"}  # until the first of them
    assert len(named) > 10
    for name in named - silent:
        assert re.search(rf"^# TYPE {name}(_total)? ", page, re.M), name


def test_values_of_the_chart_exist():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    named = set(re.findall(r"`([a-z][A-Za-z]+(?:\.[a-z][A-Za-z]+)+)(?::[^`]*)?`", DOC))
    found = {name for name in named if name.split(".")[0] in values and not name.endswith(".yaml")}
    assert len(found) > 10
    for name in found:
        node = values
        for part in name.split("."):
            assert part in node, name
            node = node[part]


def test_files_exist():
    for name in re.findall(r"\b((?:configs|docker|scripts|docs|tests)/[\w./-]*\w)", DOC):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([\w./-]+)\)", DOC):
        assert (ROOT / "docs" / name).exists(), name


def unit_settings():
    pairs = [line.split("=", 1) for line in UNIT.read_text().splitlines() if re.match(r"[A-Za-z]+=", line)]
    return {name: value for name, value in pairs}


def test_the_unit_starts_the_server_with_what_is_installed(binary):
    settings = unit_settings()
    program, command, model, *flags = settings["ExecStart"].split()
    assert program.removeprefix("/opt/coppice/") == "bin/coppice" and command == "serve"
    assert model == "${COPPICE_MODEL}" and set(flags[::2]) <= known_flags(binary)
    drain = yaml.safe_load((ROOT / "configs" / "serve.yaml").read_text())["drain-timeout"]
    assert int(settings["TimeoutStopSec"]) >= drain + 10
    assert {"DynamicUser": "yes", "ProtectSystem": "strict", "NoNewPrivileges": "yes"}.items() <= settings.items()


def test_the_unit_is_right_for_systemd(binary, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    copy = tmp_path / "coppice.service"
    copy.write_text(UNIT.read_text().replace("/opt/coppice/bin/coppice", str(binary.resolve())))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and str(copy.name) not in done.stderr, done.stderr
    command = ["systemd-analyze", "security", "--offline=true", copy]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    assert float(re.search(r"Overall exposure level for \S+ ([\d.]+)", text)[1]) <= EXPOSURE_MOST
