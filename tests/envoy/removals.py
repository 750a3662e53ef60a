"""Ways to take exactly one thing out of a parsed configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.envoy import Config

Removal = Callable[[Config], None]


def manager(config: Config, listener: str) -> Config:
    """A listener's HTTP connection manager."""
    listeners = config["static_resources"]["listeners"]
    (found,) = (entry for entry in listeners if entry["name"] == listener)
    connection_manager: Config = found["filter_chains"][0]["filters"][-1]["typed_config"]
    return connection_manager


def host(config: Config, listener: str) -> Config:
    """A listener's virtual host."""
    found: Config = manager(config, listener)["route_config"]["virtual_hosts"][0]
    return found


def clusters(config: Config) -> Iterator[Config]:
    yield from config["static_resources"]["clusters"]


def part_of(node: Config, dotted: str) -> tuple[Config, str]:
    """The mapping that holds a setting, and the setting's own name."""
    *path, last = dotted.split(".")
    for part in path:
        node = node[part]
    return node, last


def setting(listener: str, dotted: str) -> Removal:
    """A setting of a listener's connection manager."""

    def remove(config: Config) -> None:
        node, last = part_of(manager(config, listener), dotted)
        del node[last]

    return remove


def http_filter(prefix: str, listener: str = "edge") -> Removal:
    """A listener's HTTP filters whose names begin with `prefix`."""

    def remove(config: Config) -> None:
        filters = manager(config, listener)["http_filters"]
        kept = [entry for entry in filters if not entry["name"].startswith(prefix)]
        assert len(kept) < len(filters)
        filters[:] = kept

    return remove


def routes(listener: str) -> Removal:
    """All routes of a listener."""
    return lambda config: host(config, listener).update(routes=[])


def routes_to(cluster: str) -> Removal:
    """The edge's routes to one kind of process."""

    def remove(config: Config) -> None:
        found = host(config, "edge")
        kept = [route for route in found["routes"] if route["route"]["cluster"] != cluster]
        assert len(kept) < len(found["routes"])
        found["routes"] = kept

    return remove


def route_setting(listener: str, key: str) -> Removal:
    """A setting of every route that has it."""

    def remove(config: Config) -> None:
        found = [route["route"].pop(key, None) for route in host(config, listener)["routes"]]
        assert any(value is not None for value in found)

    return remove


def host_setting(dotted: str) -> Removal:
    """A setting of the mesh's virtual host."""

    def remove(config: Config) -> None:
        node, last = part_of(host(config, "mesh"), dotted)
        del node[last]

    return remove


def cluster_setting(dotted: str) -> Removal:
    """A setting of every cluster."""

    def remove(config: Config) -> None:
        for cluster in clusters(config):
            node, last = part_of(cluster, dotted)
            del node[last]

    return remove


def connection_limit(config: Config) -> None:
    for listener in config["static_resources"]["listeners"]:
        filters = listener["filter_chains"][0]["filters"]
        filters[:] = [entry for entry in filters if "connection_limit" not in entry["name"]]


def cache_limit(config: Config) -> None:
    (cache,) = (
        entry for entry in manager(config, "edge")["http_filters"] if "cache" in entry["name"]
    )
    del cache["typed_config"]["typed_config"]["max_cache_size_bytes"]


def weak_etags(config: Config) -> None:
    for entry in manager(config, "edge")["http_filters"]:
        direction = entry.get("typed_config", {}).get("response_direction_config", {})
        direction.pop("weaken_etag_on_compress", None)


def access_files(config: Config) -> None:
    """Who is let in stays as it is when Envoy starts: no file could change it."""
    for listener in ("edge", "mesh"):
        for entry in manager(config, listener)["http_filters"]:
            if discovery := entry.pop("config_discovery", None):
                path = Path(discovery["config_source"]["path_config_source"]["path"])
                (resource,) = json.loads(path.read_text())["resources"]
                entry["typed_config"] = resource["typed_config"]


def separate_tenants(config: Config) -> None:
    """The edge's tenants in the authority, and so in the keys of the cache."""
    (entry,) = (
        entry
        for entry in manager(config, "edge")["http_filters"]
        if entry["name"] == "visionmesh.tenant"
    )
    source = entry["typed_config"]["default_source_code"]
    text = source["inline_string"]
    source["inline_string"] = text.replace("SEPARATE = true", "SEPARATE = false")
    assert source["inline_string"] != text


def rate_limit_of(tenant: str) -> Removal:
    """The limit of one tenant, or with an empty name that of all others."""

    def remove(config: Config) -> None:
        (entry,) = (
            entry
            for entry in manager(config, "edge")["http_filters"]
            if entry["name"] == "envoy.filters.http.local_ratelimit"
        )
        descriptors = entry["typed_config"]["descriptors"]
        kept = [one for one in descriptors if one["entries"][0].get("value", "") != tenant]
        assert len(kept) < len(descriptors)
        descriptors[:] = kept

    return remove


def overload_manager(config: Config) -> None:
    del config["overload_manager"]


def http2_at_the_edge(config: Config) -> None:
    manager(config, "edge")["codec_type"] = "HTTP1"


def digest_routes(config: Config) -> None:
    found = host(config, "mesh")["routes"]
    found[:] = [route for route in found if "headers" not in route["match"]]


def once_routes(config: Config) -> None:
    """The routes of single RPCs, whose calls then take those of their service."""
    found = host(config, "mesh")["routes"]
    kept = [route for route in found if "path" not in route["match"]]
    assert len(kept) < len(found)
    found[:] = kept


def retry_budget(config: Config) -> None:
    for cluster in clusters(config):
        del cluster["circuit_breakers"]["thresholds"][0]["retry_budget"]


def ejection_limit(config: Config) -> None:
    for cluster in clusters(config):
        cluster["outlier_detection"]["max_ejection_percent"] = 100


def trust_in_the_facade(config: Config) -> None:
    (cluster,) = (entry for entry in clusters(config) if entry["name"] == "rest")
    del cluster["outlier_detection"]["enforcing_consecutive_5xx"]
    del cluster["outlier_detection"]["split_external_local_origin_errors"]


def upstream_pings(config: Config) -> None:
    for cluster in clusters(config):
        (options,) = cluster["typed_extension_protocol_options"].values()
        http2 = options["explicit_http_config"].get("http2_protocol_options", {})
        http2.pop("connection_keepalive", None)


def endpoint_files(config: Config) -> None:
    """Endpoints stay as they are when Envoy starts: no file could change them."""
    for cluster in clusters(config):
        source = cluster.pop("eds_cluster_config")["eds_config"]["path_config_source"]
        cluster["type"] = "STATIC"
        cluster["load_assignment"] = json.loads(Path(source["path"]).read_text())["resources"][0]
        del cluster["load_assignment"]["@type"]
