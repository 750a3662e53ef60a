"""Alert rules and the scrape configuration, as promtool reads them; tests/mesh has a Prometheus."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from tests.support.prometheus import DEPLOY, promtool


async def test_rules_are_well_formed():
    """promtool finds no fault with the rules."""
    status, said = await promtool("check", "rules", "--lint-fatal", DEPLOY / "alerts.yml")
    assert status == 0, said


async def test_each_alert_fires_when_it_should():
    """promtool plays series to the rules: what fires, for whom, in which words, and what not."""
    status, said = await promtool("test", "rules", DEPLOY / "alerts_test.yml")
    assert status == 0, said


def test_each_alert_is_tested():
    """A rule that is added is tested too."""
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    tests = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text())["tests"]
    firing = {
        one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]
    }
    assert {rule["alert"] for group in rules for rule in group["rules"]} == firing


async def test_the_configuration_is_one(tmp_path: Path):
    """promtool finds no fault with it, where there is a mesh that it names."""
    folder = tmp_path / "deploy/prometheus"
    shutil.copytree(DEPLOY, folder)
    (tmp_path / ".visionmesh").mkdir()
    (tmp_path / ".visionmesh/metrics.json").write_text('[{"targets": ["127.0.0.1:1"]}]')
    status, said = await promtool("check", "config", folder / "prometheus.yml")
    assert status == 0, said
    assert "WARNING" not in said
