"""What stands under deploy/ fits the service: real metrics, valid rules, and a paragraph for each alert."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY

import jobs.__main__  # noqa: F401 - registers what the scheduler counts
import webapp.web.operations
from tests.test_house import ROOT

RULES = ROOT / "deploy" / "prometheus-alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
METRIC = re.compile(r"\bjari_\w+")
FROM_THE_DATABASE = {
    "jari_database_up",
    "jari_job_lease_seconds",
    *(f"jari_queue_{name}" for name in webapp.web.operations.ROOM_GAUGES),
}


def alerts() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    return [*shown, *(rule["expr"] for rule in alerts())]


def known() -> set[str]:
    """Every series that the service may show, as Prometheus calls it."""
    names = set(FROM_THE_DATABASE)
    for family in REGISTRY.collect():
        suffixes = {
            "counter": ("_total",),
            "histogram": ("_bucket", "_count", "_sum"),
        }.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    return names


def test_only_metrics_that_there_are_are_watched() -> None:
    asked = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert len(asked) > 12
    assert asked - known() == set()


def test_every_metric_is_described() -> None:
    ours = {name for name in known() if name.startswith("jari_")}
    bases = {re.sub(r"_(bucket|count|sum)$", "", name) for name in ours}
    assert {name for name in bases if f"`{name}`" not in PAGE} == set()


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    for rule in alerts():
        assert re.fullmatch(r"Jari[A-Z][A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in ("page", "warn")
        assert rule["annotations"]["summary"].endswith(".")
        anchor = rule["annotations"]["runbook"]
        assert anchor == f"docs/operations.md#{rule['alert'].lower()}"
        _, _, after = PAGE.partition(f"\n### {rule['alert']}\n")
        assert len(after.partition("\n#")[0].strip()) > 100, rule["alert"]


def test_promtool_accepts_the_rules_where_there_is_one() -> None:
    promtool = shutil.which("promtool")
    if promtool:
        subprocess.run([promtool, "check", "rules", str(RULES)], check=True, capture_output=True)
    for rule in alerts():  # and where there is none, at least what it would look at first
        assert {"alert", "expr", "labels", "annotations"} <= rule.keys()
        assert rule.get("for", "0m")[-1] in "smh"
        text = rule["expr"]
        assert all(text.count(a) == text.count(b) for a, b in ("()", "[]", "{}")), rule["alert"]


def test_files_have_their_place() -> None:
    assert Path(RULES).name in PAGE
    assert Path(DASHBOARD).name in PAGE
