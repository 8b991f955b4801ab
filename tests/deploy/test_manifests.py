"""What is shipped for containers and Kubernetes, as far as it can be checked without either."""

import re
import shutil
import subprocess
import tomllib
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from pipeline.cli import app
from resources.settings import ROOT

MANIFESTS = ROOT / "deploy" / "kubernetes"
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
KUBERNETES = "1.32"
SECRET = {
    "POOLCAST_POSTGRES_URL", "POOLCAST_SIGN_IN", "POOLCAST_API_KEY", "POOLCAST_ALERTS_TO", "MLFLOW_TRACKING_PASSWORD",
    "AWS_SECRET_ACCESS_KEY",
}  # fmt: skip


def files() -> list[dict[str, Any]]:
    """Every object as it is written, without kubectl."""
    names = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    return [found for name in names for found in yaml.safe_load_all((MANIFESTS / name).read_text())]


def pods() -> list[tuple[str, dict[str, Any]]]:
    return [(o["metadata"]["name"], o["spec"]["template"]["spec"]) for o in files() if "template" in o.get("spec", {})]


def test_every_object_follows_kubernetes_own_schema_to_the_letter() -> None:
    for found in files():
        kubernetes_validate.validate(found, KUBERNETES, strict=True)


def test_a_misspelt_field_would_be_refused() -> None:
    found = next(o for o in files() if o["kind"] == "StatefulSet")
    found["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, KUBERNETES, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
def test_kustomize_renders_them_into_one_namespace_with_one_image() -> None:
    command = ["kubectl", "kustomize", str(MANIFESTS)]
    rendered = list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert len(rendered) == len(files())
    for found in rendered:
        kubernetes_validate.validate(found, KUBERNETES, strict=True)
        assert found["kind"] == "Namespace" or found["metadata"]["namespace"] == "poolcast"
    specs = [found["spec"]["template"]["spec"] for found in rendered if "template" in found.get("spec", {})]
    images = {container["image"] for spec in specs for container in spec["containers"]}
    assert images == {"registry.example.org/poolcast:1"}


@pytest.mark.parametrize(("name", "pod"), pods())
def test_no_pod_is_root_or_may_gain_a_right_or_eat_a_node(name: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    # Kubernetes would else put POOLCAST_PORT and its like beside our own variables.
    assert pod["enableServiceLinks"] is False
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(("name", "pod"), pods())
def test_every_command_is_one_there_is(name: str, pod: dict[str, Any]) -> None:
    for container in pod["containers"]:
        program, command, *options = container["args"]
        if program == "dask":
            assert command == "scheduler"
            continue
        known = {option for parameter in get_command(app).commands[command].params for option in parameter.opts}  # type: ignore[attr-defined]
        assert {option for option in options if option.startswith("--")} <= known


def test_every_setting_is_one_that_is_read_and_no_secret_is_written_down() -> None:
    (settings,) = (o["data"] for o in files() if o["kind"] == "ConfigMap")
    read = (ROOT / "resources" / "settings.py").read_text()
    assert all(f'"{name}"' in read for name in settings if name.startswith("POOLCAST_"))
    assert not settings.keys() & SECRET
    assert not any(o["kind"] == "Secret" for o in files())
    written = [line for file in MANIFESTS.iterdir() for line in file.read_text().splitlines()]
    assert not [line for line in written if "://" in line and "@" in line]


def test_each_policy_speaks_of_pods_that_there_are_and_nobody_else_reaches_dask() -> None:
    templates = [o["spec"]["template"] for o in files() if "template" in o.get("spec", {})]
    named = {template["metadata"]["labels"]["app.kubernetes.io/name"] for template in templates}
    policies = {o["metadata"]["name"]: o["spec"] for o in files() if o["kind"] == "NetworkPolicy"}
    assert policies["nobody-comes-in"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    for policy in policies.values():
        assert set(policy["podSelector"].get("matchLabels", {}).values()) <= named
    for name in ("who-gives-work-and-who-does-it", "workers-and-their-scheduler"):
        for rule in policies[name]["ingress"]:
            assert [key for source in rule["from"] for key in source] == ["podSelector"]


def test_services_and_settings_name_each_other() -> None:
    ports = {(o["metadata"]["name"], p["port"]) for o in files() if o["kind"] == "Service" for p in o["spec"]["ports"]}
    (settings,) = (o["data"] for o in files() if o["kind"] == "ConfigMap")
    host, port = settings["POOLCAST_DASK"].removeprefix("tcp://").split(":")
    assert (host, int(port)) in ports
    assert ("poolcast", 3000) in ports
    # The probes of the kubelet come under this name; the guard would refuse them under the pod's number.
    assert "poolcast" in settings["POOLCAST_ALLOWED_HOSTS"].split(",")


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions, continued lines joined."""
    text = re.sub(r"\\\n", " ", "\n".join(x for x in CONTAINERFILE.read_text().splitlines() if not x.startswith("#")))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def test_the_image_takes_only_what_is_there_and_let_through() -> None:
    copied = [source for kind, rest in instructions() if kind == "COPY" for source in rest.split()[:-1]]
    assert copied
    allowed = (ROOT / ".containerignore").read_text().splitlines()
    assert (ROOT / ".dockerignore").read_text().splitlines() == allowed
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in allowed
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in packages} <= set(copied)


def test_the_image_is_installed_by_hash_and_runs_as_nobody() -> None:
    kinds = [kind for kind, _ in instructions()]
    runs = " ".join(rest for kind, rest in instructions() if kind == "RUN")
    assert "--require-hashes" in runs
    assert kinds.index("USER") > max(n for n, kind in enumerate(kinds) if kind in {"RUN", "COPY"})
    assert dict(instructions())["USER"] == "10001:10001"
    assert not SECRET & set(re.findall(r"[A-Z_]+", CONTAINERFILE.read_text()))
    locked = (ROOT / "requirements-dask.lock").read_text()
    assert re.search(r"^distributed==", locked, re.MULTILINE)
    assert not re.search(r"^(pytest|playwright)==", locked, re.MULTILINE)
