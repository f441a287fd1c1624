"""The Helm chart, rendered by Helm: what it makes is right by Kubernetes' published schemas, its parts name each other,
and the server knows what it is told: it starts from the configuration that the chart renders."""

import json
import pathlib
import re
import subprocess

import pytest
import yaml

from helm_tools import CHART, Schemas, helm
from running_server import ROOT, RunningServer
from test_routers import find_program

EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
CASES = [None, *EXAMPLES]
# Kinds that Kubernetes does not have itself, the version that is meant, and what an object must and may say.
EXTRA_KINDS = {
    "ServiceMonitor": ("monitoring.coreos.com/v1", {"selector", "endpoints"}, set()),
    "InferencePool": ("inference.networking.k8s.io/v1", {"selector", "targetPorts", "endpointPickerRef"}, set()),
    "HTTPRoute": ("gateway.networking.k8s.io/v1", {"parentRefs", "rules"}, {"hostnames"}),
}


def case_name(path):
    return "default" if path is None else path.stem


def render(*arguments):
    code, text, errors = helm("template", "mine", CHART, "--namespace", "llm", *arguments)
    assert code == 0, errors
    return [item for item in yaml.safe_load_all(text) if item]


@pytest.fixture(scope="module", params=CASES, ids=case_name)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def items(case):
    return render(*(["-f", case] if case else []))


@pytest.fixture(scope="module")
def schemas():
    return Schemas()


@pytest.fixture(scope="module")
def serve_flags(binary):
    text = subprocess.run([binary, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^  --([a-z-]+)", text, re.M))


def of_kind(items, kind):
    return [item for item in items if item["kind"] == kind]


def server_policy(items):
    (found,) = [each for each in of_kind(items, "NetworkPolicy")
                if each["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "server"]  # fmt: skip
    return found


def only(items, kind, component=None):
    found = [each for each in of_kind(items, kind)
             if component is None or pod_labels(each).get("app.kubernetes.io/component") == component]  # fmt: skip
    assert len(found) == 1, (kind, component, len(found))
    return found[0]


def pod_labels(deployment):
    return deployment["spec"]["template"]["metadata"]["labels"]


def pod(items, component="server"):
    return only(items, "Deployment", component)["spec"]["template"]["spec"]


def server(items):
    return pod(items)["containers"][0]


def serve_yaml(items):
    return yaml.safe_load(only(items, "ConfigMap")["data"]["serve.yaml"])


def test_lint(case):
    code, text, errors = helm("lint", "--strict", CHART, *(["-f", case] if case else []))
    assert code == 0 and "0 chart(s) failed" in text, text + errors


def test_objects_are_right_by_the_published_schemas(items, schemas):
    for item in items:
        errors = schemas.errors(item)
        if errors is None:
            version, must, may = EXTRA_KINDS[item["kind"]]
            fields = set(item["spec"])
            assert item["apiVersion"] == version and must <= fields <= must | may, (item["kind"], fields)
        else:
            assert errors == []
        assert item["metadata"]["labels"]["app.kubernetes.io/instance"] == "mine"


def test_the_schemas_find_a_wrong_object(schemas):
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"port": 1}}
    assert len(schemas.errors(wrong)) == 1


def test_selectors_choose_the_pods_that_are_meant(items):
    deployments = of_kind(items, "Deployment")
    for deployment in deployments:
        assert deployment["spec"]["selector"]["matchLabels"].items() <= pod_labels(deployment).items()
    for item in items:
        spec = item.get("spec", {})
        selector = {"Service": lambda: spec["selector"], "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
                    "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
                    "InferencePool": lambda: spec["selector"]["matchLabels"]}.get(item["kind"])  # fmt: skip
        if selector is None:
            continue
        chosen = [each for each in deployments if selector().items() <= pod_labels(each).items()]
        assert len(chosen) == 1, (item["kind"], item["metadata"]["name"])
        component = "router" if item["metadata"]["name"].endswith("-router") else "server"
        assert pod_labels(chosen[0])["app.kubernetes.io/component"] == component
    for monitor in of_kind(items, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        services = [each for each in of_kind(items, "Service") if wanted <= each["metadata"]["labels"].items()]
        assert len(services) == 1
        ports = {port["name"] for port in services[0]["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


def test_ports_that_are_named_exist(items):
    for component in ("server", "router"):
        deployments = [each for each in of_kind(items, "Deployment")
                       if pod_labels(each)["app.kubernetes.io/component"] == component]  # fmt: skip
        for deployment in deployments:
            container = deployment["spec"]["template"]["spec"]["containers"][0]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            probes = [container[name] for name in container if name.endswith("Probe")]
            named = {probe["httpGet"]["port"] for probe in probes}
            for service in of_kind(items, "Service"):
                if service["spec"]["selector"]["app.kubernetes.io/component"] == component:
                    named |= {port["targetPort"] for port in service["spec"]["ports"]}
            if component == "server":
                for policy in of_kind(items, "NetworkPolicy"):
                    named |= {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
                config = serve_yaml(items)
                assert ports["http"] == config["port"] and ports["grpc"] == config["grpc-port"]
                for pool in of_kind(items, "InferencePool"):
                    assert pool["spec"]["targetPorts"] == [{"number": ports["http"]}]
                if "kv-events" in config:
                    assert config["kv-events"] == f"tcp://*:{ports['kv-events']}"
                    assert ports["kv-replay"] == ports["kv-events"] + 1
            assert named <= set(ports)


def test_what_names_other_objects_finds_them(items):
    names = {(item["kind"], item["metadata"]["name"]) for item in items}
    for scaler in of_kind(items, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in names
        assert "replicas" not in only(items, "Deployment", "server")["spec"]
    for route in of_kind(items, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for target in rule["backendRefs"]:
                assert (target.get("kind", "Service"), target["name"]) in names
    for deployment in of_kind(items, "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in spec["volumes"]}
        for container in spec["containers"] + spec.get("initContainers", []):
            mounts = [mount["name"] for mount in container["volumeMounts"]]
            assert set(mounts) <= volumes and len(mounts) == len(set(mounts))
        if "serviceAccountName" in spec:
            assert ("ServiceAccount", spec["serviceAccountName"]) in names


def test_probes_and_metrics_ask_for_paths_that_the_server_has(items, request):
    running = request.getfixturevalue("server")
    paths = json.loads(running.request("GET", "/openapi.json")[2])["paths"]
    container = server(items)
    probes = {name: container[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    asked = {probe["httpGet"]["path"] for probe in probes.values()}
    asked |= {end["path"] for each in of_kind(items, "ServiceMonitor") for end in each["spec"]["endpoints"]}
    for path in asked:
        assert "get" in paths[path] and running.request("GET", path)[0] == 200
    assert probes["livenessProbe"]["httpGet"]["path"] == "/live"  # alone: a server that loads or drains is not ended
    scheme = "HTTPS" if "tls-cert" in serve_yaml(items) else "HTTP"
    assert {probe["httpGet"]["scheme"] for probe in probes.values()} == {scheme}
    # Weights take minutes to load.
    assert probes["startupProbe"]["periodSeconds"] * probes["startupProbe"]["failureThreshold"] >= 600
    for scaler in of_kind(items, "HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            assert running.metric(metric["pods"]["metric"]["name"]) is not None


def test_pods_have_no_rights_that_they_do_not_need(items):
    dockerfile = (ROOT / "docker" / "Dockerfile.cpu").read_text()
    for deployment in of_kind(items, "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        whole = spec["securityContext"]
        assert whole["runAsNonRoot"] and whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert f"--uid {whole['runAsUser']} " in dockerfile
        for container in spec["containers"] + spec.get("initContainers", []):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]} and "memory" in container["resources"]["limits"]
    assert pod(items)["automountServiceAccountToken"] is False
    policy = server_policy(items)["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    fetches = "initContainers" in pod(items)
    assert bool(policy["egress"]) == fetches
    for rule in policy["ingress"]:
        reads_prompts = {"kv-events", "kv-replay"} & {port["port"] for port in rule["ports"]}
        chosen = rule["from"][0].get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component")
        assert not reads_prompts or chosen == "router"


def test_the_router_reaches_the_servers_and_is_no_way_around(items):
    routers = [each for each in of_kind(items, "Deployment")
               if pod_labels(each)["app.kubernetes.io/component"] == "router"]  # fmt: skip
    policies = of_kind(items, "NetworkPolicy")
    assert len(policies) == 1 + len(routers)
    for router in routers:
        rules = server_policy(items)["spec"]["ingress"]
        own = next(each for each in policies if each is not server_policy(items))["spec"]
        assert own["podSelector"]["matchLabels"].items() <= pod_labels(router).items()
        assert [rule["from"] for rule in own["ingress"]] == [rules[0]["from"]]
        peers = [rule["from"][0].get("podSelector", {}).get("matchLabels") for rule in rules
                 if {"port": "http", "protocol": "TCP"} in rule["ports"]]  # fmt: skip
        assert own["podSelector"]["matchLabels"] in peers


def test_a_pod_has_the_time_that_its_end_takes(items):
    for component in {pod_labels(each)["app.kubernetes.io/component"] for each in of_kind(items, "Deployment")}:
        spec = pod(items, component)
        before = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        drain = serve_yaml(items)["drain-timeout"]
        assert before > 0 and spec["terminationGracePeriodSeconds"] >= before + drain + 5


def secret_volume(folder, **files):
    """Files as Kubernetes lays them for a pod: links by way of a link to a folder, so that all change at once."""
    (folder / "..one").mkdir(parents=True)
    for name, content in files.items():
        (folder / "..one" / name).write_text(content)
        (folder / name).symlink_to(pathlib.Path("..data") / name)
    (folder / "..data").symlink_to("..one")


def test_the_server_starts_from_the_configuration(items, binary, serve_flags, tmp_path):
    container = server(items)
    assert container["args"][0] == "serve" and container["args"][2] == "--config"
    config = serve_yaml(items)
    assert set(config) <= serve_flags
    secret_volume(tmp_path / "keys", **{"keys.txt": "a-key-of-the-chart\n"})
    pair = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    pair += ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "chain.pem"]
    subprocess.run(pair, check=True, capture_output=True, timeout=60)
    chain, key = (tmp_path / "chain.pem").read_text(), (tmp_path / "key.pem").read_text()
    secret_volume(tmp_path / "tls", **{"tls.crt": chain, "tls.key": key})
    text = only(items, "ConfigMap")["data"]["serve.yaml"]
    text = text.replace("/etc/coppice/", f"{tmp_path}/").replace("/var/lib/coppice", f"{tmp_path}/state")
    text = re.sub(r"tcp://\*:\d+", "tcp://127.0.0.1:0", text)  # as the other ports, which come by flag
    (tmp_path / "serve.yaml").write_text(text)
    # Free ports come from RunningServer. A machine without a GPU uses the CPU; the demo model's context is short.
    here = ["--host", "127.0.0.1", "--device", "cpu", "--max-model-len", "512"]
    with RunningServer(binary, "demo", "--config", tmp_path / "serve.yaml", *here) as running:
        assert running.scheme == ("https" if "tls-cert" in config else "http")
        log = "".join(running.log)
        if running.scheme == "http":
            body = {"model": config.get("served-model-name", "demo"), "prompt": "Once", "max_tokens": 2}
            assert running.post("/v1/completions", body)[0] == (401 if "api-key-file" in config else 200), log
            assert bool(running.request("GET", "/kv_event_sources")[2] != "{}") == ("kv-events" in config)
        assert running.stop() == 0


def test_the_init_container_fetches_what_the_server_opens(items, binary):
    fetching = pod(items).get("initContainers", [])
    if fetching:
        known = subprocess.run([binary, "inspect", "--help"], capture_output=True, text=True, check=True).stdout
        arguments = fetching[0]["args"]
        assert arguments[:2] == ["inspect", server(items)["args"][1]]
        assert all(flag in known for flag in arguments if flag.startswith("--"))
        volumes = [{mount["name"]: mount["mountPath"] for mount in each["volumeMounts"]} for each in
                   (fetching[0], server(items))]  # fmt: skip
        assert volumes[0]["cache"] == volumes[1]["cache"]
        assert f"VOLUME {volumes[0]['cache']}\n" in (ROOT / "docker" / "Dockerfile.cpu").read_text()
    assert serve_yaml(items)["offline"] == "on"


def leaves(values, path=()):
    if isinstance(values, dict) and values and path not in {("resources",), ("router", "resources")}:
        for key, value in values.items():
            yield from leaves(value, (*path, key))
    else:
        yield path


def test_every_value_is_used_and_every_used_value_exists():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    text = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    used = {tuple(match.split(".")) for match in re.findall(r"\.Values\.([A-Za-z.]*[A-Za-z])", text)}
    assert used == set(leaves(values))
    schema = json.loads((CHART / "values.schema.json").read_text())
    definitions = schema["definitions"]

    def described(node, path=()):
        node = definitions[node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node
        if "properties" in node and path not in {("resources",), ("router", "resources")}:
            assert node["additionalProperties"] is False, path
            for key, below in node["properties"].items():
                yield from described(below, (*path, key))
        else:
            yield path

    assert set(described(schema)) - {("global",)} == used


@pytest.mark.parametrize(
    "settings, words",
    [
        (["replica=3"], "replica"),
        (["config.port=9000"], "port"),
        (["gpu.count=2"], "maximum"),
        (["image.pullPolicy=Sometimes"], "pullPolicy"),
        (["autoscaling.enabled=yes"], "boolean"),
        (["router.enabled=true"], "router.policy kv_aware needs kvEvents.enabled"),
        (["router.enabled=true", "kvEvents.enabled=true"], "router.image is an image"),
        (["router.enabled=true", "tls.secret=x"], "end TLS before it"),
        (["inferencePool.enabled=true"], "inferencePool.endpointPicker.service is"),
    ],
)
def test_wrong_values_are_refused(settings, words):
    flags = [word for each in settings for word in ("--set", each)]
    code, _, errors = helm("template", "mine", CHART, *flags)
    assert code != 0 and words in errors, errors


def test_a_changed_configuration_is_a_new_pod():
    sums = {only(render(*flags), "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            for flags in ([], ["--set", "config.seed=1"], ["--set", "config.seed=2"])}  # fmt: skip
    assert len(sums) == 3


def test_the_router_knows_its_flags():
    program = find_program("vllm-router")
    if program is None:
        pytest.skip("vllm-router is not installed (pip install vllm-router)")
    known = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60).stdout
    router = pod(render("-f", CHART / "examples" / "fleet.yaml"), "router")["containers"][0]
    flags = [word.split("=")[0] for word in router["args"] if word.startswith("--")]
    assert flags and all(re.search(rf"^  {flag}\b", known, re.M) for flag in flags)
