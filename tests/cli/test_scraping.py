"""Where Prometheus finds the processes of a mesh."""

from __future__ import annotations

from mesh import ports, scraping
from mesh.state import RunningProcess
from services.catalog import PROCESSES


def test_every_replica_is_a_target():
    """Each at the port that is reserved for its metrics, Envoy at its admin interface; all of
    these are ports of the mesh, none of which is there twice."""
    replicas = ports.replicas_of({"nsfw": 3, "gateway": 2})
    running = [
        RunningProcess(process.name, replica, process.port(9000, replica), None, "", "", None, 0)
        for process in PROCESSES
        for replica in range(replicas[process.name])
    ]
    found = {}
    for target in scraping.targets(9000, running):
        labels, (address,) = target["labels"], target["targets"]
        host, _, port = address.rpartition(":")
        assert host == ports.HOST
        found[labels["process"], labels["replica"]] = int(port)
    wanted = ports.wanted(9000, replicas)
    assert wanted[found["envoy", "0"]] == "envoy's admin interface"
    assert {key: wanted[port] for key, port in found.items() if key[0] != "envoy"} == {
        (process.name, str(replica)): f"{process.name}'s metrics"
        for process in PROCESSES
        for replica in range(replicas[process.name])
    }
    assert len(set(found.values())) == len(found)
