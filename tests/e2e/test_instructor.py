"""The client `instructor`. Its package asks for an older jiter than the other clients', so it lies in a folder of its
own, with the others' libraries."""

import subprocess
import sys

import openai
import pydantic
import pytest

from conftest import MODELS
from running_server import RunningServer

PACKAGES = ["instructor==1.17.0", "jinja2==3.1.6", "markupsafe==3.0.3"]
QUESTION = [{"role": "user", "content": "Forecast for Ulm"}]


class Forecast(pydantic.BaseModel):
    city: str = pydantic.Field(max_length=12)
    degrees: int = pydantic.Field(ge=-40, le=50)


@pytest.fixture(scope="module")
def instructor():
    folder = MODELS.parent / "clients" / PACKAGES[0]
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *PACKAGES]
        subprocess.run(pip, check=True, timeout=600)
    sys.path.append(str(folder))
    import instructor as package

    yield package
    sys.path.remove(str(folder))


def test_instructor(binary, real_model, instructor):
    with RunningServer(binary, real_model, "--tool-format", "hermes", "--kv-memory", "256MiB") as server:
        plain = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
        for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
            client = instructor.from_openai(plain, mode=mode)
            forecast = client.chat.completions.create(
                model="smollm2", response_model=Forecast, messages=QUESTION, max_retries=0, temperature=0,
                max_tokens=200,
            )  # fmt: skip
            assert isinstance(forecast, Forecast), mode
        assert server.stop() == 0
