"""Tests drive the real binary against the real simulator, both built by `cargo build --workspace`."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
os.environ.setdefault("OSQUERY_LIVE_QUERY_BINARY", str(BUILT / "osquery-live-query"))

FLEET_TOKEN = "fleet-maintainer-token"
OSCTRL_TOKEN = "osctrl-admin-token"


@contextmanager
def simulated(scenario: str, folder: Path) -> Iterator[str]:
    """A server with these hosts; its base URL."""
    file = folder / "scenario.yaml"
    file.write_text(scenario)
    command = [BUILT / "osquery-simulator", file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[0]
        finally:
            server.terminate()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Two hosts that answer, one that has an osquery error, one that is silent."""
    hosts = """
hosts:
  - {hostname: web-01}
  - {hostname: web-02, behaviour: {delay_ms: 300}}
  - {hostname: db-01, behaviour: {answer: {error: "no such table: processes"}}}
  - {hostname: laptop, behaviour: {answer: silent}}
"""
    with simulated(hosts, tmp_path) as base_url:
        yield base_url


def step(server: str, /, *hosts: str, **params: object) -> dict[str, object]:
    """A step for Fleet whose token is a secret."""
    return {
        "id": "triage",
        "type": "osquery_live_query",
        "params": {
            "backend": "fleetdm",
            "base_url": server,
            "api_token": "{{ secrets.token }}",
            "template": "running_processes",
            "target_hosts": list(hosts),
            "timeout_seconds": 20,
            **params,
        },
    }


def osctrl_step(server: str, /, *hosts: str, **params: object) -> dict[str, object]:
    """The same step for osctrl, whose API says which queries run."""
    where = {"backend": "osctrl", "environment": "dev", "api_token": OSCTRL_TOKEN}
    return step(server, *hosts, **where, **params)


def running(base_url: str) -> list[str]:
    """The queries that osctrl still hands out."""
    url = f"{base_url}/api/v1/queries/dev/list/active"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {OSCTRL_TOKEN}"})
    with urllib.request.urlopen(request) as answer:
        return [item["name"] for item in json.load(answer)["items"]]


SECRETS = {"token": FLEET_TOKEN}
