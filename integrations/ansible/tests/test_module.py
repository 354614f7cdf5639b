"""The module in real ansible-core, against a simulated server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "python" / "tests"))
from conftest import BUILT, FLEET_TOKEN, simulated

MODULE = "osquery_live_query.core.osquery_live_query"
HOSTS = """
hosts:
  - {hostname: web-01}
  - {hostname: db-01, behaviour: {answer: {error: "no such table: processes"}}}
  - {hostname: laptop, behaviour: {answer: silent}}
"""
BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, built and installed as a user does it."""
    folder = tmp_path_factory.mktemp("collections")
    galaxy = [BIN / "ansible-galaxy", "collection"]
    subprocess.run([*galaxy, "build", HERE.parent, "--output-path", folder], check=True)
    (archive,) = folder.glob("*.tar.gz")
    subprocess.run([*galaxy, "install", "--offline", archive, "-p", folder], check=True)
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with simulated(HOSTS, tmp_path) as base_url:
        yield base_url


def play(collections: Path, folder: Path, arguments: dict[str, Any], *flags: str) -> tuple[dict[str, Any], str]:
    """The task's result, and everything that Ansible printed."""
    tasks = [{"name": "Ask", MODULE: {"executable": str(BUILT / "osquery-live-query"), **arguments}}]
    playbook = folder / "playbook.yaml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
    }
    command = [BIN / "ansible-playbook", "-v", "-i", "localhost,", "-c", "local", "-e"]
    command += [f"ansible_python_interpreter={sys.executable}", playbook, *flags]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = ran.stdout + ran.stderr
    line = next(line for line in said.splitlines() if "=> {" in line)
    return json.loads(line[line.index("=> {") + 3 :]), said


def step(server: str, *hosts: str, **params: Any) -> dict[str, Any]:
    where = {"backend": "fleetdm", "base_url": server, "template": "running_processes"}
    return {"params": {**where, "target_hosts": list(hosts), "timeout_seconds": 3, **params}, "api_token": FLEET_TOKEN}


def test_each_target_is_an_item(collections: Path, server: str, tmp_path: Path) -> None:
    result, said = play(collections, tmp_path, step(server, "web-01", "db-01", "laptop", "gone"))
    assert result["changed"] is False
    assert [(one["host"], one["status"]) for one in result["answers"]] == [
        ("web-01", "ok"),
        ("db-01", "error"),
        ("laptop", "no_answer"),
        ("gone", "unknown"),
    ]
    assert len(result["answers"][0]["rows"]) == result["document"]["hosts"]["web-01"]["rows"]
    assert result["partial"] is True
    assert result["timed_out_hosts"] == ["laptop", "gone"]
    assert "[WARNING]: asked, but did not answer: laptop" in said
    assert FLEET_TOKEN not in said


def test_check_mode_dispatches_nothing_and_diff_shows_the_plan(collections: Path, server: str, tmp_path: Path) -> None:
    result, said = play(collections, tmp_path, step(server, "web-01", "gone"), "--check", "--diff")
    assert result["planned"]["hosts"] == ["web-01"]
    assert result["document"]["executed"] is False
    assert result["changed"] is True
    assert f"+{result['planned']['sql']}" in said
    assert "+web-01" in said


def test_a_failure_says_what_to_do(collections: Path, server: str, tmp_path: Path) -> None:
    result, said = play(collections, tmp_path, step(server, "web-01", timeout_seconds=0))
    assert result["code"] == "schema"
    assert "timeout_seconds" in result["msg"]
    assert result["document"]["error"]["exit_code"] == 11
    result, _ = play(collections, tmp_path, {**step(server, "laptop"), "fail_on_partial": True})
    assert result["msg"].startswith("not all rows")
    result, said = play(collections, tmp_path, {**step(server, "web-01"), "api_token": "wrong-token-of-ours"})
    assert result["code"] == "auth"
    assert "wrong-token-of-ours" not in said


def test_expressions_are_the_programs(collections: Path, server: str, tmp_path: Path) -> None:
    (tmp_path / "vars.yaml").write_text('mine: !unsafe "{{ alert.host }}"\n')
    arguments = {**step(server, "{{ mine }}"), "context": {"alert": {"host": "web-01"}}}
    result, _ = play(collections, tmp_path, arguments, "-e", f"@{tmp_path / 'vars.yaml'}")
    assert [one["host"] for one in result["answers"]] == ["web-01"]


def test_the_documentation_can_be_read(collections: Path) -> None:
    command = [BIN / "ansible-doc", "-t", "module", "--json", MODULE]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections)}
    read = subprocess.run(command, env=environment, capture_output=True, check=True)
    options = json.loads(read.stdout)[MODULE]["doc"]["options"]
    assert {"params", "api_token", "password", "policy", "resume"} <= set(options)
