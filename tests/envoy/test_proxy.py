"""Rendering, validating and the files that Envoy watches."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh import proxy
from mesh.proxy import ProxySettings, RateLimit
from mesh.validation import InvalidProxyConfig, validate
from services import limits
from services.catalog import PROCESSES
from tests.support.envoy import settings_in

ROOT = Path(__file__).resolve().parents[2]


def test_committed_configuration_is_the_rendered_one():
    """`envoy/rendered/local.yaml` is what the template makes of the defaults."""
    assert (ROOT / "envoy/rendered/local.yaml").read_text() == proxy.rendered()


def test_rendered_configuration_names_no_machine():
    """Committed paths are relative, so that no one's machine is in them."""
    assert str(ROOT) not in proxy.rendered()
    assert str(Path.home()) not in proxy.rendered()


def test_every_process_has_its_clusters():
    """Each gRPC process of the catalog has a cluster for batches and one by digest."""
    clusters = {entry["name"] for entry in _parsed()["static_resources"]["clusters"]}
    grpc = {process.name for process in PROCESSES if process.grpc_service}
    assert clusters == {"rest", "gateway"} | grpc | {f"{name}-by-digest" for name in grpc}


def test_everything_listens_on_loopback():
    """Without being told otherwise, nothing listens beyond this machine."""
    config = _parsed()
    listeners = [entry["address"] for entry in config["static_resources"]["listeners"]]
    hosts = {
        entry["socket_address"]["address"] for entry in [*listeners, config["admin"]["address"]]
    }
    assert hosts == {"127.0.0.1"}


def test_only_the_edge_listens_elsewhere():
    """An edge for other machines leaves the mesh and admin listeners on loopback."""
    config = yaml.load(proxy.render(ProxySettings(edge_host="0.0.0.0")), Loader=yaml.CSafeLoader)
    hosts = {
        entry["name"]: entry["address"]["socket_address"]["address"]
        for entry in config["static_resources"]["listeners"]
    }
    assert hosts == {"edge": "0.0.0.0", "mesh": "127.0.0.1"}
    assert config["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_the_facade_gives_up_first():
    """Envoy waits longer for an answer than the facade's own longest deadline."""
    settings = ProxySettings()
    longest_s = max(limits.DEFAULT_TIMEOUT_S, limits.DEFAULT_BATCH_TIMEOUT_S)
    assert longest_s < settings.response_timeout_s < settings.stream_idle_timeout_s


def test_envoy_accepts_the_configuration(tmp_path: Path):
    """The real Envoy validates what is rendered."""
    settings = settings_in(tmp_path / 'a "quoted" folder')
    path = tmp_path / "envoy.yaml"
    proxy.write_config(path, settings)
    validate(path)


def test_envoy_accepts_any_window(tmp_path: Path):
    """Envoy knows durations to the nanosecond, while a third of a second has no end of digits."""
    limits_of = {"acme": RateLimit(1, 0.1), "beta": RateLimit(1, 86_400.0)}
    settings = settings_in(tmp_path, rate_limit=RateLimit(1, 1 / 3), tenant_rate_limits=limits_of)
    proxy.write_config(tmp_path / "envoy.yaml", settings)
    validate(tmp_path / "envoy.yaml")


def test_refusal_says_why(tmp_path: Path):
    """A configuration that Envoy refuses is reported with the file and Envoy's reason."""
    path = tmp_path / "envoy.yaml"
    path.write_text("static_resources: {listeners: [{name: edge, address: nowhere}]}\n")
    with pytest.raises(InvalidProxyConfig, match=r"envoy\.yaml: .*nowhere"):
        validate(path)


def test_writing_the_configuration_keeps_replicas(tmp_path: Path):
    """Endpoint files that are there survive; a process without one has no replica."""
    settings = settings_in(tmp_path)
    settings.endpoints_dir.mkdir()
    proxy.write_endpoints(settings.endpoints_dir, "nsfw", [("127.0.0.1", 1)])
    proxy.write_config(tmp_path / "envoy.yaml", settings)
    assert _addresses(settings, "nsfw") == [("127.0.0.1", 1)]
    assert _addresses(settings, "rest") == []


def test_endpoint_files_are_never_half_written(tmp_path: Path):
    """Whoever reads while replicas change sees one state or another, whole."""
    settings = replace(ProxySettings(), endpoints_dir=tmp_path)
    states = [[("127.0.0.1", port) for port in range(1, count)] for count in (2, 200)]
    proxy.write_endpoints(tmp_path, "nsfw", states[0])

    def write() -> None:
        for round_ in range(200):
            proxy.write_endpoints(tmp_path, "nsfw", states[round_ % 2])

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        assert _addresses(settings, "nsfw") in states
    writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["nsfw.json"]


def test_command_runs_the_binary_itself(tmp_path: Path):
    """Envoy is started without a wrapper, so that a signal reaches it, and beside other Envoys."""
    program, *arguments = proxy.command(tmp_path / "envoy.yaml", ProxySettings(concurrency=3))
    assert Path(program).read_bytes()[:4] == b"\x7fELF"
    assert "--disable-hot-restart" in arguments
    assert arguments[arguments.index("--concurrency") + 1] == "3"


def _parsed() -> Any:
    return yaml.load(proxy.rendered(), Loader=yaml.CSafeLoader)


def _addresses(settings: ProxySettings, name: str) -> list[tuple[str, int]]:
    (assignment,) = json.loads(settings.endpoints_file(name).read_text())["resources"]
    found = [
        entry["endpoint"]["address"]["socket_address"]
        for entry in assignment["endpoints"][0]["lb_endpoints"]
    ]
    return [(address["address"], address["port_value"]) for address in found]
