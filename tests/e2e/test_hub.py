"""MODEL by its name on the Hugging Face Hub: found in the cache, or fetched into it as the Hub's own client would have.

The Hub is a server on loopback. What a fetch leaves is read by huggingface_hub, and what that leaves by Coppice.
"""

import hashlib
import http.server
import json
import os
import pathlib
import select
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from gguf import GGMLQuantizationType as Type

from hub_server import HubServer, Repository
from running_server import ROOT, RunningServer
from test_gguf import write_model

DEMO = ROOT / "models" / "demo"
NAME = "coppice/demo"
SECRET = "hf_secret"


def demo_repository(**more):
    """The demo model as a repository: its weights in the store, and what no model needs beside them."""
    files = {path.name: path.read_bytes() for path in sorted(DEMO.iterdir()) if path.is_file()}
    files |= {"pytorch_model.bin": b"\0" * 1000, "onnx/model.onnx": b"\0" * 1000, ".gitattributes": b"*"}
    return Repository(files, large={"model.safetensors", "pytorch_model.bin"}, **more)


@pytest.fixture
def hub():
    with HubServer({NAME: demo_repository()}) as server:
        yield server


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def environment(home, hub=None, **more):
    """Nothing of the machine's own settings, nor its proxy."""
    keep = {name: value for name, value in os.environ.items() if not name.upper().startswith(("HF_", "HTTP", "XDG_"))}
    endpoint = {"HF_ENDPOINT": hub if isinstance(hub, str) else hub.url} if hub else {}
    return {**keep, "HF_HOME": str(home), "COPPICE_CACHE": str(home / "own"), "HOME": str(home), **endpoint, **more}


def run(binary, *arguments, env, timeout=60):
    done = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=timeout, env=env, check=False)
    return done.returncode, done.stdout, done.stderr


def tokens(binary, model, env, *flags, timeout=60):
    """The ids of a text by that model."""
    code, out, err = run(binary, "tokenize", model, "Once upon a time", "--json", *flags, env=env, timeout=timeout)
    assert code == 0, err
    return json.loads(out)


def refused(binary, model, env, *flags, timeout=60):
    """(exit code, the one line of the error)."""
    code, out, err = run(binary, "tokenize", model, "Once", *flags, env=env, timeout=timeout)
    assert code != 0 and out == "", err
    errors = [line for line in err.splitlines() if line.startswith("coppice: ")]
    assert len(errors) == 1 and err.splitlines()[-1] == errors[0], err
    assert "terminate" not in err and "unexpected" not in err, err
    return code, errors[0]


def tree(folder):
    """What lies in a folder, with where links lead; {} when there is none."""
    found = {}
    for path in folder.rglob("*") if folder.exists() else []:
        content = os.readlink(path) if path.is_symlink() else path.is_dir() or path.read_bytes()
        found[str(path.relative_to(folder))] = content
    return found


def own_client(code, env):
    """Runs Hugging Face's own client in a process with that environment."""
    more = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run([sys.executable, "-c", "from huggingface_hub import *\n" + code],
                          capture_output=True, text=True, timeout=120, env={**env, **more}, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_model_is_fetched_once_and_served(binary, hub, home):
    env = environment(home, hub)
    local = tokens(binary, str(DEMO), env)
    assert hub.requests == []  # a path needs no Hub
    assert tokens(binary, NAME, env) == local
    fetched = {path.rsplit("/", 1)[1].split("?")[0] for path in hub.paths("GET") if "/api/" not in path}
    read = {path.name for path in DEMO.iterdir()} & {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer.model",
        "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "added_tokens.json"}  # fmt: skip
    assert fetched == read
    asked = len(hub.requests)
    assert tokens(binary, NAME, env) == local
    assert tokens(binary, NAME, env, "--offline") == local
    assert tokens(binary, NAME, {**env, "HF_HUB_OFFLINE": "1"}) == local
    assert tokens(binary, NAME + "@" + hub.repositories[NAME].commit, env) == local
    assert len(hub.requests) == asked  # what is there is used as it is
    changed = [f"{name}={value}" for name, value in env.items() if os.environ.get(name) != value]
    with RunningServer("/usr/bin/env", NAME, "--offline", launcher=[*changed, str(binary)]) as server:
        assert server.model == NAME
        status, answer = server.post("/v1/completions", {"prompt": "Once", "max_tokens": 4, "model": NAME})
        assert status == 200 and answer["model"] == NAME
        assert server.stop() == 0


def test_every_command_takes_a_name(binary, hub, home, tmp_path):
    env = environment(home, hub)
    code, out, err = run(binary, "inspect", NAME, env=env)
    assert code == 0 and "tokenizer" in out, err
    code, out, err = run(binary, "generate", NAME, "--prompt", "Once", "--max-tokens", "4", "--kv-memory", "16MiB",
                         env=env)  # fmt: skip
    assert code == 0 and out.strip(), err
    (tmp_path / "in").write_text(json.dumps(
        {"custom_id": "1", "method": "POST", "url": "/v1/completions",
         "body": {"model": NAME, "prompt": "Once", "max_tokens": 4}}) + "\n")  # fmt: skip
    code, out, err = run(binary, "batch", NAME, tmp_path / "in", tmp_path / "out", "--kv-memory", "16MiB", env=env)
    assert code == 0 and '"status_code":200' in (tmp_path / "out").read_text().replace(" ", ""), err
    code, out, err = run(binary, "bench", "engine", NAME, "--output", "2", "--json", "--kv-memory", "16MiB", env=env)
    assert code == 0 and json.loads(out.splitlines()[0])["model"] == NAME, err


def test_the_hubs_own_client_finds_what_was_fetched(binary, hub, home):
    env = environment(home, hub)
    tokens(binary, NAME, env)
    repository = hub.repositories[NAME]
    folder = pathlib.Path(own_client(f"print(snapshot_download({NAME!r}, local_files_only=True))", env))
    assert folder.name == repository.commit
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        assert path.read_bytes() == repository.files[name]
        assert path.is_symlink() and os.readlink(path) == f"../../blobs/{repository.etag(name)}"
    asked = len(hub.requests)
    assert own_client(f"print(hf_hub_download({NAME!r}, 'config.json', local_files_only=True))", env)
    assert own_client(f"print(try_to_load_from_cache({NAME!r}, 'model.safetensors'))", env).startswith(str(home))
    assert not any(NAME in path for path in hub.paths()[asked:])
    found = own_client(
        "cache = scan_cache_dir(); assert not cache.warnings, cache.warnings\n"
        "print(*[(r.repo_id, r.repo_type, r.nb_files, [(v.commit_hash, sorted(v.refs)) for v in r.revisions])"
        " for r in cache.repos])", env)  # fmt: skip
    assert NAME in found and repository.commit in found and "['main']" in found
    # What it adds are the files that no model needs.
    before = tree(folder)
    own_client(f"print(snapshot_download({NAME!r}))", env)
    gets = [path for path in hub.paths("GET")[asked:] if "/resolve/" in path]
    assert before.items() <= tree(folder).items()
    assert {path.rsplit("/", 1)[1] for path in gets}.isdisjoint(before)


def test_what_the_hubs_own_client_fetched_is_found(binary, hub, home):
    env = environment(home, hub)
    own_client(f"snapshot_download({NAME!r})", env)
    asked = len(hub.requests)
    offline = environment(home, "http://127.0.0.1:9")
    assert tokens(binary, NAME, offline, "--offline") == tokens(binary, str(DEMO), env)
    assert tokens(binary, NAME, offline) == tokens(binary, str(DEMO), env)
    assert len(hub.requests) == asked


def test_a_part_that_the_hubs_own_client_fetched_is_completed(binary, hub, home):
    env = environment(home, hub)
    own_client(f"hf_hub_download({NAME!r}, 'config.json'); hf_hub_download({NAME!r}, 'model.safetensors')", env)
    code, line = refused(binary, NAME, env, "--offline")
    assert code == 2 and "tokenizer" in line
    asked = len(hub.requests)
    tokens(binary, NAME, env)
    assert not any("model.safetensors" in path for path in hub.paths("GET")[asked:])


def test_a_path_wins_over_a_name(binary, hub, home, tmp_path):
    shutil.copytree(DEMO, tmp_path / "coppice" / "demo")
    env = environment(home, hub)
    done = subprocess.run([binary, "tokenize", NAME, "Once", "--json"], cwd=tmp_path, env=env, capture_output=True,
                          timeout=60, check=False)  # fmt: skip
    assert done.returncode == 0 and hub.requests == []


def test_a_cut_connection_is_resumed(binary, hub, home):
    hub.faults["cut"] = 3
    tokens(binary, NAME, environment(home, hub))
    ranges = [headers["Range"] for _, _, _, headers in hub.requests if "Range" in headers]
    assert len(ranges) >= 3 and all(not each.startswith("bytes=0-") for each in ranges)


def test_a_fetch_that_was_killed_is_resumed(binary, hub, home):
    env = environment(home, hub)
    hub.faults["drip"] = True
    process = subprocess.Popen([binary, "tokenize", NAME, "Once"], env=env, stderr=subprocess.DEVNULL)
    weights = hub.repositories[NAME].files["model.safetensors"]
    part = home / "hub" / "models--coppice--demo" / "blobs" / (hashlib.sha256(weights).hexdigest() + ".incomplete")
    end = time.monotonic() + 30
    while time.monotonic() < end and not part.exists():
        time.sleep(0.05)
    time.sleep(1)
    process.kill()
    process.wait()
    hub.faults.clear()
    assert part.exists()
    if part.stat().st_size == 0:  # nothing of 64 KiB came in time: a part as a killed run leaves it
        part.write_bytes(weights[:100000])
    asked = len(hub.requests)
    tokens(binary, NAME, env)
    assert any("Range" in headers for _, _, _, headers in hub.requests[asked:])
    assert not list(home.rglob("*.incomplete"))


@pytest.mark.parametrize("left", [b"\0" * 5000, b"\0" * (1 << 26)])
def test_a_bad_part_of_an_earlier_run_does_no_harm(binary, hub, home, left):
    """Other bytes than the file's, fewer or more than it has."""
    weights = hub.repositories[NAME].files["model.safetensors"]
    blobs = home / "hub" / "models--coppice--demo" / "blobs"
    blobs.mkdir(parents=True)
    blob = blobs / hashlib.sha256(weights).hexdigest()
    (blobs / (blob.name + ".incomplete")).write_bytes(left)
    tokens(binary, NAME, environment(home, hub))
    assert blob.read_bytes() == weights


def test_a_server_without_ranges_begins_again(binary, hub, home):
    hub.faults |= {"cut": 2, "no ranges": True}
    tokens(binary, NAME, environment(home, hub))


def test_a_busy_server_is_asked_again(binary, hub, home):
    hub.faults |= {"busy": 1, "store busy": 2}
    tokens(binary, NAME, environment(home, hub))


def test_a_server_that_cuts_for_ever_is_given_up(binary, hub, home):
    hub.faults["cut"] = True
    env = environment(home, hub)
    code, line = refused(binary, NAME, env)
    assert code == 1 and "the connection was cut" in line and NAME in line
    hub.faults.clear()
    tokens(binary, NAME, env)  # from where it was


def test_two_at_once_fetch_once(binary, hub, home):
    env = environment(home, hub)
    results = []
    threads = [threading.Thread(target=lambda: results.append(tokens(binary, NAME, env))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(each == results[0] for each in results)
    gets = [path for path in hub.paths("GET") if "model.safetensors" in path and "signed" in path]
    assert len(gets) == 1
    assert not list(home.rglob("*.tmp")) and not list(home.rglob("*.incomplete"))


def test_a_revision(binary, hub, home):
    env = environment(home, hub)
    tokens(binary, NAME + "@refs/pr/1", env)
    assert any("revision/refs%2Fpr%2F1" in path for path in hub.paths())
    assert (home / "hub/models--coppice--demo/refs/refs/pr/1").read_text() == hub.repositories[NAME].commit
    code, line = refused(binary, NAME + "@v9", env)
    assert code == 2 and "no revision v9" in line
    code, line = refused(binary, NAME, env, "--offline")  # main is not there
    assert code == 2 and "looked in " + str(home / "hub") in line and "--offline" in line


def test_shards_of_an_index(binary, home, hub):
    """What the index names is fetched, and no other weights."""
    files = hub.repositories[NAME].files
    weights = files.pop("model.safetensors")
    files["a-1.safetensors"] = weights
    files["consolidated.safetensors"] = b"other"
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    index = {"weight_map": {name: "a-1.safetensors" for name in header if name != "__metadata__"}}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    hub.repositories[NAME].large |= {"a-1.safetensors", "consolidated.safetensors"}
    env = environment(home, hub)
    code, out, err = run(binary, "inspect", NAME, env=env)
    assert code == 0, err
    assert not any("consolidated" in path for path in hub.paths())
    (home / "hub/models--coppice--demo/snapshots" / hub.repositories[NAME].commit / "a-1.safetensors").unlink()
    assert "a-1.safetensors is not there" in refused(binary, NAME, env, "--offline")[1]


@pytest.fixture(scope="session")
def gguf(tmp_path_factory):
    """A small model as a GGUF file."""
    path = tmp_path_factory.mktemp("gguf") / "demo.gguf"
    write_model(path, Type.Q8_0)
    return path.read_bytes()


def test_gguf_files_by_their_quant(binary, gguf, home):
    files = {"demo-Q8_0.gguf": gguf, "demo-Q4_K_M.gguf": gguf, "demo-Q4_K.gguf": gguf, "README.md": b"#",
             "mmproj-demo-Q8_0.gguf": b"", "Q2_K/demo-Q2_K-00001-of-00002.gguf": gguf}  # fmt: skip
    repository = Repository(files, large=files)
    with HubServer({"owner/demo-GGUF": repository, "owner/one": Repository({"x.Q8_0.gguf": gguf}),
                    "owner/none": Repository({"pytorch_model.bin": b""})}) as hub:  # fmt: skip
        env = environment(home, hub)
        code, out, err = run(binary, "inspect", "owner/demo-GGUF:q4_k", env=env)
        assert code == 0, err
        assert [path for path in hub.paths("GET") if "signed" in path] == ["/owner/demo-GGUF/demo-Q4_K.gguf?signed=yes"]
        assert run(binary, "inspect", "owner/demo-GGUF:Q4_K", "--offline", env=env)[0] == 0
        assert run(binary, "inspect", "owner/one", env=env)[0] == 0
        asked = len(hub.requests)
        assert run(binary, "inspect", "owner/demo-GGUF", env=env)[0] == 0  # the one that the cache has
        assert len(hub.requests) == asked
        env = environment(home / "other", hub)
        for model, words in {
            "owner/demo-GGUF": ["several GGUF models", "demo-Q4_K_M", "demo-Q8_0", "owner/demo-GGUF:"],
            "owner/demo-GGUF:Q5_1": ["no GGUF file of Q5_1; there are ", "demo-Q8_0"],
            "owner/demo-GGUF:Q2_K": ["1 of 2 files"],
            "owner/none": ["nothing that Coppice reads"],
            "owner/none:Q8_0": ["has no GGUF files"],
        }.items():
            code, line = refused(binary, model, env)
            assert code == 2 and all(word in line for word in words), line


def test_a_gguf_file_is_not_taken_for_the_folder_beside_it(binary, gguf, hub, home):
    """The bare name of a repository with safetensors means those, whatever else was fetched before."""
    repository = hub.repositories[NAME]
    repository.files["other-Q8_0.gguf"] = gguf
    repository.large.add("other-Q8_0.gguf")
    env = environment(home, hub)
    folder = tokens(binary, str(DEMO), env)
    assert run(binary, "inspect", NAME + ":Q8_0", env=env)[0] == 0
    code, line = refused(binary, NAME, env, "--offline")
    assert code == 2 and f"{NAME}:other-Q8_0.gguf" in line, line
    assert tokens(binary, NAME, env) == folder
    assert any("model.safetensors" in path for path in hub.paths("GET"))
    asked = len(hub.requests)
    for model in (NAME, NAME + ":Q8_0"):
        assert run(binary, "inspect", model, "--offline", env=env)[0] == 0
    assert len(hub.requests) == asked


def test_answers_before_the_answer_are_skipped(binary, hub, home):
    hub.faults["interim"] = 3
    tokens(binary, NAME, environment(home, hub))
    hub.faults["interim"] = 9
    line = refused(binary, NAME, environment(home / "other", hub))[1]
    assert "more than 8 answers that only announce one" in line


@pytest.mark.parametrize("file, most", [("config.json", 1 << 22), ("tokenizer.model", 1 << 27)])
def test_a_small_file_may_not_be_large(binary, hub, home, file, most):
    hub.repositories[NAME].large.add(file)
    hub.faults["sizes"] = {file: str(most + 1)}
    line = refused(binary, NAME, environment(home, hub))[1]
    assert f"{file}: {most + 1} bytes, at most {most} are read" in line
    assert not any(file in path for path in hub.paths("GET"))


def test_settings_of_connections_are_read_where_there_are_any(binary, hub, home):
    """What is wrong in them is no matter to a model that is here."""
    env = environment(home, hub)
    local = tokens(binary, NAME, env)
    for name, value in {"HF_TOKEN": "no token", "HTTPS_PROXY": "socks5://x", "HF_HUB_DOWNLOAD_TIMEOUT": "x"}.items():
        wrong = {**env, name: value}
        for model, flags in ((str(DEMO), []), (NAME, []), (NAME, ["--offline"])):
            assert tokens(binary, model, wrong, *flags) == local
        assert "offline" in refused(binary, "owner/other", wrong, "--offline")[1]
        assert name in refused(binary, "owner/other", wrong)[1]


def test_who_may_not_read_is_told_what_to_do(binary, hub, home):
    gated = demo_repository()
    gated.gated, gated.token = True, SECRET
    private = demo_repository()
    private.token = SECRET
    hub.repositories |= {"owner/gated": gated, "owner/private": private}
    env = environment(home, hub)
    wrong = {**env, "HF_TOKEN": "hf_other"}
    for model, each, words in [
        ("owner/gated", env, [f"ask for access on {hub.url}/owner/gated", "HF_TOKEN"]),
        ("owner/gated", wrong, ["gated (with the token of HF_TOKEN)"]),
        ("owner/private", env, ["shows no such model", "set HF_TOKEN"]),
        ("owner/nothing", env, ["shows no such model: check the name"]),
        ("owner/nothing", wrong, ["shows no such model (with the token of HF_TOKEN)"]),
    ]:
        line = refused(binary, model, each)[1]
        assert model in line and all(word in line for word in words), line
    tokens(binary, "owner/gated", {**env, "HF_TOKEN": SECRET})
    home.joinpath("token").write_text(SECRET + "\n")
    tokens(binary, "owner/private", env)  # the file that `hf auth login` writes
    with_token = [(server, path) for server, _, path, headers in hub.requests
                  if SECRET in headers.get("Authorization", "")]  # fmt: skip
    assert with_token and all(server == "hub" for server, _ in with_token)
    assert any(server == "store" for server, _, _, _ in hub.requests)


def test_without_network_one_line_says_what_was_tried(binary, home):
    for endpoint, words in {
        "http://127.0.0.1:9": ["127.0.0.1:9 cannot be reached"],
        "https://hub.invalid": ["the name hub.invalid is not known"],
    }.items():
        code, line = refused(binary, NAME, environment(home, endpoint))
        assert code == 1 and "looked in " + str(home / "hub") in line and f"then asked {endpoint}" in line, line
        assert all(word in line for word in words), line
    code, line = refused(binary, NAME, environment(home, "ftp://hub"))
    assert code == 2 and "HF_ENDPOINT" in line


def test_offline_makes_no_connection(binary, hub, home):
    for flags, more in ([("--offline",), {}], [(), {"HF_HUB_OFFLINE": "1"}], [(), {"TRANSFORMERS_OFFLINE": "true"}]):
        code, line = refused(binary, NAME, environment(home, hub, **more), *flags)
        assert code == 2 and "offline" in line
    assert hub.requests == [] and not home.exists()


def test_what_is_no_name_is_answered_with_what_there_is(binary, hub, home):
    env = environment(home, hub)
    for model in ("nope", "a/b/c", "../../etc/no-such", "/no/such/model", "owner/..", "owner/x--y", "owner/x:",
                  "owner/x@", "owner/x@../y", "folder/model.gguf", ".hidden/x", "owner/na me", "owner/name@-x",
                  "owner/x:a b"):  # fmt: skip
        code, line = refused(binary, model, env)
        assert code == 2 and "no such model" in line and "demo, smollm2" in line
    assert hub.requests == []


HOSTILE = ["../../evil", "/etc/evil", "a/../../../evil", "a//b", "..", "x\\..\\y", "new\nline", "\x00", "", "x" * 300]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(binary, hub, home, tmp_path, name):
    siblings = [{"rfilename": "config.json"}, {"rfilename": name}]
    hub.faults["listing"] = json.dumps({"sha": hub.repositories[NAME].commit, "siblings": siblings}).encode()
    _, line = refused(binary, NAME, environment(home, hub))
    assert "which is refused" in line
    assert tree(tmp_path) == {}


def test_a_hostile_index(binary, hub, home, tmp_path):
    files = hub.repositories[NAME].files
    del files["model.safetensors"]
    for index in ({"weight_map": {"a": "../../../evil"}}, {"weight_map": {"a": 5}}, {"weight_map": []}, [], {},
                  {"weight_map": {"a": "not-there.safetensors"}}):  # fmt: skip
        files["model.safetensors.index.json"] = json.dumps(index).encode()
        assert "model.safetensors.index.json" in refused(binary, NAME, environment(home, hub))[1]
    assert set(os.listdir(tmp_path)) <= {"home"}


LISTINGS = {
    "no JSON": b"{", "a list": b"[]", "deep": b"[" * 100000, "no files": b'{"sha":"' + b"a" * 40 + b'"}',
    "a commit that is a path": b'{"sha":"../../../x","siblings":[]}',
    "no name": b'{"sha":"' + b"a" * 40 + b'","siblings":[5]}',
    "a name that is none": b'{"sha":"' + b"a" * 40 + b'","siblings":[{"rfilename":{}}]}',
    "bytes": bytes(range(256)), "nothing": b" ",
}  # fmt: skip


@pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS)
def test_hostile_listings(binary, hub, home, tmp_path, listing):
    hub.faults["listing"] = listing
    assert "is HF_ENDPOINT right?" in refused(binary, NAME, environment(home, hub))[1]
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    "fault, value, words",
    [
        ("html", True, ["no JSON object", "<!DOCTYPE html>", "is HF_ENDPOINT right?"]),
        ("redirect forever", True, ["redirects more than 8 times"]),
        ("huge listing", True, ["more than 33554432 bytes"]),
        ("no length", True, ["does not say its size"]),
        ("size", "99999999999999999999", ["does not say its size"]),
        ("size", "-1", ["does not say its size"]),
        ("size", "4000000000000", ["has room for"]),
        ("etag", "../../../evil", ["does not say its hash"]),
        ("etag", "a" * 64, ["its hash should be aaaa", "it was removed"]),
        ("other content", True, ["its hash should be "]),
        ("more bytes", True, ["bytes were promised"]),
        ("chunked forever", True, ["more than the ", "that were promised"]),
    ],
)
def test_a_hub_that_lies(binary, hub, home, tmp_path, fault, value, words):
    hub.faults[fault] = value
    code, line = refused(binary, NAME, environment(home, hub))
    assert NAME in line and all(word in line for word in words), line
    assert set(os.listdir(tmp_path)) <= {"home"}
    blobs = home / "hub" / "models--coppice--demo" / "blobs"
    for path in blobs.glob("*") if blobs.exists() else []:
        if path.suffix != ".incomplete":
            assert path.name in {hub.repositories[NAME].etag(name) for name in hub.repositories[NAME].files}
    hub.faults.clear()
    tokens(binary, NAME, environment(home, hub))  # nothing of it does harm later


def test_a_slow_server_is_given_up(binary, hub, home):
    """A byte now and then keeps no client."""
    hub.faults["drip"] = True
    begin = time.monotonic()
    code, line = refused(binary, NAME, environment(home, hub, HF_HUB_DOWNLOAD_TIMEOUT="0.5"))
    assert code == 1 and "came in 0.5 s" in line
    assert time.monotonic() - begin < 30


def test_a_token_that_is_none(binary, hub, home):
    code, line = refused(binary, NAME, environment(home, hub, HF_TOKEN="a\nEvil: header"))
    assert code == 2 and "HF_TOKEN: is no token" in line and hub.requests == []


def test_a_full_disk_is_said(binary, hub, home):
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("needs a file system of its own")
    home.mkdir()
    script = f"mount -t tmpfs -o size=1m none {home} && exec {binary} tokenize {NAME} Once"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], env=environment(home, hub), capture_output=True,
                          text=True, timeout=60, check=False)  # fmt: skip
    if "mount" in done.stderr.splitlines()[-1]:
        pytest.skip("may not mount")
    assert done.returncode == 1 and "has room for" in done.stderr.splitlines()[-1], done.stderr


@pytest.fixture
def secure_hub(hub, tmp_path):
    """The Hub over TLS, by the name localhost; its certificate is tmp_path/cert."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"],
                   check=True, capture_output=True)  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    hub.repositories[NAME].large.clear()  # the store has no certificate
    hub.hub.socket = context.wrap_socket(hub.hub.socket, server_side=True)
    hub.secure_url = f"https://localhost:{hub.hub.server_port}"
    hub.trust = {"SSL_CERT_FILE": str(tmp_path / "cert"), "SSL_CERT_DIR": "/nonexistent"}
    return hub


def test_https_checks_certificates(binary, secure_hub, home):
    env = environment(home, secure_hub.secure_url)
    env.pop("SSL_CERT_FILE", None)
    assert "is refused (self-signed certificate)" in refused(binary, NAME, env)[1]
    trusted = {**env, **secure_hub.trust}
    by_address = secure_hub.secure_url.replace("localhost", "127.0.0.1")
    assert "is refused" in refused(binary, NAME, {**trusted, "HF_ENDPOINT": by_address})[1]
    assert secure_hub.requests == []
    tokens(binary, NAME, trusted)


class Proxy(http.server.BaseHTTPRequestHandler):
    """Connects as it is asked to, and notes to where; refuses if it is told to."""

    def log_message(self, *_):
        pass

    def do_CONNECT(self):  # noqa: N802
        self.server.asked.append(self.path)
        if self.server.refuses:
            return self.send_error(403)
        self.send_response(200)
        self.end_headers()
        host, port = self.path.split(":")
        with socket.create_connection((host, int(port))) as to:
            pairs = {self.connection: to, to: self.connection}
            while True:
                for each in select.select(list(pairs), [], [], 10)[0]:
                    data = each.recv(65536)
                    if not data:
                        self.close_connection = True
                        return None
                    pairs[each].sendall(data)


def test_https_goes_through_a_proxy(binary, secure_hub, home):
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    proxy.asked, proxy.refuses, proxy.daemon_threads = [], False, True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    env = {**environment(home, secure_hub.secure_url), **secure_hub.trust,
           "HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_port}"}  # fmt: skip
    try:
        tokens(binary, NAME, env)
        assert set(proxy.asked) == {secure_hub.secure_url.removeprefix("https://")}
        shutil.rmtree(home)
        proxy.refuses = True
        assert "refuses to connect to localhost" in refused(binary, NAME, env)[1]
        tokens(binary, NAME, {**env, "NO_PROXY": "example.org, localhost"})
    finally:
        proxy.shutdown()
        proxy.server_close()
    line = refused(binary, NAME, {**environment(home), "HTTPS_PROXY": "socks5://x", "HF_HOME": str(home / "other")})[1]
    assert "HTTPS_PROXY" in line
