"""configs/prometheus.yml, configs/grafana.json and the metrics page, by Prometheus' own judgement and against a live
server: what the dashboard asks for is there. The judge is promtool; its tests are skipped where it is not installed."""

import itertools
import json
import re
import shutil
import socket
import subprocess

import pytest
import yaml

from running_server import ROOT, RunningServer

SCRAPES = ROOT / "configs" / "prometheus.yml"
DASHBOARD = json.loads((ROOT / "configs" / "grafana.json").read_text())
GRID_WIDTH = 24  # Grafana's columns
VARIABLES = {"$__rate_interval": "1m", "$model": ".*", "$instance": ".*"}
SCRAPED_LABELS = {"instance", "job", "le"}  # Prometheus adds the first two; le is every histogram's
COLON = "metric names should not contain ':'"
# What promtool says of names that are forced, and who forces them. Nothing else may be said.
FORCED = {
    r"vllm:\w+ " + COLON: "vLLM's names begin so; routers and dashboards read them",
    r"coppice:\w+ " + COLON: "our own names stand beside vLLM's, in its form",
    r'vllm:iteration_tokens_total non-counter metrics should not have "_total" suffix': "vLLM's name of a histogram",
}
SAMPLE = re.compile(r"^([a-z]+:[a-z0-9_]+)\{(.*)\} \S+$", re.M)
NAME = re.compile(r"\b(?:vllm|coppice):[a-z0-9_]+")
SELECTOR = re.compile(r"((?:vllm|coppice):[a-z0-9_]+)\{([^}]*)\}")


@pytest.fixture(scope="module")
def promtool():
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool: it comes with Prometheus (docs/dependencies.md)")
    return program


@pytest.fixture(scope="module")
def page(binary):
    """The metrics of a server that has answered, refused a request, and refused a connection."""
    with RunningServer(binary, "demo", "--seed", "1") as server:
        for _ in range(3):
            status, _ = server.post("/v1/completions", {"prompt": "one two one two one two", "max_tokens": 8})
            assert status == 200
        assert server.post("/v1/completions", {"prompt": 5.5})[0] == 400
        host, port = server.grpc.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert server.wait_metric("coppice:connections_refused_total", 1, reason="not_http2") == 1
        return server.request("GET", "/metrics")[2]


@pytest.fixture(scope="module")
def samples(page):
    """The names of the labels that the samples of each name have."""
    return {name: set(re.findall(r'(\w+)="', labels)) for name, labels in SAMPLE.findall(page)}


def panels():
    return [pytest.param(panel, id=panel["title"]) for panel in DASHBOARD["panels"]]


def expressions():
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def run(*command, text=None):
    done = subprocess.run([str(word) for word in command], input=text, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_prometheus_takes_the_configuration(promtool):
    code, said = run(promtool, "check", "config", SCRAPES)
    assert code == 0 and "SUCCESS" in said, said


def test_the_configuration_scrapes_where_a_server_listens():
    jobs = {job["job_name"]: job for job in yaml.safe_load(SCRAPES.read_text())["scrape_configs"]}
    serve = yaml.safe_load((ROOT / "configs" / "serve.yaml").read_text())
    assert jobs["coppice"]["static_configs"] == [{"targets": [f"{serve['host']}:{serve['port']}"]}]
    assert all(job.get("metrics_path", "/metrics") == "/metrics" for job in jobs.values())
    assert jobs["coppice-fleet"]["file_sd_configs"]


def test_prometheus_takes_a_file_of_a_fleet(promtool, tmp_path):
    """The example in the comment, where the configuration looks for it."""
    lines = [line[4:] for line in SCRAPES.read_text().splitlines() if re.match(r"  #   (- targets|  labels)", line)]
    jobs = yaml.safe_load(SCRAPES.read_text())["scrape_configs"]
    (name,) = next(job for job in jobs if job["job_name"] == "coppice-fleet")["file_sd_configs"][0]["files"]
    (tmp_path / name).write_text("\n".join(lines))
    shutil.copy(SCRAPES, tmp_path)
    code, said = run(promtool, "check", "config", tmp_path / SCRAPES.name)
    assert code == 0 and "WARNING" not in said, said
    assert len(yaml.safe_load((tmp_path / name).read_text())[0]["targets"]) == 2


def test_prometheus_takes_the_page(promtool, page):
    code, said = run(promtool, "check", "metrics", text=page)
    assert code in (0, 3), said  # 3: it was read, and there is something to say of its style
    complaints = said.splitlines()
    unforced = [line for line in complaints if not any(re.fullmatch(rule, line) for rule in FORCED)]
    assert not unforced, "\n".join(unforced)
    for rule, reason in FORCED.items():
        assert any(re.fullmatch(rule, line) for line in complaints), f"not needed any more: {rule} ({reason})"


def test_prometheus_reads_the_expressions(promtool, tmp_path):
    rules = []
    for number, expression in enumerate(expressions()):
        for variable, value in VARIABLES.items():
            expression = expression.replace(variable, value)
        assert "$" not in expression, expression
        rules.append({"record": f"panel:{number}", "expr": expression})
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    code, said = run(promtool, "check", "rules", path)
    assert code == 0 and f"{len(rules)} rules found" in said, said


def test_the_dashboard_is_one():
    assert DASHBOARD["uid"] == "coppice" and DASHBOARD["schemaVersion"] >= 36  # data sources by their uid
    assert not DASHBOARD.get("id"), "an id is of one Grafana; its uid is what is kept"
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    used = {name for expression in expressions() for name in re.findall(r"\$(\w+)", expression)}
    assert used - {"__rate_interval"} == set(variables) - {"datasource"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) >= 9


@pytest.mark.parametrize("panel", panels())
def test_a_panel_asks_for_something(panel):
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == source and panel["title"] and panel["description"]
    references = [target["refId"] for target in panel["targets"]]
    assert references and len(set(references)) == len(references)
    for target in panel["targets"]:
        assert target["expr"].strip() and target["datasource"] == source


def test_panels_do_not_overlap():
    boxes = {panel["title"]: panel["gridPos"] for panel in DASHBOARD["panels"]}
    for title, box in boxes.items():
        assert box["w"] > 0 and box["h"] > 0 and box["x"] >= 0 and box["x"] + box["w"] <= GRID_WIDTH, title
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        is_beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        is_below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert is_beside or is_below, (one, other)


@pytest.mark.parametrize("panel", panels())
def test_what_a_panel_names_exists(panel, samples):
    for target in panel["targets"]:
        names = set(NAME.findall(target["expr"]))
        assert names and names <= samples.keys(), names - samples.keys()
        known = set.union(*(samples[name] for name in names)) | SCRAPED_LABELS
        for name, matchers in SELECTOR.findall(target["expr"]):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert asked <= samples[name] | SCRAPED_LABELS, (name, asked)
        for labels in re.findall(r"\bby \(([^)]*)\)", target["expr"]):
            assert set(labels.split(", ")) <= known, labels
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known, target["legendFormat"]


def test_variables_ask_for_what_exists(samples):
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.fullmatch(r"label_values\(([a-z:_]+)(?:\{.*\})?, (\w+)\)", variable["query"]).groups()
            assert label in samples[name] | SCRAPED_LABELS, variable["query"]


def test_no_request_waits_for_an_idle_server(server):
    """What the first step computes is no part of the queue's time, also where a CPU computes it at once."""
    names = [f"vllm:request_{part}_time_seconds_sum" for part in ("queue", "prefill")]
    before = [server.metric(name) for name in names]
    for number in range(4):
        body = {"prompt": f"{number} new words " * 100, "max_tokens": 1}
        assert server.post("/v1/completions", body)[0] == 200
    queue, prefill = (server.metric(name) - past for name, past in zip(names, before))
    assert queue < prefill / 2, (queue, prefill)
