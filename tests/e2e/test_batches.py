"""/v1/files and /v1/batches, driven by the official OpenAI client; a kill in the middle costs no answer."""

import io
import json
import time

import openai
import pytest

from running_server import RunningServer
from test_batch import PREFIXES, requests

MODEL = "demo"


def lines(wanted):
    return "".join(
        json.dumps({"custom_id": name, "method": "POST", "url": url, "body": {"model": MODEL, **body}}) + "\n"
        for name, (url, body) in wanted.items()
    ).encode()


def completions(count, tokens=24):
    """Greedy and seeded completions with shared beginnings."""
    out = {}
    for i in range(count):
        drawn = {"temperature": 0} if i % 3 else {"temperature": 0.9, "seed": i}
        body = {"prompt": PREFIXES[i % 2] + str(i), "max_tokens": tokens, "logprobs": 1, **drawn}
        out[f"text-{i}"] = ("/v1/completions", body)
    return out


def connect(server, key="none"):
    return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0)


def upload(client, data, **more):
    return client.files.create(file=("in.jsonl", data), purpose="batch", **more)


def wait(client, batch_id, *statuses, seconds=120):
    end = time.monotonic() + seconds
    while True:
        batch = client.batches.retrieve(batch_id)
        if batch.status in (statuses or ("completed", "failed", "expired", "cancelled")):
            return batch
        assert time.monotonic() < end, batch
        time.sleep(0.02)


def answers(client, file_id):
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def files_server(binary, folder):
    with RunningServer(binary, MODEL, "--seed", "1", "--files-folder", str(folder)) as running:
        yield running
        assert running.process.poll() is None, "the server died:\n" + "".join(running.log)
        assert running.stop() == 0, "".join(running.log)


@pytest.fixture(scope="module")
def files_client(files_server):
    return connect(files_server)


def test_a_file_from_upload_to_deletion(files_client):
    data = b"line one\r\n\x00\xff--boundary\r\n" * 3
    card = files_client.files.create(file=("../a name.bin", data), purpose="user_data")
    assert card.id.startswith("file-") and card.bytes == len(data) and card.filename.endswith("a name.bin")
    assert card.object == "file" and card.purpose == "user_data" and card.status == "processed"
    assert card.expires_at is None and abs(card.created_at - time.time()) < 60
    assert files_client.files.retrieve(card.id) == card
    assert files_client.files.content(card.id).read() == data
    assert files_client.files.wait_for_processing(card.id).id == card.id
    assert card in list(files_client.files.list(purpose="user_data"))
    gone = files_client.files.delete(card.id)
    assert gone.deleted and gone.id == card.id
    for call in (files_client.files.retrieve, files_client.files.content, files_client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(card.id)


def test_files_expire_when_asked_to(files_client):
    card = upload(files_client, b"x", expires_after={"anchor": "created_at", "seconds": 3600})
    assert card.expires_at == card.created_at + 3600
    kept = upload(files_client, b"x")
    assert kept.expires_at == kept.created_at + 30 * 24 * 3600  # of batches' inputs
    with pytest.raises(openai.BadRequestError) as refused:
        upload(files_client, b"x", expires_after={"anchor": "created_at", "seconds": 60})
    assert "3600" in refused.value.message
    for file in (card, kept):
        files_client.files.delete(file.id)


def test_lists_come_in_pages(files_client):
    made = [files_client.files.create(file=(f"{i}", b"x"), purpose="evals") for i in range(5)]
    page = files_client.files.list(purpose="evals", limit=2)
    assert len(page.data) == 2 and page.has_more
    assert sorted(file.id for file in page) == sorted(file.id for file in made)  # the client turns the pages
    ascending = [file.id for file in files_client.files.list(purpose="evals", order="asc", limit=3)]
    descending = [file.id for file in files_client.files.list(purpose="evals", order="desc", limit=2)]
    assert ascending == descending[::-1]
    for file in made:
        files_client.files.delete(file.id)


def test_large_and_empty_files_come_back_whole(files_client):
    data = bytes(range(256)) * 4096 * 12  # 12 MiB: many pieces
    card = files_client.files.create(file=("large", data), purpose="user_data")
    assert files_client.files.content(card.id).read() == data
    files_client.files.delete(card.id)
    empty = files_client.files.create(file=("empty", b""), purpose="user_data")
    assert files_client.files.content(empty.id).read() == b""
    files_client.files.delete(empty.id)


def same_answers(server, wanted, got):
    assert sorted(each["custom_id"] for each in got) == sorted(wanted)
    for each in got:
        url, body = wanted[each["custom_id"]]
        status, served = server.post(url, {"model": MODEL, **body})
        assert status == each["response"]["status_code"] == 200 and each["error"] is None
        assert each["response"]["body"]["choices"] == served["choices"]


def test_a_batch_gives_the_answers_of_the_server(files_server, files_client):
    wanted = completions(24)
    batch = files_client.batches.create(
        input_file_id=upload(files_client, lines(wanted)).id,
        endpoint="/v1/completions",
        completion_window="24h",
        metadata={"why": "test"},
    )
    assert batch.object == "batch" and batch.status in ("validating", "in_progress")
    assert batch.expires_at == batch.created_at + 24 * 3600 and batch.metadata == {"why": "test"}
    done = wait(files_client, batch.id)
    assert done.status == "completed" and done.error_file_id is None and done.errors is None
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (24, 24, 0)
    assert done.in_progress_at and done.finalizing_at and done.completed_at and done.model == MODEL
    got = answers(files_client, done.output_file_id)
    same_answers(files_server, wanted, got)
    usages = [each["response"]["body"]["usage"] for each in got]
    assert done.usage.input_tokens == sum(usage["prompt_tokens"] for usage in usages)
    assert done.usage.output_tokens == sum(usage["completion_tokens"] for usage in usages)
    output = files_client.files.retrieve(done.output_file_id)
    assert output.purpose == "batch_output" and output.filename == f"{batch.id}_output.jsonl"
    assert done.id in [each.id for each in files_client.batches.list(limit=1)]


def test_chats_run_in_a_batch_too(files_server, files_client):
    wanted = {name: each for name, each in requests(40).items() if each[0].endswith("chat/completions")}
    batch = files_client.batches.create(
        input_file_id=upload(files_client, lines(wanted)).id,
        endpoint="/v1/chat/completions",
        completion_window="1h",
    )
    done = wait(files_client, batch.id)
    assert done.status == "completed"
    same_answers(files_server, wanted, answers(files_client, done.output_file_id))


def test_wrong_requests_are_in_the_error_file(files_client):
    wanted = completions(3)
    wanted["bad"] = ("/v1/completions", {"prompt": "x", "max_tokens": -1})
    wanted["streamed"] = ("/v1/completions", {"prompt": "x", "stream": True})
    wanted["other"] = ("/v1/completions", {"prompt": "x", "model": "gpt"})
    batch = files_client.batches.create(
        input_file_id=upload(files_client, lines(wanted)).id,
        endpoint="/v1/completions",
        completion_window="24h",
        extra_body={"output_expires_after": {"anchor": "created_at", "seconds": 7200}},
    )
    done = wait(files_client, batch.id)
    assert done.status == "completed" and done.request_counts.failed == 3
    got = {each["custom_id"]: each["response"] for each in answers(files_client, done.error_file_id)}
    assert {name: each["status_code"] for name, each in got.items()} == {"bad": 400, "streamed": 400, "other": 404}
    assert "max_tokens" in got["bad"]["body"]["error"]["message"]
    for file_id in (done.output_file_id, done.error_file_id):
        file = files_client.files.retrieve(file_id)
        assert file.expires_at == file.created_at + 7200


def test_a_malformed_file_fails_with_its_lines(files_client):
    data = lines(completions(2)) + b"nonsense\n" + lines(requests(4))
    batch = files_client.batches.create(
        input_file_id=upload(files_client, data).id, endpoint="/v1/completions", completion_window="24h"
    )
    done = wait(files_client, batch.id)
    assert done.status == "failed" and done.failed_at and done.output_file_id is None
    assert done.errors.data[0].line == 3 and "line 3" in done.errors.data[0].message
    assert any("endpoint" in error.message for error in done.errors.data[1:])  # a chat among completions


@pytest.mark.parametrize(
    "fields,param",
    [
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"metadata": {"k" * 65: "x"}}, "metadata"),
    ],
)
def test_what_cannot_be_a_batch_is_refused(files_client, fields, param):
    file = upload(files_client, b"x")
    body = {"input_file_id": file.id, "endpoint": "/v1/completions", "completion_window": "24h", **fields}
    with pytest.raises(openai.BadRequestError) as refused:
        files_client.batches.create(**body)
    assert refused.value.param == param
    files_client.files.delete(file.id)


def test_a_file_of_another_purpose_or_of_no_one_is_no_input(files_client):
    file = files_client.files.create(file=("a", b"x"), purpose="vision")
    with pytest.raises(openai.BadRequestError):
        files_client.batches.create(
            input_file_id=file.id, endpoint="/v1/completions", completion_window="24h"
        )
    files_client.files.delete(file.id)
    with pytest.raises(openai.NotFoundError):
        files_client.batches.create(
            input_file_id=file.id, endpoint="/v1/completions", completion_window="24h"
        )


def test_cancelled_and_expired_batches_keep_what_they_have(files_client):
    data = lines(completions(2000, tokens=200))  # more than any machine answers in two seconds
    batch = files_client.batches.create(
        input_file_id=upload(files_client, data).id, endpoint="/v1/completions", completion_window="24h"
    )
    wait(files_client, batch.id, "in_progress")
    with pytest.raises(openai.BadRequestError) as refused:
        files_client.files.delete(batch.input_file_id)
    assert refused.value.code == "file_in_use"
    cancelled = files_client.batches.cancel(batch.id)
    assert cancelled.status in ("cancelling", "cancelled")
    done = wait(files_client, batch.id)
    assert done.status == "cancelled" and done.cancelled_at and done.error_file_id is None
    if done.request_counts.completed:
        assert len(answers(files_client, done.output_file_id)) == done.request_counts.completed
    with pytest.raises(openai.BadRequestError):
        files_client.batches.cancel(batch.id)
    late = files_client.batches.create(
        input_file_id=upload(files_client, data).id, endpoint="/v1/completions", completion_window="2s"
    )
    expired = wait(files_client, late.id)
    assert expired.status == "expired" and expired.expired_at
    errors = answers(files_client, expired.error_file_id)
    assert len(errors) == expired.request_counts.failed == 2000 - expired.request_counts.completed
    assert {each["error"]["code"] for each in errors} == {"batch_expired"}


def test_others_go_before_a_batch(files_server, files_client):
    data = lines(completions(300, tokens=300))
    batch = files_client.batches.create(
        input_file_id=upload(files_client, data).id, endpoint="/v1/completions", completion_window="24h"
    )
    wait(files_client, batch.id, "in_progress")
    before = files_client.batches.retrieve(batch.id).request_counts
    for i in range(3):
        answer = files_client.completions.create(model=MODEL, prompt=f"Now {i}", max_tokens=4, temperature=0)
        assert answer.usage.completion_tokens > 0
    assert files_client.batches.retrieve(batch.id).status == "in_progress", before
    files_client.batches.cancel(batch.id)
    wait(files_client, batch.id)


def test_killed_in_the_middle_each_line_has_one_answer(binary, tmp_path):
    wanted = completions(60)
    flags = ["--seed", "1", "--files-folder", str(tmp_path / "files"), "--batch-running", "2"]
    batch_id = input_id = None
    for round_number in range(3):
        with RunningServer(binary, MODEL, *flags) as server:
            client = connect(server)
            if batch_id is None:
                input_id = upload(client, lines(wanted)).id
                batch_id = client.batches.create(
                    input_file_id=input_id, endpoint="/v1/completions", completion_window="24h"
                ).id
            end = time.monotonic() + 120
            while client.batches.retrieve(batch_id).request_counts.completed < 15 * (round_number + 1):
                assert time.monotonic() < end
                time.sleep(0.002)
            batch = client.batches.retrieve(batch_id)
            assert batch.status == "in_progress" and batch.request_counts.completed < 60
            server.process.kill()
            server.process.wait()
        for path in (tmp_path / "files" / "default").glob("*.data"):  # as if the kill had come within a write
            if path.name != input_id + ".data":
                path.write_bytes(path.read_bytes() + b'{"id":"batch_req_7","cust')
    with RunningServer(binary, MODEL, *flags) as server:
        client = connect(server)
        done = wait(client, batch_id)
        assert done.status == "completed" and done.request_counts.completed == 60
        same_answers(server, wanted, answers(client, done.output_file_id))
        assert server.stop() == 0


def test_a_restart_keeps_files_and_ended_batches(binary, tmp_path):
    flags = ["--seed", "1", "--files-folder", str(tmp_path / "files")]
    with RunningServer(binary, MODEL, *flags) as server:
        client = connect(server)
        file = upload(client, lines(completions(3)))
        batch = client.batches.create(
            input_file_id=file.id, endpoint="/v1/completions", completion_window="24h", metadata={"a": "b"}
        )
        done = wait(client, batch.id)
        output = client.files.content(done.output_file_id).read()
        assert server.stop() == 0
    with RunningServer(binary, MODEL, *flags) as server:
        client = connect(server)
        assert client.batches.retrieve(batch.id) == done
        assert client.files.retrieve(file.id) == file
        assert client.files.content(done.output_file_id).read() == output
        assert server.stop() == 0


def test_tenants_see_only_their_own(binary, tmp_path):
    keys = ["first-key-of-two", "second-key-of-two"]
    (tmp_path / "keys").write_text("\n".join(keys) + "\n")
    flags = ["--files-folder", str(tmp_path / "files"), "--api-key-file", str(tmp_path / "keys")]
    with RunningServer(binary, MODEL, *flags) as server:
        mine, other = (connect(server, key) for key in keys)
        file = upload(mine, lines(completions(2)))
        batch = mine.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="24h")
        done = wait(mine, batch.id)
        assert done.status == "completed"
        for file_id in (file.id, done.output_file_id):
            for call in (other.files.retrieve, other.files.content, other.files.delete):
                with pytest.raises(openai.NotFoundError):
                    call(file_id)
        for call in (other.batches.retrieve, other.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                call(batch.id)
        with pytest.raises(openai.NotFoundError):
            other.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="24h")
        assert not list(other.files.list()) and not list(other.batches.list())
        with pytest.raises(openai.BadRequestError):
            other.files.list(after=file.id)
        with pytest.raises(openai.AuthenticationError):
            connect(server, "no-such-key-here").files.list()
        assert server.stop() == 0


def test_quotas(binary, tmp_path):
    flags = ["--files-folder", str(tmp_path / "files"), "--files-quota", "1000", "--files-max", "2"]
    with RunningServer(binary, MODEL, *flags) as server:
        client = connect(server)
        first = upload(client, b"x" * 600)
        with pytest.raises(openai.BadRequestError) as refused:
            upload(client, b"x" * 401)
        assert refused.value.code == "storage_quota_exceeded" and "--files-quota" in refused.value.message
        upload(client, b"x" * 10)
        with pytest.raises(openai.BadRequestError) as refused:
            upload(client, b"x")
        assert refused.value.code == "storage_quota_exceeded" and "--files-max" in refused.value.message
        client.files.delete(first.id)
        upload(client, b"x" * 900)
        assert server.stop() == 0


def test_without_a_folder_the_routes_say_so(client):
    for call in (
        lambda: client.files.list(),
        lambda: upload(client, b"x"),
        lambda: client.files.retrieve("file-0"),
        lambda: client.batches.list(),
        lambda: client.batches.cancel("batch_0"),
        lambda: client.batches.create(input_file_id="a", endpoint="/v1/completions", completion_window="24h"),
    ):
        with pytest.raises(openai.NotFoundError) as refused:
            call()
        assert "--files-folder" in refused.value.message


def test_unknown_parts_and_fields_are_named(files_server, files_client):
    raw = files_client.files.with_raw_response.create(
        file=("a", io.BytesIO(b"x")), purpose="batch", extra_body={"colour": "red"}
    )
    assert raw.headers["x-coppice-ignored"] == "colour"
    file = raw.parse()
    made = files_client.batches.with_raw_response.create(
        input_file_id=file.id, endpoint="/v1/completions", completion_window="24h", extra_body={"speed": 1}
    )
    assert made.headers["x-coppice-ignored"] == "speed"
    assert wait(files_client, made.parse().id).status == "failed"
    assert files_server.request("HEAD", f"/v1/files/{file.id}/content")[0] == 200
