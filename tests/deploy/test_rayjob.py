"""The manifest for KubeRay, held against the schemas of those who read it.

Kubernetes' own schema judges the ConfigMap, the volume and every pod; Ray's autoscaler reads the node groups with
the code that it runs in a cluster. KubeRay's definition of a RayJob is in no package: of the fields that are its
own, names and kinds are held against its reference (v1.6), written down here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.autoscaler._private.kuberay import autoscaling_config

from deploy_files import ROOT, pins, ray_environment
from llem_sweep import load_sweep, plan_sweep

KUBERNETES = "1.32"
POD = {"type": "object", "required": ["spec"]}
"""A pod template: Kubernetes' own schema judges it."""


def fields(required: str = "", /, **known: Any) -> dict[str, Any]:
    """Schema of an object that has no other fields than ``known``."""
    return {
        "type": "object",
        "properties": known,
        "required": required.split(),
        "additionalProperties": False,
    }


TEXT, NUMBER, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
CLUSTER = fields(
    "headGroupSpec",
    rayVersion=TEXT,
    authOptions=fields(mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=fields(
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]}, idleTimeoutSeconds=NUMBER
    ),
    headGroupSpec=fields(
        "template rayStartParams",
        serviceType=TEXT,
        enableIngress=FLAG,
        rayStartParams=TEXTS,
        template=POD,
    ),
    workerGroupSpecs={
        "type": "array",
        "items": fields(
            "groupName minReplicas maxReplicas rayStartParams template",
            groupName=TEXT,
            replicas=NUMBER,
            minReplicas=NUMBER,
            maxReplicas=NUMBER,
            rayStartParams=TEXTS,
            template=POD,
        ),
    },
)
RAY_JOB = fields(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=fields("name", name=TEXT),
    spec=fields(
        "entrypoint rayClusterSpec",
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        entrypoint=TEXT,
        runtimeEnvYAML=TEXT,
        backoffLimit=NUMBER,
        submitterConfig=fields(backoffLimit=NUMBER),
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=NUMBER,
        rayClusterSpec=CLUSTER,
    ),
)


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    """Every manifest of the file, by kind."""
    loaded = yaml.safe_load_all((ROOT / "deploy" / "rayjob.yaml").read_text())
    return {manifest["kind"]: manifest for manifest in loaded}


@pytest.fixture(scope="module")
def job(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = manifests["RayJob"]["spec"]
    return spec


@pytest.fixture(scope="module")
def cluster(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["rayClusterSpec"]
    return spec


@pytest.fixture(scope="module")
def pods(cluster: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The pods' specifications, by group."""
    groups = {"head": cluster["headGroupSpec"]} | {
        group["groupName"]: group for group in cluster["workerGroupSpecs"]
    }
    return {name: group["template"]["spec"] for name, group in groups.items()}


def test_kubernetes_accepts_everything_but_the_job(manifests: dict[str, dict[str, Any]]) -> None:
    assert set(manifests) == {"ConfigMap", "PersistentVolumeClaim", "RayJob"}
    for kind in ("ConfigMap", "PersistentVolumeClaim"):
        kubernetes_validate.validate(manifests[kind], KUBERNETES, strict=True)


def test_kubernetes_accepts_every_pod(pods: dict[str, dict[str, Any]]) -> None:
    for spec in pods.values():
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec},
            KUBERNETES,
            strict=True,
        )


def test_kubernetes_would_notice_an_unknown_field(pods: dict[str, dict[str, Any]]) -> None:
    spec = pods["gpu"] | {"hostPid": True}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec},
            KUBERNETES,
            strict=True,
        )


def test_kuberay_knows_every_field_of_the_job(manifests: dict[str, dict[str, Any]]) -> None:
    jsonschema.validate(manifests["RayJob"], RAY_JOB)


def test_ray_s_autoscaler_reads_a_head_that_measures_nothing_and_workers_with_boards(
    cluster: dict[str, Any],
) -> None:
    resource = {"metadata": {"name": "sweep", "namespace": "default"}, "spec": cluster}
    read = autoscaling_config._derive_autoscaling_config_from_ray_cr(resource)
    kinds = read["available_node_types"]
    head = kinds.pop(read["head_node_type"])
    assert (head["resources"]["CPU"], head["resources"].get("GPU", 0)) == (0, 0)
    assert all(kind["resources"]["GPU"] == 1 and kind["resources"]["CPU"] > 1 for kind in kinds.values())
    assert read["max_workers"] == sum(kind["max_workers"] for kind in kinds.values()) > 0
    assert read["idle_timeout_minutes"] == 10


def test_the_cluster_asks_for_a_token_and_shows_its_dashboard_to_nobody(cluster: dict[str, Any]) -> None:
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster["headGroupSpec"]["enableIngress"] is False


def test_every_pod_has_the_shared_environment(pods: dict[str, dict[str, Any]]) -> None:
    # The mode of authentication is KubeRay's to set, with the token.
    wanted = {name: value for name, value in ray_environment().items() if name != "RAY_AUTH_MODE"}
    for spec in pods.values():
        (container,) = spec["containers"]
        given = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert wanted.items() <= given.items()


def test_workers_see_the_host_s_processes_and_keep_their_cpus(pods: dict[str, dict[str, Any]]) -> None:
    assert pods["gpu"]["hostPID"] is True
    for spec in pods.values():
        resources = spec["containers"][0]["resources"]
        assert resources["requests"] == resources["limits"]


def test_pods_are_not_restarted_in_place(pods: dict[str, dict[str, Any]]) -> None:
    # Version 2 of the autoscaler tells nodes apart by pod.
    assert all(spec["restartPolicy"] == "Never" for spec in pods.values())


def test_the_job_runs_the_mounted_grid_into_the_volume(
    manifests: dict[str, dict[str, Any]], job: dict[str, Any], pods: dict[str, dict[str, Any]]
) -> None:
    shell, script, grid, output = job["entrypoint"].split()
    mounts = {mount["name"]: mount["mountPath"] for mount in pods["head"]["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pods["head"]["volumes"]}
    assert shell == "bash"
    assert (ROOT / script.removeprefix("/home/ray/llem-sweep/")).is_file()
    assert grid == f"{mounts['grid']}/grid.yaml"
    assert volumes["grid"]["configMap"]["name"] == manifests["ConfigMap"]["metadata"]["name"]
    assert output.startswith(f"{mounts['results']}/")
    claim = volumes["results"]["persistentVolumeClaim"]["claimName"]
    assert claim == manifests["PersistentVolumeClaim"]["metadata"]["name"]


def test_the_grid_is_a_sweep_file(manifests: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    written = manifests["ConfigMap"]["data"]["grid.yaml"]
    grid = tmp_path / "grid.yaml"
    grid.write_text(written.replace("/home/ray/llem-sweep", str(ROOT)))
    assert len(plan_sweep(load_sweep(grid)).experiments) == 9


def test_the_job_is_given_the_time_to_stop_that_other_jobs_are_given(job: dict[str, Any]) -> None:
    elsewhere = yaml.safe_load((ROOT / "deploy" / "job.yaml").read_text())
    assert yaml.safe_load(job["runtimeEnvYAML"])["env_vars"] == elsewhere["env_vars"]


def test_manifest_and_image_hold_the_ray_that_is_pinned(cluster: dict[str, Any]) -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    (base,) = re.findall(r"^FROM (\S+)$", dockerfile, re.MULTILINE)
    assert base == f"rayproject/ray:{pins()['ray']}-py311-gpu"
    assert cluster["rayVersion"] == pins()["ray"]


def test_the_image_copies_what_there_is_and_installs_from_the_pins() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    copied = [
        source
        for line in re.findall(r"^COPY --chown=\S+ (.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert {"pyproject.toml", "constraints.txt", "src", "sweeps", "deploy"} <= set(copied)
    assert all((ROOT / source).exists() for source in copied)
    assert "pip install --no-cache-dir -c /home/ray/llem-sweep/constraints.txt" in dockerfile
