"""`collect` and `acollect`: events, what came of each stream, and what a poll raises."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BUILT, FLEET_TOKEN, OSCTRL_TOKEN, simulated

import osquery_live_query as olq

SECRETS = {"fleet-token": FLEET_TOKEN}
HOSTS = """
  - {hostname: web-01}
  - {hostname: web-02, status: offline}
"""
REPORTS = """
  reports:
    - {name: startup items, query: "SELECT name FROM startup_items", rows: {web-01: [{name: agent}, {name: agent}]}}
    - {name: uptime, query: "SELECT days FROM uptime", rows: {web-01: [{days: "1"}]}}
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[str]:
    """Two hosts, one of them offline, and two reports with rows of the other."""
    with simulated(f"hosts:{HOSTS}fleet:{REPORTS}", tmp_path) as base_url:
        yield base_url


def connector(server: str, **more: object) -> dict[str, object]:
    """A connector for Fleet whose token is a secret."""
    return {"connector": "fleetdm", "base_url": server, "api_token": "{{ secrets.fleet-token }}", **more}


async def drained(poll: olq.AsyncPoll) -> list[olq.Event]:
    """All events of a poll."""
    return [event async for event in poll]


def test_events_are_typed_and_the_summary_comes_last(fleet: str) -> None:
    poll = olq.collect(connector(fleet, streams=["queries"], since_seconds=3600), secrets=SECRETS)
    with pytest.raises(RuntimeError, match="after the last event"):
        _ = poll.summary
    events = list(poll)
    rows = sorted(
        (event.query.name, event.hostname, event.severity, json.dumps(event.row)) for event in events if event.query
    )
    assert rows == [
        ("startup items", "web-01", "high", '{"name": "agent"}'),
        ("startup items", "web-01", "high", '{"name": "agent"}'),
        ("uptime", "web-01", "info", '{"days": "1"}'),
    ]
    startup = next(event for event in events if event.severity == "high")
    assert (startup.kind, startup.source, startup.change) == ("query_row", "fleetdm", "added")
    assert startup.osquery_tables == ["startup_items"]
    assert startup.host is not None
    assert startup.host.hostname == "web-01"
    assert startup.raw["dedupe_key"] == startup.dedupe_key
    assert poll.summary.events == len(events) == poll.summary.streams["queries"].events
    assert poll.summary.streams["queries"].ok
    with pytest.raises(RuntimeError, match="once"):
        list(poll)


def test_on_asyncio_it_is_the_same(fleet: str) -> None:
    asked = connector(fleet, since_seconds=3600)

    async def both() -> tuple[list[olq.Event], list[olq.Event], olq.CollectSummary]:
        one = olq.acollect(asked, secrets=SECRETS)
        two = olq.acollect(asked, secrets=SECRETS)
        first, second = await asyncio.gather(drained(one), drained(two))
        return first, second, one.summary

    first, second, summary = asyncio.run(both())
    ids = sorted(event.id for event in olq.collect(asked, secrets=SECRETS))
    assert sorted(event.id for event in first) == sorted(event.id for event in second) == ids
    assert {event.kind for event in first} == {"host", "query_row"}
    assert set(summary.streams) == {"hosts", "queries"}


def test_a_state_is_gone_on_from(fleet: str, tmp_path: Path) -> None:
    asked = connector(fleet, streams=["queries"], since_seconds=3600)
    state = tmp_path / "fleet.state"
    assert len(list(olq.collect(asked, secrets=SECRETS, state=state))) == 3
    assert list(olq.collect(asked, secrets=SECRETS, state=state)) == []


def test_what_was_left_comes_again(tmp_path: Path) -> None:
    # More than a pipe holds, so that the binary still writes when its reader leaves.
    rows = ", ".join(f"{{name: item-{number:05}-{'x' * 200}}}" for number in range(900))
    query = f'{{name: many, query: "SELECT name FROM startup_items", rows: {{web-01: [{rows}]}}}}'
    scenario = f"hosts:{HOSTS}fleet:\n  reports:\n    - {query}\n"

    async def leave(poll: olq.AsyncPoll) -> str:
        async with poll:
            async for event in poll:
                return event.id
        return ""

    with simulated(scenario, tmp_path) as server:
        asked = connector(server, streams=["queries"], since_seconds=3600)
        state = tmp_path / "left.state"
        with olq.collect(asked, secrets=SECRETS, state=state) as poll:
            first = next(iter(poll))
        with pytest.raises(RuntimeError):
            _ = poll.summary
        again = asyncio.run(leave(olq.acollect(asked, secrets=SECRETS, state=state)))
        events = list(olq.collect(asked, secrets=SECRETS, state=state))
        assert len(events) == 900
        assert {first.id, again} <= {event.id for event in events}


def test_a_stream_that_fails_is_no_exception(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    refused = """
faults:
  - {method: GET, path: /fleet/reports, status: 403, body: '{"message":"forbidden"}'}
  - {method: GET, path: /fleet/queries, status: 403, body: '{"message":"forbidden"}'}
"""
    with simulated(f"hosts:{HOSTS}{refused}", tmp_path) as server:
        poll = olq.collect(connector(server, since_seconds=2592000), secrets=SECRETS)
        with caplog.at_level(logging.ERROR, "osquery_live_query"):
            events = list(poll)
    assert {event.kind for event in events} == {"host"}
    assert poll.summary.streams["hosts"].ok
    failed = poll.summary.streams["queries"].error
    assert failed is not None
    assert failed.code == "auth"
    assert caplog.messages == [failed.message]


@pytest.mark.parametrize(
    ("changes", "secrets", "raised"),
    [
        ({"base_ur": "x"}, SECRETS, olq.SchemaError),
        ({}, {}, olq.RenderError),
        ({"base_url": "http://169.254.169.254"}, SECRETS, olq.PolicyError),
        ({}, {"fleet-token": "another"}, olq.AuthError),
        ({"base_url": "http://127.0.0.1:1", "timeout_seconds": 1}, SECRETS, olq.UnreachableError),
    ],
)
def test_each_code_has_its_exception(
    fleet: str, changes: dict[str, object], secrets: dict[str, str], raised: type[olq.LiveQueryError]
) -> None:
    async def awaited() -> None:
        await drained(olq.acollect(connector(fleet, **changes), secrets=secrets))

    for form in (
        lambda: list(olq.collect(connector(fleet, **changes), secrets=secrets)),
        lambda: asyncio.run(awaited()),
    ):
        with pytest.raises(raised) as caught:
            form()
        error = caught.value
        assert type(error) is raised
        assert olq.errors.BY_CODE[error.code] is raised
        assert error.exit_code > 0
        assert str(error)
        assert error.retryable == (raised is olq.UnreachableError)
        assert FLEET_TOKEN not in str(error)


def test_a_state_in_use_is_busy_and_worth_another_try(fleet: str, tmp_path: Path) -> None:
    asked = connector(fleet, streams=["queries"], since_seconds=3600)
    state = tmp_path / "shared.state"
    holder = (
        "import sqlite3, sys\n"
        "held = sqlite3.connect(sys.argv[1])\n"
        "held.execute('BEGIN EXCLUSIVE')\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    list(olq.collect(asked, secrets=SECRETS, state=state))
    with subprocess.Popen(
        [sys.executable, "-c", holder, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(olq.BusyError) as caught:
            list(olq.collect(asked, secrets=SECRETS, state=state))
        assert caught.value.retryable


def test_a_signal_is_told(fleet: str, tmp_path: Path) -> None:
    del fleet
    hung = "faults:\n  - {method: GET, path: /fleet/, hang: true}\n"
    pid = tmp_path / "pid"
    # The binary itself, started so that its number is known.
    wrapper = tmp_path / "binary"
    wrapper.write_text(f'#!/bin/sh\necho $$ > {pid}.new && mv {pid}.new {pid}\nexec {BUILT}/osquery-live-query "$@"\n')
    wrapper.chmod(0o755)
    program = (
        "import json, sys, osquery_live_query as olq\n"
        "try:\n    list(olq.collect(json.loads(sys.argv[1])))\n"
        "except olq.CancelledError as error:\n    print(error)\n"
    )
    with simulated(f"hosts:{HOSTS}{hung}", tmp_path) as server:
        asked = json.dumps({**connector(server), "api_token": FLEET_TOKEN, "timeout_seconds": 60})
        environment = {**os.environ, "OSQUERY_LIVE_QUERY_BINARY": str(wrapper)}
        command = [sys.executable, "-c", program, asked]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
            deadline = time.monotonic() + 20
            while not (pid.exists() and handled(int(pid.read_text()), signal.SIGTERM)):
                assert time.monotonic() < deadline, "it was not started"
            os.kill(int(pid.read_text()), signal.SIGTERM)
            said, _ = child.communicate(timeout=20)
    assert said == "the poll was ended by a signal\n"


def handled(process: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_a_policys_instance_is_polled(fleet: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(FLEET_TOKEN)
    (tmp_path / "token").chmod(0o600)
    tmp_path.chmod(0o700)
    instance = f"{{backend: fleetdm, base_url: '{fleet}', credentials: {{api_token: {{file: token}}}}}}"
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"instances: {{corp: {instance}}}\n")
    events = list(olq.collect({"instance": "corp", "streams": ["queries"], "since_seconds": 3600}, policy=policy))
    assert len(events) == 3


def test_osctrls_queries_are_polled(tmp_path: Path) -> None:
    with simulated("hosts:\n  - {hostname: web-01}\n", tmp_path) as server:
        asked = {"connector": "osctrl", "base_url": server, "environment": "dev", "api_token": "{{ secrets.osctrl }}"}
        poll = olq.collect(asked, secrets={"osctrl": OSCTRL_TOKEN})
        assert list(poll) == []
        assert list(poll.summary.streams) == ["queries"]


def test_names_that_are_one_variable_are_refused() -> None:
    with pytest.raises(ValueError, match="OSQUERY_LIVE_QUERY_SECRET_A_B"):
        olq.collect({}, secrets={"a-b": "1", "a_b": "2"})
