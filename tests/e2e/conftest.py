"""Fixtures of the end-to-end tests: the built program serving the demo model."""

import pathlib

import openai
import pytest

from running_server import ROOT, RunningServer


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
