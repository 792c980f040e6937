"""What docs/ops says of metrics is true: the page, the dashboard and the alerts name metrics and labels that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from smtpconnector.v1 import connector_service_pb2
from smtpconnector_server.delivery.events import SENT
from smtpconnector_server.failure import Outcome, Reason, Stage
from smtpconnector_server.rpc.status import CODES
from smtpconnector_server.smtp.transaction import Level
from smtpconnector_server.store.state import Mode, State
from smtpconnector_server.store.store import Store
from smtpconnector_server.telemetry.labels import OK, OWN
from smtpconnector_server.telemetry.metrics import TRANSACTION, Metrics
from smtpconnector_server.telemetry.outbox_metrics import CHANGES, GONE
from smtpconnector_server.telemetry.shared import deaths_counter

OPS = Path(__file__).parents[3] / "docs" / "ops"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
LEVELS = {level.name for level in Level}
VALUES: dict[str, set[str]] = {
    "method": set(connector_service_pb2.DESCRIPTOR.services_by_name["ConnectorService"].methods_by_name),
    "code": {OK, "CANCELLED", *(code.name for code in CODES.values())},
    "reason": {OK, *Reason},
    "outcome": {SENT, *Outcome},
    "stage": {TRANSACTION, *Stage},
    "level": LEVELS,
    "lowered": LEVELS,
    "state": {"idle", "lent", "opening", GONE, *State},
    "mode": set(Mode),
    "change": set(CHANGES),
    "operation": {name for name in vars(Store) if not name.startswith("_")},
    "profile": {OWN},
    "server": {OWN},
}
"""What a label may be compared with; profiles and servers have other values too, which no file of ours can know."""
OF_PROMETHEUS = {"instance", "job", "le"}
"""Labels that Prometheus itself adds."""


def families() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Type and labels of each metric, as its page names it."""
    shared = CollectorRegistry()
    deaths_counter(shared)
    found = {}
    for registry in (Metrics().registry, shared):
        for collector in registry._collector_to_names:
            name, kind = collector._name, collector._type  # type: ignore[attr-defined]
            name += "_total" if kind == "counter" else ""
            found[name] = (kind, collector._labelnames)  # type: ignore[attr-defined]
    return found


FAMILIES = families()
SERIES = {
    name.removesuffix("_total") + suffix: labels
    for name, (kind, labels) in FAMILIES.items()
    for suffix in SUFFIXES[kind]
}


def test_what_is_true_of_the_store_is_not_added_up_over_workers() -> None:
    modes = {
        collector._name: collector._multiprocess_mode  # type: ignore[attr-defined]
        for collector in Metrics().registry._collector_to_names
        if collector._name.startswith("smtpconnector_queue_")  # type: ignore[attr-defined]
    }
    assert modes == dict.fromkeys(
        ("smtpconnector_queue_messages", "smtpconnector_queue_oldest_due_seconds"), "livemostrecent"
    )


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((OPS / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return found


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((OPS / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[Any]:
    shown = [
        pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    ]
    return shown + [pytest.param(rule["expr"], id=rule["alert"]) for rule in alerts()]


@pytest.mark.parametrize("query", queries())
def test_a_query_names_only_metrics_labels_and_values_that_exist(query: str) -> None:
    named = re.findall(r"(\bup|smtpconnector_\w+)(?:\{([^}]*)\})?", query.replace('job="smtpconnector"', ""))
    assert named
    labels: set[str] = set()
    for name, matchers in named:
        assert name == "up" or name in SERIES, name
        labels |= set(SERIES.get(name, ()))
        for label, values in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', matchers):
            assert label in {*SERIES.get(name, ()), *OF_PROMETHEUS}, (name, label)
            if not values.startswith("$") and label not in OF_PROMETHEUS:
                assert set(values.split("|")) <= VALUES[label], (label, values)
    for grouping in re.findall(r"\bby \(([^)]*)\)", query):
        assert {label.strip() for label in grouping.split(",")} <= labels | OF_PROMETHEUS, grouping


def test_every_label_that_a_panel_shows_is_one_that_its_query_keeps() -> None:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            kept = {label.strip() for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(",")}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]


def test_every_label_that_an_alert_says_is_one_that_its_query_keeps() -> None:
    for rule in alerts():
        said = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        groupings = re.findall(r"by \(([^)]*)\)", rule["expr"])
        kept = {label.strip() for by in groupings for label in by.split(",")}
        named = re.findall(r"smtpconnector_\w+", rule["expr"])
        everything = {label for name in named for label in SERIES.get(name, ())} | {"instance"}
        assert said <= (kept if groupings else everything), rule["alert"]


def test_the_dashboard_shows_every_metric() -> None:
    text = json.dumps(dashboard())
    assert [name for name in FAMILIES if name not in text] == []


def test_the_dashboards_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_alert_is_explained_with_its_severity() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", (OPS / "alerts.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in alerts()]


def test_the_page_lists_every_metric_with_its_type_and_labels() -> None:
    text = (OPS / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(smtpconnector_\w+)` \| (\w+) \| ([^|]+) \|", text, re.MULTILINE)
    listed = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert listed == FAMILIES
