"""What runs `dry-run` in the CI of others: GitHub's action as its runner starts it, GitLab's component."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import BUILT, ROOT

GITHUB = ROOT / "integrations" / "github"
GOOD = """
type: osquery_live_query
id: a
name: Ask
params:
  backend: fleetdm
  base_url: "https://f"
  api_token: "{{ secrets.t }}"
  template: running_processes
  target_hosts: [a]
"""


def checked(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATHS": ".", "BINARY": str(BUILT / "osquery-live-query"), **inputs}
    return subprocess.run(
        [GITHUB / "dry-run"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_action_annotates_and_writes_the_report(tmp_path: Path) -> None:
    (tmp_path / "good.step.yaml").write_text(GOOD)
    done = checked(tmp_path, SARIF="report.sarif")
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "bad.step.yaml").write_text(GOOD.replace("running_processes", "runing_processes"))
    done = checked(tmp_path, SARIF="report.sarif")
    assert done.returncode == 1
    assert "::error file=bad.step.yaml,line=9" in done.stdout
    report = json.loads((tmp_path / "report.sarif").read_text())
    assert [result["ruleId"] for result in report["runs"][0]["results"]] == ["unknown_template"]


def test_paths_and_flags_reach_the_program(tmp_path: Path) -> None:
    (tmp_path / "two words").mkdir()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.step.yaml").write_text(GOOD)
    assert checked(tmp_path, PATHS="one\n").returncode == 0
    assert checked(tmp_path, PATHS="gone").returncode == 2
    assert checked(tmp_path, PATHS="one", CONTEXT="gone.yaml").returncode == 2


def test_actionlint_has_nothing_to_say(tmp_path: Path) -> None:
    linter = os.environ.get("ACTIONLINT") or shutil.which("actionlint")
    if linter is None:
        pytest.skip("ACTIONLINT names no actionlint")
    workflows = tmp_path / ".github" / "workflows"
    workflows.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    shutil.copytree(GITHUB, tmp_path / "integrations" / "github")
    shutil.copy(GITHUB / "example.workflow.yml", workflows / "playbooks.yml")
    done = subprocess.run([linter], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_gitlabs_component_uses_the_inputs_that_it_declares() -> None:
    yaml = pytest.importorskip("yaml")
    spec, job = yaml.safe_load_all((ROOT / "integrations/gitlab/templates/dry-run.yml").read_text())
    text = (ROOT / "integrations/gitlab/templates/dry-run.yml").read_text()
    for name in spec["spec"]["inputs"]:
        assert f"$[[ inputs.{name} ]]" in text
    assert job["osquery-live-query-dry-run"]["artifacts"]["when"] == "always"
