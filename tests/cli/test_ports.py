"""Ports of a mesh: counted from the catalog, checked before anything starts."""

from __future__ import annotations

import socket

import pytest

from mesh import ports
from mesh.errors import InvalidOption, PortInUse
from services.catalog import BY_NAME, PROCESSES

DEFAULT = ports.replicas_of({})


def test_every_replica_and_listener_has_a_port_of_its_own():
    """No two processes of the largest possible mesh want one port, also while one is exchanged."""
    replicas = {process.name: ports.max_replicas(process) for process in PROCESSES}
    ports_of_all = sum(n + ports.SPARE for n in replicas.values())
    assert len(ports.wanted(8080, replicas)) == 3 + 2 * ports_of_all


def test_a_taken_port_names_itself_its_process_and_the_option():
    """A busy port is refused with the port, the process that wanted it, and what to change."""
    block = ports.free_block()
    taken = BY_NAME["nsfw"].port(block)
    with socket.create_server(("127.0.0.1", taken)), pytest.raises(PortInUse) as refused:
        ports.check_free(block, DEFAULT)
    assert str(refused.value) == (
        f"port {taken} is in use, and nsfw wants it: choose another block of ports with --port "
        f"(now {block})"
    )


def test_a_port_taken_on_all_addresses_is_taken():
    """A server that listens on every address takes the port on loopback too."""
    block = ports.free_block()
    with (
        socket.create_server(("0.0.0.0", block + 1)),
        pytest.raises(PortInUse, match="envoy's mesh listener"),
    ):
        ports.check_free(block, DEFAULT)


def test_a_connection_that_lingers_takes_no_port():
    """A mesh can be started where another one has just been stopped."""
    block = ports.free_block()
    with socket.create_server(("127.0.0.1", block)) as server:
        client = socket.create_connection(("127.0.0.1", block))
        served, _ = server.accept()
        served.close()  # the server closes first, so its side lingers
        client.close()
    ports.check_free(block, DEFAULT)


def test_a_free_block_can_hold_a_mesh():
    """What `free_block` returns passes the check of a mesh, also with replicas."""
    ports.check_free(ports.free_block(), ports.replicas_of({"nsfw": 3}))


@pytest.mark.parametrize("port", [0, ports.MAX_EDGE_PORT + 1])
def test_an_edge_port_without_room_is_refused(port):
    """An edge port from which the others cannot be counted is refused with the limits."""
    with pytest.raises(InvalidOption, match=rf"--port {port}: must be from 1 to \d+"):
        ports.check_free(port, DEFAULT)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"nsfv": 2}, "--replicas nsfv=2: no such process; there are: images, nsfw"),
        ({"nsfw": 0}, "--replicas nsfw=0: must be from 1 to"),
        ({"nsfw": 99}, "--replicas nsfw=99: must be from 1 to"),
    ],
)
def test_impossible_replicas_are_refused(asked, complaint):
    """Replicas of an unknown process, none of them, or too many are refused by name."""
    with pytest.raises(InvalidOption, match=complaint):
        ports.replicas_of(asked)
