#!/usr/bin/env python3
"""scripts/image takes from docker/Dockerfile.* what stands there, and the two Dockerfiles differ only where they must.
The Dockerfiles are read here in another way than the script reads them. Makes and runs no image: that needs root."""

import importlib.machinery
import importlib.util
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "image"


def load_script():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("image", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("image", loader))
    loader.exec_module(module)
    return module


def plan_of(kind):
    done = subprocess.run([SCRIPT, "plan", "--kind", kind], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def squeeze(text):
    return " ".join(text.replace("\\\n", " ").split())


def check_plan(kind):
    text = (ROOT / "docker" / f"Dockerfile.{kind}").read_text()
    last = text[text.rindex("\nFROM ") :]
    plan = plan_of(kind)
    listed = re.search(r"--no-install-recommends \\\n(.*?)&& rm", last, re.S)[1].replace("\\", " ").split()
    assert plan["packages"] == listed and len(listed) > 10, plan["packages"]
    commands = [squeeze(block) for block in re.findall(r"^RUN ((?:.*\\\n)*.*)$", last, re.M)]
    assert [squeeze(rest) for word, rest in plan["run"]["steps"] if word == "RUN"] == commands
    for key, value in plan["run"]["env"].items():
        assert f"{key}={value}" in last
    for word in ("user", "volume"):
        assert f"\n{word.upper()} {plan['run'][word]}\n" in last
    assert f"CMD {plan['run']['health']}\n" in last and json.dumps(plan["run"]["cmd"]) in last
    assert plan["run"]["base"] == re.match(r"\nFROM (\S+)", last)[1]
    return plan


def check_both():
    cpu, cuda = check_plan("cpu"), check_plan("cuda")
    assert cpu["packages"] == cuda["packages"]
    for key in ("steps", "user", "volume", "ports", "entrypoint", "cmd", "health", "base"):
        assert cpu["run"][key] == cuda["run"][key], key
    more = cuda["run"]["env"].items() - cpu["run"]["env"].items()
    assert {name for name, _ in more} == {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
    toolkit = ["COPY", "--from=toolkit /usr/local/cuda-13.0 /usr/local/cuda"]
    steps = [[word, rest.replace("preset cuda", "preset release").replace("build/cuda", "build/release")
              .replace(" -DCOPPICE_CUDA_ARCHITECTURES=full", "")]
             for word, rest in cuda["build"]["steps"] if [word, rest] != toolkit]  # fmt: skip
    assert steps == cpu["build"]["steps"]


def check_architectures():
    """What is shipped has machine code for every generation, and PTX that later ones can take."""
    sets = dict(re.findall(r"set\(COPPICE_CUDA_SET_(\w+) (.*)\)", (ROOT / "cmake" / "CoppiceCuda.cmake").read_text()))
    assert sets.keys() == {"small", "full"}, sets
    code = {each.removesuffix("-real") for each in sets["full"].split()}
    assert code == {"80", "86", "89", "90a", "100", "120"}, code
    for name, words in sets.items():
        ptx = [each for each in words.split() if not each.endswith("-real")]
        assert len(ptx) == 1 and ptx[0].isdecimal(), (name, ptx)  # 90a's and 100f's are for their own chips
    built = {"docker/Dockerfile.cuda": "--preset cuda", "scripts/gpu-check": "--preset release"}
    for path, preset in built.items():
        configures = re.findall(r"cmake --preset .*", (ROOT / path).read_text())
        assert len(configures) == 1 and preset in configures[0], configures
        assert " -DCOPPICE_CUDA_ARCHITECTURES=full " in configures[0], path


def check_package_list(image):
    rows = image.dpkg_rows("zlib1g:amd64\t1:1.2.13\tamd64\tzlib 1:1.2.13\nodd\t1\tall\todd 1\n")
    assert rows[0]["version"] == "1:1.2.13" and rows[1]["source"] == "odd 1"
    custom = {}
    both = image.spdx_expression(["GPL-2+", "Expat or Apache-2.0"], custom)
    assert both == "(MIT OR Apache-2.0) AND GPL-2.0-or-later"
    assert image.spdx_expression(["GPL-2, and zlib"], custom) == "GPL-2.0-only AND Zlib"
    assert image.spdx_expression([], custom) == "NOASSERTION" and custom == {}
    assert image.spdx_expression(["Sleepycat!"], custom) == "LicenseRef-Debian-Sleepycat" and len(custom) == 1
    plan = {"kind": "cpu"}
    document = image.package_list(plan, rows, rows[:1], "1.0", lambda name: pathlib.Path("/nonexistent"))
    names = [each["name"] for each in document["packages"]]
    assert names[:4] == ["coppice", "coppice", "zlib1g:amd64", "odd"] and "xgrammar" in names
    ids = {each["SPDXID"] for each in document["packages"]}
    assert len(ids) == len(names) and all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", each) for each in ids)
    for relation in document["relationships"]:
        assert {relation["spdxElementId"], relation["relatedSpdxElement"]} <= ids, relation


if __name__ == "__main__":
    check_both()
    check_architectures()
    check_package_list(load_script())
