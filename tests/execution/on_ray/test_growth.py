"""What is known of the nodes that an autoscaler could add."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from llem_sweep.errors import ClusterError
from llem_sweep.execution.on_ray.growth import described, is_launched, reported_types
from llem_sweep.plan.types import NodeShape

CLUSTER = {
    "head_node_type": "head",
    "max_workers": 8,
    "available_node_types": {
        "head": {"resources": {"CPU": 4}},
        "p4d": {"resources": {"CPU": 96, "GPU": 8, "accelerator_type:A100": 1}, "max_workers": 4},
        "labelled": {"resources": {"GPU": 1}, "labels": {"ray.io/accelerator-type": "L4"}},
        "retired": {"resources": {"GPU": 2}, "max_workers": 0},
    },
}


def test_the_description_on_the_head_names_every_kind_that_may_be_added(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(CLUSTER))
    assert set(described(file)) == {
        NodeShape("p4d", 8, 96.0, accelerator="A100"),
        NodeShape("labelled", 1, 0.0, accelerator="L4"),
    }


@pytest.mark.parametrize("text", ["[", "{}", "available_node_types: 3", "available_node_types: {a: 3}"])
def test_a_description_that_cant_be_read_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(ClusterError, match=r"cluster\.yaml"):
        described(file)


@pytest.mark.parametrize("kind", ["", "node_0123456789abcdef"])
def test_nodes_started_by_hand_say_nothing_of_an_autoscaler(kind: str) -> None:
    assert not is_launched(kind)


def test_the_older_autoscalers_report_names_kinds_there_and_coming() -> None:
    report = {"node_type_mapping": {"10.0.0.1": "ray.head.default"}, "pending_launches": {"gpus": 2}}
    status = json.dumps({"autoscaler_report": report}).encode()
    assert reported_types(status) == {"ray.head.default", "gpus"}
    assert all(map(is_launched, reported_types(status)))
    assert not reported_types(None)
    assert not reported_types(b"{}")
