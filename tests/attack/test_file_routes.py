"""/v1/files and /v1/batches under attack: names that lead out of the folder, forms that are none, quotas, links."""

import json
import os
import threading
import time

import pytest

from raw_http import HOST, body_of, exchange, get, header_of, resident_bytes, status_of, wait_until
from running_server import RunningServer

BOUNDARY = "XX"
FORM = "content-type: multipart/form-data; boundary=XX"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("attacked")


@pytest.fixture(scope="module")
def filed(binary, folder):
    """A server with files. It must survive the module, and end when asked to."""
    with RunningServer(binary, "demo", "--seed", "1", "--files-folder", str(folder), "--files-max", "500") as running:
        yield running
        assert running.process.poll() is None, "the server died:\n" + "".join(running.log)
        assert running.stop() == 0, "".join(running.log)


def part(name, content, more=""):
    content = content if isinstance(content, bytes) else content.encode()
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*parts):
    return b"".join(parts) + b"--XX--\r\n"


def send(server, method, path, body=b"", *headers):
    head = f"{method} {path} HTTP/1.1\r\n".encode() + HOST + b"connection: close\r\n"
    head += b"".join(header.encode("latin-1") + b"\r\n" for header in headers)
    return exchange(server, head + b"content-length: %d\r\n\r\n" % len(body) + body)


def upload(server, body, *headers):
    return send(server, "POST", "/v1/files", body, *(headers or (FORM,)))


def make_file(server, content=b"x", purpose="batch", filename="a"):
    answer = upload(server, form(part("purpose", purpose), part("file", content, f'; filename="{filename}"')))
    assert status_of(answer) == 200, answer[:500]
    return body_of(answer)["id"]


def make_batch(server, file_id, window="24h", endpoint="/v1/completions"):
    body = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": window}
    answer = send(server, "POST", "/v1/batches", json.dumps(body).encode(), "content-type: application/json")
    assert status_of(answer) == 200, answer[:500]
    return body_of(answer)["id"]


def ended(server, batch_id, seconds=60):
    final = ("completed", "failed", "expired", "cancelled")
    found = {}

    def look():
        found.update(json.loads(server.request("GET", f"/v1/batches/{batch_id}")[2]))
        return found["status"] in final

    assert wait_until(look, seconds), found
    return found


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


IDS = [
    "..",
    "../default",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cetc",
    "file-..%2f..%2f..%2f..%2fetc%2fpa",
    "file-" + "0" * 24,
    "file-" + "A" * 24,
    "file-" + "0" * 23 + "%00",
    "file-" + "0" * 24 + "%00.json",
    "file-" + "0" * 24 + ".json",
    "file-" + "0" * 4000,
    "%c0%ae%c0%ae",
    "batch_" + "0" * 24,
    "%",
    "*",
    "~root",
    "default",
    "%E2%80%AE",
    "-",
]


@pytest.mark.parametrize("name", IDS)
def test_names_lead_nowhere(filed, folder, name):
    before = files_of(folder)
    for method, path in [
        ("GET", f"/v1/files/{name}"),
        ("GET", f"/v1/files/{name}/content"),
        ("DELETE", f"/v1/files/{name}"),
        ("GET", f"/v1/batches/{name}"),
        ("POST", f"/v1/batches/{name}/cancel"),
        ("GET", f"/v1/files?after={name}"),
    ]:
        answer = send(filed, method, path)
        assert status_of(answer) in (400, 404, 405), (path, answer[:200])
        assert b"root:" not in answer
    body = {"input_file_id": name, "endpoint": "/v1/completions", "completion_window": "24h"}
    answer = send(filed, "POST", "/v1/batches", json.dumps(body).encode(), "content-type: application/json")
    assert status_of(answer) == 404
    assert files_of(folder) == before


FILENAMES = ["../../../etc/cron.d/x", "/etc/passwd", "a/b\\c", "..", "", "x" * 255, "nul\x01l", "<script>", "a%00b"]
FILENAMES.append('a\\"b')


@pytest.mark.parametrize("filename", FILENAMES)
def test_a_clients_name_for_a_file_is_text(filed, folder, filename):
    file_id = make_file(filed, filename=filename)
    made = [name for name in files_of(folder) if file_id in name]
    assert made == [f"default/{file_id}.data", f"default/{file_id}.json"]
    card = json.loads(filed.request("GET", f"/v1/files/{file_id}")[2])
    assert card["filename"] == (filename.replace('\\"', '"') or "file")
    answer = exchange(filed, get(f"/v1/files/{file_id}/content"))
    assert header_of(answer, "content-disposition") == "attachment"  # and no name of the client's
    assert header_of(answer, "x-content-type-options") == "nosniff"
    assert header_of(answer, "content-type") == "application/octet-stream"
    assert filed.request("DELETE", f"/v1/files/{file_id}")[0] == 200


GOOD = [part("purpose", "batch"), part("file", "x", '; filename="a"')]
FORMS = {
    "empty": b"",
    "no boundary": b"hello",
    "another boundary": form(*GOOD).replace(b"XX", b"YY"),
    "no end": b"".join(GOOD),
    "cut within the end": form(*GOOD)[:-6],
    "line feeds alone": form(*GOOD).replace(b"\r\n", b"\n"),
    "no part": b"--XX--\r\n",
    "no file": form(GOOD[0]),
    "no purpose": form(GOOD[1]),
    "two files": form(*GOOD, GOOD[1]),
    "two purposes": form(GOOD[0], *GOOD),
    "a purpose of its own": form(part("purpose", "world domination"), GOOD[1]),
    "an empty purpose": form(part("purpose", ""), GOOD[1]),
    "a huge purpose": form(part("purpose", "batch" * 100_000), GOOD[1]),
    "many parts": form(*GOOD, *[part(f"p{i}", "x") for i in range(10_000)]),
    "many empty parts": b"--XX\r\n\r\n" * 100_000 + b"--XX--",
    "boundaries alone": b"\r\n--XX" * 200_000,
    "nearly boundaries": form(GOOD[0], part("file", b"\r\n--X" * 500_000)).replace(b"--XX--", b"--X"),
    "a header without end": b"--XX\r\ncontent-disposition: form-data; name=\"" + b"a" * 1_000_000,
    "headers without end": b"--XX\r\n" + b"a: b\r\n" * 200_000,
    "a header that is none": form(b"--XX\r\nnonsense\r\n\r\nx\r\n"),
    "a nameless part": form(*GOOD, b'--XX\r\ncontent-disposition: form-data\r\n\r\nx\r\n'),
    "a long name": form(*GOOD, part("n" * 65, "x")),
    "a long filename": form(GOOD[0], part("file", "x", '; filename="' + "f" * 256 + '"')),
    "quotes that do not end": form(*GOOD).replace(b'name="purpose"', b'name="purpose'),
    "base64": form(GOOD[0], b'--XX\r\ncontent-disposition: form-data; name="file"\r\n'
                   b"content-transfer-encoding: base64\r\n\r\neA==\r\n"),
    "a name that is not UTF-8": form(*GOOD).replace(b'filename="a"', b'filename="\xff\xfe"'),
    "expiry in words": form(*GOOD, part("expires_after[anchor]", "created_at"),
                            part("expires_after[seconds]", "tomorrow")),
    "an empty expiry": form(*GOOD, part("expires_after[anchor]", "")),
    "expiry too soon": form(*GOOD, part("expires_after[anchor]", "created_at"), part("expires_after[seconds]", "1")),
    "expiry from another time": form(*GOOD, part("expires_after[anchor]", "now"),
                                     part("expires_after[seconds]", "7200")),
    "expiry too large for a number": form(*GOOD, part("expires_after[anchor]", "created_at"),
                                          part("expires_after[seconds]", "9" * 40)),
    "nested": form(*GOOD, b"--XX\r\ncontent-disposition: form-data; name=\"m\"\r\n"
                   b"content-type: multipart/mixed; boundary=YY\r\n\r\n--YY\r\n\r\nx\r\n--YY--\r\n")[:-8],
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_that_are_none(filed, folder, name):
    before = files_of(folder)
    begin = time.monotonic()
    answer = upload(filed, FORMS[name])
    assert status_of(answer) == 400, answer[:300]
    assert len(answer) < 4096 and time.monotonic() - begin < 10
    assert files_of(folder) == before
    assert filed.request("GET", "/ready")[0] == 200


TYPES = [
    (415, "content-type: application/json"),
    (415, "content-type: text/plain"),
    (415, "content-type: application/x-www-form-urlencoded"),
    (415, "content-type: multipart/form-data"),
    (415, "content-type: multipart/form-data; boundary="),
    (415, "content-type: multipart/form-data; boundary=" + "x" * 71),
    (415, "content-type: multipart/form-data; boundary=\"a\x0bb\""),
    (415, "content-type: multipart/mixed; boundary=XX"),
    (415, "x-nothing: 1"),
]


@pytest.mark.parametrize("status,header", TYPES)
def test_bodies_of_other_kinds(filed, status, header):
    assert status_of(upload(filed, form(*GOOD), header)) in (status, 400)  # 400: no header at all
    large = form(GOOD[0], part("file", b"x" * 200_000))
    assert status_of(upload(filed, large, header)) in (status, 400)  # before it is read


def test_forms_go_nowhere_else(filed):
    for path in ("/v1/completions", "/v1/chat/completions", "/v1/batches", "/tokenize"):
        answer = send(filed, "POST", path, form(*GOOD), FORM)
        assert status_of(answer) == 415 and body_of(answer)["error"]["code"] == "unsupported_media_type"


def test_pages_of_other_sites_store_and_read_nothing(filed, folder):
    file_id = make_file(filed)
    before = files_of(folder)
    for extra in ("origin: http://evil.example", "origin: null", "sec-fetch-site: cross-site",
                  "sec-fetch-site: same-site"):
        assert status_of(upload(filed, form(*GOOD), FORM, extra)) == 403
        assert status_of(send(filed, "GET", f"/v1/files/{file_id}/content", b"", extra)) == 403
        assert status_of(send(filed, "DELETE", f"/v1/files/{file_id}", b"", extra)) == 403
        assert status_of(send(filed, "POST", "/v1/batches/batch_0/cancel", b"", extra)) == 403
    rebound = get(f"/v1/files/{file_id}/content").replace(HOST, b"host: evil.example\r\n")
    assert status_of(exchange(filed, rebound)) == 403
    assert files_of(folder) == before


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "DELETE"])
def test_methods_that_are_not_there(filed, method):
    for path in ("/v1/files", "/v1/batches", "/v1/files/x/content"):
        assert status_of(send(filed, method, path)) in (404, 405)


def test_queries_of_any_kind(filed):
    for query in ("limit=0", "limit=-1", "limit=10001", "limit=1e3", "limit=" + "9" * 400, "limit=a", "order=up",
                  "order=%00", "after=" + "x" * 8000):
        answer = send(filed, "GET", "/v1/files?" + query)
        assert status_of(answer) == 400 and len(answer) < 4096, query
    for query in ("limit=101", "limit=x", "after=y"):
        assert status_of(send(filed, "GET", "/v1/batches?" + query)) == 400
    for query in ("purpose=nothing", "purpose=%ff", "x=y&&&==", "%", "limit", "limit="):
        assert status_of(send(filed, "GET", "/v1/files?" + query)) == 200, query


def test_more_than_a_body_may_have(filed, folder):
    before = files_of(folder)
    head = b"POST /v1/files HTTP/1.1\r\n" + HOST + FORM.encode() + b"\r\ncontent-length: 17000000\r\n\r\n"
    assert status_of(exchange(filed, head)) == 413
    with filed.connect() as connection:  # leaves in the middle
        connection.sendall(head.replace(b"17000000", b"16000000") + form(*GOOD)[:50] + b"x" * 3_000_000)
    assert filed.request("GET", "/ready")[0] == 200
    assert files_of(folder) == before


BODIES = {
    "not JSON": b"nonsense",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "no file": b'{"endpoint":"/v1/completions","completion_window":"24h"}',
    "a file that is a number": b'{"input_file_id":1,"endpoint":"/v1/completions","completion_window":"24h"}',
    "an endpoint of another server": b'{"input_file_id":"file-0","endpoint":"http://evil/","completion_window":"24h"}',
    "an endpoint that leads out": b'{"input_file_id":"file-0","endpoint":"/v1/../etc","completion_window":"24h"}',
    "no end of time": b'{"input_file_id":"a","endpoint":"/v1/completions","completion_window":"999999999d"}',
    "negative time": b'{"input_file_id":"a","endpoint":"/v1/completions","completion_window":"-1h"}',
    "metadata without bound": json.dumps({"input_file_id": "a", "endpoint": "/v1/completions",
                                          "completion_window": "24h",
                                          "metadata": {str(i): "x" for i in range(1000)}}).encode(),
    "expiry of another kind": b'{"input_file_id":"a","endpoint":"/v1/completions","completion_window":"24h",'
                              b'"output_expires_after":{"anchor":"created_at","seconds":99999999999}}',
    "a key twice": b'{"input_file_id":"a","input_file_id":"b","endpoint":"/v1/completions","completion_window":"1h"}',
}


@pytest.mark.parametrize("name", BODIES)
def test_batches_that_are_none(filed, name):
    answer = send(filed, "POST", "/v1/batches", BODIES[name], "content-type: application/json")
    assert status_of(answer) in (400, 404) and len(answer) < 4096, answer[:300]


def line(body, custom_id="a", url="/v1/completions"):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body}).encode() + b"\n"


GOOD_LINE = line({"prompt": "x", "max_tokens": 1})
INPUTS = {
    "nothing": b"",
    "blank lines": b"\n" * 1_000_000,
    "zeros": b"\0" * 1_000_000,
    "one endless line": b"x" * 5_000_000,
    "an endless list": b"[" * 3_000_000,
    "not UTF-8": GOOD_LINE.replace(b'"x"', b'"\xff"'),
    "too many lines": b"".join(line({"prompt": "x"}, str(i)) for i in range(50_001)),
    "one name for all": GOOD_LINE * 1000,
    "an address elsewhere": line({"prompt": "x"}, url="http://evil.example/v1/completions"),
    "the batch itself": line({"input_file_id": "x"}, url="/v1/batches"),
    "a name without end": line({"prompt": "x"}, "i" * 100_000),
    "another method": GOOD_LINE.replace(b"POST", b"GET"),
    "no body": GOOD_LINE.replace(b'"body"', b'"corpse"'),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_that_are_no_requests(filed, name):
    file_id = make_file(filed, INPUTS[name])
    batch = ended(filed, make_batch(filed, file_id))
    assert batch["status"] == "failed" and batch["errors"]["data"], batch
    assert len(json.dumps(batch)) < 150_000
    assert filed.request("DELETE", f"/v1/files/{file_id}")[0] == 200


def test_requests_that_ask_for_too_much_fail_alone(filed):
    bodies = {
        "n": {"prompt": "x", "n": 100_000},
        "tokens": {"prompt": "x", "max_tokens": 10**9},
        "temperature": {"prompt": "x", "temperature": 1e308},
        "stop": {"prompt": "x", "stop": ["s" * 2000]},
        "long": {"prompt": "x " * 400_000},
        "ids": {"prompt": [10**9]},
        "stream": {"prompt": "x", "stream": True},
        "format": {"prompt": "x", "response_format": {"type": "xml"}},
        "good": {"prompt": "x", "max_tokens": 2},
    }
    file_id = make_file(filed, b"".join(line(body, name) for name, body in bodies.items()))
    batch = ended(filed, make_batch(filed, file_id))
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 9, "completed": 1, "failed": 8}
    errors = filed.request("GET", f"/v1/files/{batch['error_file_id']}/content")[2].splitlines()
    assert {json.loads(error)["response"]["status_code"] for error in errors} <= {400, 413}


def test_a_slow_reader_of_a_large_file_costs_little(filed):
    file_id = make_file(filed, b"x" * 12_000_000, purpose="user_data")
    before = resident_bytes(filed)
    connections = [filed.connect() for _ in range(20)]
    for connection in connections:
        connection.sendall(get(f"/v1/files/{file_id}/content"))
    time.sleep(1)
    assert resident_bytes(filed) - before < 60_000_000  # a piece each, not the file
    assert filed.request("GET", "/ready")[0] == 200
    assert filed.request("DELETE", f"/v1/files/{file_id}")[0] == 200  # those who read have it still
    data = b""
    while piece := connections[0].recv(65536):
        data += piece
    assert data.count(b"x") >= 12_000_000 and data.endswith(b"0\r\n\r\n")
    for connection in connections:
        connection.close()


def test_floods_of_uploads_and_deletions_end_within_the_quota(binary, tmp_path):
    flags = ["--files-folder", str(tmp_path / "f"), "--files-quota", "100000", "--files-max", "30"]
    with RunningServer(binary, "demo", *flags) as server:
        statuses = []

        def flood():
            for i in range(15):
                answer = upload(server, form(part("purpose", "batch"), part("file", b"x" * 9000)))
                statuses.append(status_of(answer))
                if statuses[-1] == 200 and i % 3 == 0:
                    server.request("DELETE", "/v1/files/" + body_of(answer)["id"])

        threads = [threading.Thread(target=flood) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) <= {200, 400, 429} and 400 in statuses
        cards = json.loads(server.request("GET", "/v1/files")[2])["data"]
        assert sum(card["bytes"] for card in cards) <= 100_000 and len(cards) <= 30
        assert len(list((tmp_path / "f" / "default").iterdir())) == 2 * len(cards)
        assert server.stop() == 0


def test_crowds_of_batches_are_bounded(filed):
    file_id = make_file(filed, line({"prompt": "x", "max_tokens": 400, "ignore_eos": True}))
    body = {"input_file_id": file_id, "endpoint": "/v1/completions", "completion_window": "24h"}
    made = []
    for _ in range(80):
        answer = send(filed, "POST", "/v1/batches", json.dumps(body).encode(), "content-type: application/json")
        if status_of(answer) != 200:
            assert status_of(answer) == 429 and header_of(answer, "retry-after")
            break
        made.append(body_of(answer)["id"])
    else:
        waiting = [batch for batch in made if ended(filed, batch)]
        assert len(waiting) == 80  # the engine was faster than the crowd
    for batch in made:
        filed.request("POST", f"/v1/batches/{batch}/cancel")
    for batch in made:
        ended(filed, batch)


KINDS = {
    "fifo": lambda path: os.mkfifo(path),
    "device": lambda path: os.symlink("/dev/zero", path),
    "link": lambda path: os.symlink("/etc/passwd", path),
    "folder": lambda path: os.mkdir(path),
    "torn": lambda path: path.write_text('{"id":"file-'),
    "zeros": lambda path: path.write_bytes(b"\0" * 5_000_000),
    "deep": lambda path: path.write_text("[" * 50_000),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_strangers_wrote_to(binary, tmp_path, kind):
    home = tmp_path / "f" / "default"
    home.mkdir(parents=True)
    card = {"object": "file", "bytes": 5, "created_at": 1, "filename": "x", "purpose": "batch"}
    places = [("file-", ".json"), ("file-", ".data"), ("batch_", ".json"), ("file-", ".json.tmp")]
    for i, (stem, ending) in enumerate(places):
        name = stem + str(i) * 24
        if ending == ".data":
            (home / (name + ".json")).write_text(json.dumps({"id": name, **card}))
        KINDS[kind](home / (name + ending))
    KINDS[kind](tmp_path / "f" / "key-0123456789abcdef")
    with RunningServer(binary, "demo", "--files-folder", str(tmp_path / "f")) as server:
        assert json.loads(server.request("GET", "/v1/files")[2])["data"] == []
        assert json.loads(server.request("GET", "/v1/batches")[2])["data"] == []
        batch = ended(server, make_batch(server, make_file(server, GOOD_LINE)))
        assert batch["status"] == "completed"
        assert b"root:" not in "".join(server.log).encode()
        assert server.stop() == 0


def test_a_file_that_shrinks_or_goes_while_it_is_used(binary, tmp_path):
    with RunningServer(binary, "demo", "--files-folder", str(tmp_path / "f")) as server:
        file_id = make_file(server, b"x" * 3_000_000, purpose="user_data")
        data = tmp_path / "f" / "default" / f"{file_id}.data"
        os.truncate(data, 1_000_000)
        answer = exchange(server, get(f"/v1/files/{file_id}/content"))
        assert status_of(answer) == 200  # as large as it is now
        gone = make_file(server, GOOD_LINE)
        (tmp_path / "f" / "default" / f"{gone}.data").unlink()
        assert status_of(exchange(server, get(f"/v1/files/{gone}/content"))) == 500
        assert ended(server, make_batch(server, gone))["status"] == "failed"
        assert server.request("GET", "/ready")[0] == 200
        assert server.stop() == 0


def test_two_servers_do_not_share_a_folder(binary, tmp_path):
    with RunningServer(binary, "demo", "--files-folder", str(tmp_path / "f")) as server:
        with pytest.raises(RuntimeError) as refused:
            RunningServer(binary, "demo", "--files-folder", str(tmp_path / "f"))
        assert "another server has it" in str(refused.value)
        assert server.stop() == 0


@pytest.mark.parametrize("kind", ["fifo", "device", "torn"])
def test_a_folder_that_is_none(binary, tmp_path, kind):
    KINDS[kind](tmp_path / "f")
    with pytest.raises(RuntimeError) as refused:
        RunningServer(binary, "demo", "--files-folder", str(tmp_path / "f"))
    assert "--files-folder" in str(refused.value)


def test_the_end_of_a_server_in_mid_batch_is_orderly(binary, tmp_path):
    lines = b"".join(line({"prompt": f"x{i}", "max_tokens": 500, "ignore_eos": True}, str(i)) for i in range(200))
    with RunningServer(binary, "demo", "--files-folder", str(tmp_path / "f"), "--drain-timeout", "5") as server:
        batch = make_batch(server, make_file(server, lines))
        assert wait_until(lambda: server.metric("vllm:num_requests_running") > 0, 20)
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 8
    with RunningServer(binary, "demo", "--files-folder", str(tmp_path / "f")) as server:
        assert json.loads(server.request("GET", f"/v1/batches/{batch}")[2])["status"] in ("in_progress", "validating")
        server.request("POST", f"/v1/batches/{batch}/cancel")
        assert ended(server, batch)["status"] == "cancelled"
        assert server.stop() == 0
