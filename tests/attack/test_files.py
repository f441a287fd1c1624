"""Files that are none, or not what they should be: refused or survived, with one clear line."""

import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import time

import pytest

from running_server import ROOT, RunningServer

DEMO = ROOT / "models" / "demo"
SPM = ROOT / "tests" / "unit" / "text" / "tokenizer" / "fixtures" / "sentencepiece_bpe"
SERVE = ["--port", "0", "--grpc-port", "-1", "--kv-memory", "16MiB"]


def run(binary, *arguments, seconds=30):
    """(exit code, stderr) of a command that should end by itself; the memory it may take is bounded."""
    command = ["bash", "-c", 'ulimit -v 8000000; exec "$@"', "bash", str(binary), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds)
    return done.returncode, done.stderr


def demo_copy(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(DEMO, folder)
    return folder


def one_line(stderr):
    lines = [line for line in stderr.splitlines() if line.startswith("coppice: ")]
    assert len(lines) == 1 and len(lines[0]) < 1000, stderr
    return lines[0]


KINDS = {
    "fifo": lambda path: os.mkfifo(path),
    "device": lambda path: os.symlink("/dev/zero", path),
    "null": lambda path: os.symlink("/dev/null", path),
    "folder": lambda path: os.mkdir(path),
}
FILE_FLAGS = ["--config", "--api-key-file", "--tls-cert", "--tls-key", "--pin-file", "--speculation-corpus"]
MODEL_FILES = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "model.safetensors",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_models_file_that_is_no_file(binary, tmp_path, name, kind):
    folder = demo_copy(tmp_path)
    if (folder / name).exists():
        (folder / name).unlink()
    KINDS[kind](folder / name)
    code, stderr = run(binary, "serve", folder, *SERVE)
    assert code in (1, 2), stderr
    assert name in one_line(stderr) and "not a regular file" in one_line(stderr)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flag", FILE_FLAGS)
def test_a_flags_file_that_is_no_file(binary, tmp_path, flag, kind):
    KINDS[kind](tmp_path / "it")
    flags = [flag, tmp_path / "it"]
    if flag.startswith("--tls"):
        (tmp_path / "other").write_text("x")
        flags += ["--tls-key" if flag == "--tls-cert" else "--tls-cert", tmp_path / "other"]
    code, stderr = run(binary, "serve", "demo", *SERVE, *flags)
    assert code in (1, 2), stderr
    line = one_line(stderr)
    if flag != "--tls-key":  # the certificate is read first
        assert str(tmp_path / "it") in line and "not a regular file" in line


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["outputs.snapshot", "step-costs.txt"])
def test_a_state_file_that_is_no_file(binary, tmp_path, name, kind):
    KINDS[kind](tmp_path / name)
    with RunningServer(binary, "demo", "--speculation-state", str(tmp_path)) as server:
        assert any(name in line and "not a regular file" in line for line in server.log), "".join(server.log)
        assert server.request("GET", "/ready")[0] == 200
        assert server.stop() == 0


def test_a_fifo_beside_the_state_is_no_trap(binary, tmp_path):
    for name in ("outputs.snapshot", "step-costs.txt"):
        os.mkfifo(tmp_path / (name + ".tmp"))
    with RunningServer(binary, "demo", "--speculation-state", str(tmp_path)) as server:
        assert server.post("/v1/completions", {"prompt": "a", "max_tokens": 8})[0] == 200
        assert server.stop() == 0, "".join(server.log)
    assert (tmp_path / "outputs.snapshot").is_file() and not list(tmp_path.glob("*.tmp"))


def test_files_that_are_too_large(binary, tmp_path):
    folder = demo_copy(tmp_path)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        before = (folder / name).read_bytes() if (folder / name).exists() else None
        with open(folder / name, "wb") as file:
            file.truncate(1 << 33)  # 8 GiB, none of it on the disk
        code, stderr = run(binary, "serve", folder, *SERVE)
        assert code == 2 and name in one_line(stderr), stderr
        (folder / name).write_bytes(before)
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1 << 36)
    for flag in ("--config", "--api-key-file", "--pin-file", "--speculation-corpus"):
        code, stderr = run(binary, "serve", "demo", *SERVE, flag, tmp_path / "large")
        assert code == 2 and "large" in one_line(stderr), stderr


def test_weights_that_shrink_while_they_are_read(binary, tmp_path):
    """A mapped file that shrinks ends the process at the next touch."""
    size = (DEMO / "model.safetensors").stat().st_size
    generator = random.Random(1)
    codes = set()
    for turn in range(12):
        folder = demo_copy(tmp_path / str(turn))
        process = subprocess.Popen(
            [str(binary), "generate", str(folder), "--prompt", "a", "--max-tokens", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(generator.random() * 0.15)
        os.truncate(folder / "model.safetensors", generator.randrange(size))
        _, stderr = process.communicate(timeout=60)
        codes.add(process.returncode)
        assert process.returncode in (0, 1, 2), (process.returncode, stderr)
        if process.returncode:
            one_line(stderr)
    assert codes - {0}, "no turn was early enough"


def test_headers_of_many_tensors(binary, tmp_path):
    folder = demo_copy(tmp_path)
    header = {str(i): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(50_000)}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    begin = time.monotonic()
    code, stderr = run(binary, "serve", folder, *SERVE)
    assert code == 2 and time.monotonic() - begin < 15, stderr  # quadratic: more than a minute
    one_line(stderr)


def damaged_weights(folder, change):
    raw = bytearray((folder / "model.safetensors").read_bytes())
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    name, entry = next((n, e) for n, e in header.items() if n.endswith("mlp.up_proj.weight"))
    change(raw, 8 + length + entry["data_offsets"][0], entry["dtype"])
    (folder / "model.safetensors").write_bytes(raw)
    return name


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_weights_that_are_no_numbers(binary, tmp_path, value):
    folder = demo_copy(tmp_path)

    def change(raw, at, dtype):
        bits = struct.pack("<f", float(value))
        if dtype == "F32":
            raw[at : at + 4] = bits
        elif dtype == "BF16":
            raw[at : at + 2] = bits[2:]
        else:
            raw[at : at + 2] = struct.pack("<e", float(value))

    name = damaged_weights(folder, change)
    code, stderr = run(binary, "serve", folder, *SERVE)
    assert code == 2, stderr
    assert name in one_line(stderr) and "NaN" in one_line(stderr)


def field(number, data):
    length, head = len(data), bytes([number << 3 | 2])
    while length >= 128:
        head += bytes([length & 127 | 128])
        length >>= 7
    return head + bytes([length]) + data


def charsmap(units, texts):
    return struct.pack("<I", 4 * len(units)) + struct.pack(f"<{len(units)}I", *units) + texts


def crafted_charsmaps():
    """74 tries, most of which the library would follow out of bounds."""
    sound = [0xFF] * 768
    sound[0] = 256 << 10
    sound[256 ^ 97] = ((512 ^ 256 ^ 97) << 10) | (1 << 8) | 97
    sound[512] = 1 << 31
    sound[511], sound[767] = 0xAA, 0xAA
    texts = b"x\0b\0"
    maps = [b"", b"\0", b"\0\0\0\0", b"\xff\xff\xff\xff", charsmap([0xFFFFFFFF], texts), charsmap([], texts)]
    maps += [charsmap([0] * count, texts) for count in (1, 255, 256, 257)]
    maps += [charsmap(sound, end) for end in (b"", b"x", b"x" * 300 + b"\0", texts)]
    maps += [charsmap(sound, texts)[:-cut] for cut in (1, 5, 1000, 3000)]
    for unit in (0, 256 ^ 97, 512):
        for bit in range(9, 32):
            maps.append(charsmap([value ^ (1 << bit) if i == unit else value for i, value in enumerate(sound)], texts))
    return maps[:87]


def test_crafted_charsmaps(binary, tmp_path):
    model = (SPM / "tokenizer.model").read_bytes()
    folder = tmp_path / "model"
    shutil.copytree(SPM, folder)
    (folder / "tokenizer.json").unlink(missing_ok=True)
    refused, maps = 0, crafted_charsmaps()
    assert len(maps) >= 74
    for crafted in maps:
        (folder / "tokenizer.model").write_bytes(model + field(3, field(2, crafted)))
        code, stderr = run(binary, "tokenize", folder, "an apple a day aaaa b")
        assert code in (0, 2), (code, stderr, crafted[:40])
        refused += code == 2
        if code == 2:
            assert "precompiled_charsmap" in one_line(stderr)
    assert refused > 40


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 96 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this machine lets no file system be mounted")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_keeps_the_old_state(binary, small_disk):
    flags = ["--speculation-state", str(small_disk)]
    with RunningServer(binary, "demo", *flags) as server:
        server.post("/v1/completions", {"prompt": "a", "max_tokens": 8})
        assert server.stop() == 0
    before = {path.name: path.read_bytes() for path in small_disk.iterdir()}
    assert before["step-costs.txt"] and before["outputs.snapshot"]
    with RunningServer(binary, "demo", *flags) as server:
        for seed in range(12):
            body = {"prompt": "a", "max_tokens": 200, "ignore_eos": True, "temperature": 1.5, "seed": seed, "n": 4}
            assert server.post("/v1/completions", body)[0] == 200
        try:
            (small_disk / "filler").write_bytes(b"x" * 200_000)
        except OSError:
            pass
        assert server.stop() == 0
        assert any("not saved" in line for line in server.log), "".join(server.log)
    (small_disk / "filler").unlink()
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == before


CONFIGS = {
    "max-body: 0\n": "max-body",
    "max-body: 999999999999\n": "max-body",
    "port: 1\nport: 2\n": "twice",
    "max-running: 1\nmax_running: 2\n": "twice",
    "max-running: 1000000000\n": "max-running",
    "max-queued: 1000000000\n": "max-queued",
    "max-batch-tokens: 1000000000\n": "max-batch-tokens",
    "speculation-memory: 1TiB\n": "speculation-memory",
    "- port\n": "mapping",
    "[" * 100_000: "it.yaml",
    "port: &a 1\nhost: *b\n": "it.yaml",
    "\x00": "it.yaml",
}


@pytest.mark.parametrize("text", CONFIGS, ids=lambda text: text[:30])
def test_configurations_that_cannot_be(binary, tmp_path, text):
    (tmp_path / "it.yaml").write_text(text)
    code, stderr = run(binary, "serve", "demo", *SERVE, "--config", tmp_path / "it.yaml")
    assert code == 2, stderr
    assert CONFIGS[text] in one_line(stderr)


def test_an_encrypted_key(binary, tmp_path):
    command = "openssl req -x509 -newkey rsa:2048 -keyout key -out cert -days 1 -subj /CN=localhost -passout pass:word"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    code, stderr = run(binary, "serve", "demo", *SERVE, "--tls-cert", tmp_path / "cert", "--tls-key", tmp_path / "key")
    assert code == 2 and "passphrase" in one_line(stderr), stderr
