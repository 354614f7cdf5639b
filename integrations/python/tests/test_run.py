"""`run`, `check` and what they raise."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import BUILT, FLEET_TOKEN, SECRETS, osctrl_step, running, step

import osquery_live_query as olq


def test_a_document_is_typed_and_whole(server: str) -> None:
    document = olq.run(
        step(server, "web-01", "{{ alert.host }}"), context={"alert": {"host": "web-02"}}, secrets=SECRETS
    )
    assert list(document.results) == ["web-01", "web-02"]
    assert not document.partial
    assert document.executed
    assert document.hosts["web-01"].status == "ok"
    assert document.hosts["web-01"].rows == len(document.results["web-01"]) > 0
    assert document.campaign is not None
    assert (document.campaign.backend, document.campaign.targeted) == ("fleetdm", 2)
    assert document.run.template == "running_processes"
    assert document.raw["run"]["id"] == document.run.id
    assert FLEET_TOKEN not in json.dumps(document.raw)


def test_partial_is_no_exception_and_warnings_are_logged(server: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "osquery_live_query"):
        document = olq.run(step(server, "web-01", "db-01", "laptop", timeout_seconds=2), secrets=SECRETS)
    assert document.partial
    assert document.timed_out_hosts == ["laptop"]
    assert document.failed_hosts == ["db-01"]
    assert document.hosts["db-01"].error == "no such table: processes"
    assert "asked, but did not answer: laptop" in caplog.messages


def test_check_says_what_would_be_sent(server: str) -> None:
    document = olq.check(step(server, "web-01", "gone"), secrets=SECRETS)
    assert document.planned is not None
    assert document.planned.hosts == ["web-01"]
    assert document.planned.unknown == ["gone"]
    assert document.planned.sql.startswith("SELECT")
    assert not document.executed


def test_an_earlier_document_is_gone_on_with(server: str, tmp_path: Path) -> None:
    first = olq.run(step(server, "web-01", "laptop", timeout_seconds=2), secrets=SECRETS)
    file = tmp_path / "first.json"
    file.write_text(json.dumps(first.raw))
    second = olq.run(step(server, "web-01", "laptop", timeout_seconds=2), secrets=SECRETS, resume=file)
    assert second.run.resumes == first.run.id
    assert second.results == first.results


@pytest.mark.parametrize(
    ("changes", "secrets", "raised"),
    [
        ({"timeout_seconds": 0}, SECRETS, olq.SchemaError),
        ({"target_hosts": ["{{ alert.host }}"]}, SECRETS, olq.RenderError),
        ({}, {}, olq.RenderError),
        ({"template": "no_such_template"}, SECRETS, olq.AllowlistError),
        ({"instance": "corp"}, SECRETS, olq.SchemaError),
        ({}, {"token": "another"}, olq.AuthError),
        ({"target_hosts": ["gone"]}, SECRETS, olq.TargetsError),
        ({"base_url": "http://127.0.0.1:1", "timeout_seconds": 1}, SECRETS, olq.UnreachableError),
        ({"base_url": "http://169.254.169.254"}, SECRETS, olq.PolicyError),
    ],
)
def test_each_code_has_its_exception(
    server: str, changes: dict[str, object], secrets: dict[str, str], raised: type[olq.LiveQueryError]
) -> None:
    with pytest.raises(raised) as caught:
        olq.run(step(server, "web-01", **changes), secrets=secrets)
    error = caught.value
    assert type(error) is raised
    assert str(error) == error.document.raw["error"]["message"]
    assert error.exit_code == error.document.raw["error"]["exit_code"]
    assert error.retryable == (raised is olq.UnreachableError)


def test_every_code_of_the_schema_has_an_exception() -> None:
    schema = json.loads(subprocess.check_output([BUILT / "osquery-live-query", "schema", "output"]))
    codes = schema["$defs"]["error"]["properties"]["code"]["enum"]
    assert set(codes) == set(olq.errors.BY_CODE)


def test_a_program_that_is_none_of_ours_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSQUERY_LIVE_QUERY_BINARY", "/bin/false")
    with pytest.raises(olq.NoDocumentError, match="status 1"):
        olq.run({"type": "osquery_live_query", "params": {}})
    monkeypatch.setenv("OSQUERY_LIVE_QUERY_BINARY", "")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sysconfig.get_path", lambda *_: "/nowhere")
    with pytest.raises(olq.BinaryNotFoundError, match="pip install"):
        olq.run({"type": "osquery_live_query", "params": {}})


def test_a_keyboard_interrupt_stops_the_campaign(server: str) -> None:
    program = "import sys, json, osquery_live_query as olq; olq.run(json.loads(sys.argv[1]))"
    text = json.dumps(osctrl_step(server, "web-01", "laptop", timeout_seconds=60))
    with subprocess.Popen([sys.executable, "-c", program, text], stderr=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 20
        while not running(server):
            assert time.monotonic() < deadline, "no campaign was started"
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=20)
    assert "KeyboardInterrupt" in said
    assert running(server) == []


def test_dry_run_reports_every_problem(tmp_path: Path) -> None:
    (tmp_path / "a.step.yaml").write_text("type: osquery_live_query\nparams: {template: nope}\n")
    report = olq.dry_run([tmp_path])
    assert report.summary.files == 1
    assert report.summary.errors == len([one for one in report.files[0].problems if one.severity == "error"]) > 0
    with pytest.raises(olq.NoDocumentError, match="does not exist"):
        olq.dry_run([tmp_path / "gone"])
