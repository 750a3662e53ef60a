"""A real Prometheus beside a whole mesh: what it finds is what is documented, drawn and alerted."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import urllib.request
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
import yaml

from federation.supergraph.compose import FOLDER as SUPERGRAPH
from mesh.ports import free_block
from services import catalog
from services.serving.metrics import COUNTED
from tests.support.graph import ask, document, get
from tests.support.photos import jpeg
from tests.support.prometheus import DEPLOY, Prometheus, families, prometheus, promtool
from tests.support.whole import World, until, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT: Final = Path(__file__).resolve().parents[2]
MODELS: Final = frozenset(process.name for process in catalog.MODELS)
GRPC: Final = frozenset(each.name for each in catalog.PROCESSES if each.grpc_service)
PYTHON: Final = frozenset(each.name for each in catalog.PROCESSES if not each.script)
WHERE: Final[Mapping[str, frozenset[str]]] = {
    "gRPC": GRPC,
    "models": MODELS,
    "Python": PYTHON,
    "Python but subgraphs": PYTHON - {"subgraphs"},
}
"""How the document calls several processes."""

OLD: Final = "width: Int @join__field(graph: IMAGES)"
QUERY: Final = """
query Everything($id: ID!) {
  image(id: $id) {
    width
    nsfw { score }
    detection { detections { label } }
    ocr { text }
    logo { logos { brand } }
    moderation { isCompliant }
  }
}
"""


@dataclass(frozen=True)
class Scraped:
    """A mesh that has been used, and the Prometheus that looks on."""

    world: World
    prometheus: Prometheus
    targets: tuple[Mapping[str, Any], ...]

    def text(self, process: str) -> str:
        """What a process answers now."""
        (target,) = [one for one in self.targets if one["labels"]["process"] == process]
        labels = target["labels"]
        path = labels.get("__metrics_path__", "/metrics")
        with urllib.request.urlopen(f"http://{target['targets'][0]}{path}") as answer:
            return str(answer.read().decode())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scraped]:
    """The configuration is the one that people use, but for how often it looks."""
    folder = tmp_path_factory.mktemp("mesh")
    shutil.copytree(DEPLOY, folder / "deploy/prometheus")
    config = folder / "deploy/prometheus/prometheus.yml"
    config.write_text(config.read_text().replace("15s", "1s"))
    async with world(
        folder / ".visionmesh", replica_env={("gateway", 0): _deprecating(folder)}
    ) as running:
        targets = tuple(json.loads((folder / ".visionmesh/metrics.json").read_text()))
        async with prometheus(config, folder, free_block()) as looking:
            scraped = Scraped(running, looking, targets)
            digest = await running.upload(jpeg(640, 480, seed=1))
            await _used(running, digest, 1)
            await until(lambda: _found(looking, len(targets)), "a first look at everybody")
            await _used(running, digest, 2)
            yield scraped


def _deprecating(folder: Path) -> dict[str, str]:
    """The graph with a field that is to go, of which it has none now."""
    supergraph = (SUPERGRAPH / "supergraph.graphql").read_text()
    assert supergraph.count(OLD) == 1
    file = folder / "supergraph.graphql"
    file.write_text(supergraph.replace(OLD, f'{OLD} @deprecated(reason: "measure it")'))
    return {"VISIONMESH_SUPERGRAPH": str(file)}


async def _used(mesh: World, digest: str, seed: int) -> None:
    """Something of everything, also of what goes wrong."""
    image = f"/v1/images/{digest}"
    release = (await mesh.call("GET", "/v1/releases/current")).json["release"]
    for _ in range(2):  # the second is Envoy's
        assert (await mesh.call("GET", f"{image}/nsfw?release={release}")).status == 200
        assert (await mesh.call("GET", f"{image}/analysis")).status == 200
    for query in ("nsfw?fields=nsfw/score", "analysis?fields=image,nsfw(result)"):
        assert (await mesh.call("GET", f"{image}/{query}")).status == 200
    assert (await mesh.call("GET", f"/v1/images/{'0' * 64}/nsfw")).status == 404
    assert (await mesh.call("DELETE", f"/v1/images/{'0' * 64}")).status == 404
    fresh = jpeg(320, 240, seed=100 + seed)
    content = {"content_type": "image/jpeg"}
    assert (await mesh.call("POST", "/v1/moderations", data=fresh, **content)).status == 200
    assert (await ask(mesh, QUERY, id=digest)).places == {}
    assert (await get(mesh, document("Verdict"), id=digest)).places == {}
    assert (await ask(mesh, "{ nothing }")).status == 400
    assert (await ask(mesh, QUERY, id="0" * 64)).places


async def _found(looking: Prometheus, count: int) -> bool:
    up = await looking.query('up{job="visionmesh"} == 1')
    return len(up) == count


async def test_everybody_is_found(mesh: Scraped):
    """Every process of the catalog and Envoy is a target, each of which answers."""
    active = (await mesh.prometheus.get("targets", state="active"))["activeTargets"]
    assert {one["labels"]["process"]: one["health"] for one in active} == dict.fromkeys(
        ["envoy", *catalog.BY_NAME], "up"
    )
    assert {one["lastError"] for one in active} == {""}


async def test_promtool_finds_no_fault(mesh: Scraped):
    """Names, types and texts of every process of ours are as Prometheus wants them."""
    for process in catalog.BY_NAME:
        assert (process, await promtool("check", "metrics", given=mesh.text(process))) == (
            process,
            (0, ""),
        )


async def test_what_is_documented_is_what_there_is(mesh: Scraped):
    """Each metric of each process is in the table with its kind, its labels and its processes, and
    the table has no other."""
    found: dict[str, tuple[str, set[str], set[str]]] = {}
    for process in catalog.BY_NAME:
        for name, family in families(mesh.text(process)).items():
            if not name.startswith("visionmesh_") or not family.samples:
                continue
            kind, labels, where = found.setdefault(name, (family.type, set(), set()))
            assert kind == family.type
            labels |= {label for one in family.samples for label in one.labels} - {"le"}
            where.add(process)
    assert found == _documented()


def _documented() -> dict[str, tuple[str, set[str], set[str]]]:
    table: dict[str, tuple[str, set[str], set[str]]] = {}
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        if not line.startswith("| `visionmesh_"):
            continue
        name, kind, labels, of, _ = (cell.strip() for cell in line.strip("|").split("|"))
        where = WHERE.get(of) or frozenset(of.split(", "))
        table[name.strip("`")] = (kind, set(re.findall(r"`(\w+)`", labels)), set(where))
    return table


async def test_every_panel_shows_something(mesh: Scraped):
    """Each expression of the dashboard is one, and finds series after a mesh has been used."""
    dashboard = json.loads((ROOT / "deploy/grafana/visionmesh.json").read_text())
    expressions = {
        target["expr"]: panel["title"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }
    assert len(expressions) > 30

    missing = expressions

    async def all_there() -> bool:
        nonlocal missing
        missing = {one: title for one, title in missing.items() if not await answer(one)}
        return not missing

    async def answer(expression: str) -> list[Mapping[str, Any]]:
        return await mesh.prometheus.query(_now(expression))

    with suppress(AssertionError):  # which of them is said below
        await until(all_there, "series for every panel")
    assert list(missing.values()) == []


def _now(expression: str) -> str:
    return expression.replace("$__rate_interval", "1m").replace("$__range", "10m")


async def test_every_alert_asks_for_what_there_is(mesh: Scraped):
    """Each metric and each label that an alert is about is there; Prometheus has read the rules,
    and of a mesh that is well none fires."""
    groups = (await mesh.prometheus.get("rules"))["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    written = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    assert set(rules) == {rule["alert"] for group in written for rule in group["rules"]}
    for name, rule in rules.items():
        assert (name, rule["health"], rule.get("lastError", "")) == (name, "ok", "")
        for metric, labels in _asked(rule["query"]):
            series = await mesh.prometheus.query(metric)
            known = {label for one in series for label in one["metric"]}
            assert series, (name, metric)
            assert labels <= known, (name, metric, labels - known)
    firing = {name for name, rule in rules.items() if rule["state"] == "firing"}
    # Two of the queries were about an image that nobody has; a field that is to go was used.
    assert firing <= {"VisionmeshDeprecatedFieldUsed", "VisionmeshOperationsFail"}
    assert rules["VisionmeshDeprecatedFieldUsed"]["state"] == "firing"


SELECTOR: Final = re.compile(r"\b([a-zA-Z_:][\w:]*)\b(?!\s*\()(?:\s*\{([^}]*)\})?")
GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
OPERATORS: Final = frozenset({"and", "or", "unless", "offset", "bool", "sum", "by"})


def _asked(expression: str) -> Iterable[tuple[str, set[str]]]:
    """The metrics of an expression, each with the labels that it selects or groups by."""
    grouped = {
        label.strip() for found in GROUPING.findall(expression) for label in found.split(",")
    } - {""}
    bare = re.sub(r"\[[^\]]*\]", "", GROUPING.sub("", expression))
    for metric, matchers in SELECTOR.findall(bare):
        if metric not in OPERATORS:
            yield metric, set(re.findall(r"(\w+)\s*[=!]", matchers)) | grouped


async def test_counters_that_status_has_are_told_too(mesh: Scraped):
    """Whatever a gRPC process counts for `visionmesh status` is a metric, or says less than one."""
    for process in GRPC:
        counters = await mesh.world.counters(process)
        unknown = {
            name
            for name in counters
            if name not in COUNTED and not name.startswith(("calls.", "outcomes."))
        }
        assert (process, unknown) == (process, set())


async def test_who_comes_back_is_found(mesh: Scraped):
    """A process that was killed and started again is scraped again, at the same place."""
    running = mesh.world.mesh
    begun = 'process_start_time_seconds{process="nsfw"}'
    (before,) = await mesh.prometheus.query(begun)
    pid = running.pid("nsfw")
    os.kill(pid, signal.SIGKILL)
    await running.wait_restarted("nsfw", pid)

    async def another() -> bool:
        now = await mesh.prometheus.query(begun)
        return bool(now) and now[0]["value"][1] != before["value"][1]

    await until(another, "metrics of the process that was started again")
