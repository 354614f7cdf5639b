"""The snippets of docs/engines.md, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BUILT, FLEET_TOKEN, ROOT, simulated, step

PAGE = (ROOT / "docs" / "engines.md").read_text()
BIN = Path(sys.executable).parent


def snippet(section: str, language: str, number: int = 0) -> str:
    """A block of a language in a section, the first one unless another is asked for."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(found) > number, f"{section} has no {language}"
    return str(found[number])


@pytest.fixture
def folder(server: str, tmp_path: Path) -> Path:
    """What the snippets read: a step, an alert, a policy."""
    asked = step(server, "{{ alert.host }}", "laptop", timeout_seconds=3)
    (tmp_path / "step.json").write_text(json.dumps(asked))
    (tmp_path / "step.yaml").write_text(json.dumps(asked))
    (tmp_path / "alert.json").write_text(json.dumps({"alert": {"host": "web-01"}}))
    (tmp_path / "token").write_text(FLEET_TOKEN)
    (tmp_path / "token").chmod(0o600)
    credentials = "{api_token: {file: token}}"
    instance = f"{{backend: fleetdm, base_url: '{server}', credentials: {credentials}}}"
    (tmp_path / "policy.yaml").write_text(f"instances: {{corp: {instance}}}\n")
    tmp_path.chmod(0o700)
    return tmp_path


def ran(command: list[str | Path], folder: Path, **more: str) -> str:
    """What a command prints, started in the folder with the program on its PATH."""
    environment = {**os.environ, "OSQUERY_LIVE_QUERY_SECRET_TOKEN": FLEET_TOKEN, **more}
    environment["PATH"] = f"{BUILT}:{environment['PATH']}"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_shell(folder: Path) -> None:
    assert ran(["sh", "-c", snippet("Shell", "sh")], folder) == 'no answer: ["laptop"]\n'


def test_python(folder: Path) -> None:
    said = ran([sys.executable, "-c", snippet("Python", "python")], folder)
    assert re.fullmatch(r"web-01 \d+\nno answer: \['laptop'\]\n", said)


def test_python_collects(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    report = '{name: startup, query: "SELECT name FROM startup_items", rows: {web-01: [{name: agent}]}}'
    scenario = f"hosts: [{{hostname: web-01}}]\nfleet: {{reports: [{report}]}}\n"
    with simulated(scenario, tmp_path_factory.mktemp("server")) as server:
        asked = {"connector": "fleetdm", "base_url": server, "api_token": "{{ secrets.token }}"}
        (folder / "connector.json").write_text(json.dumps({**asked, "streams": ["queries"], "since_seconds": 3600}))
        said = ran([sys.executable, "-c", snippet("Python", "python", 1)], folder)
        assert said == "high web-01 {'name': 'agent'}\nqueries polled\n"
        assert ran([sys.executable, "-c", snippet("Python", "python", 1)], folder) == "queries polled\n"


def test_go(folder: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("there is no Go")
    (folder / "main.go").write_text(snippet("Go", "go"))
    assert ran(["go", "run", "main.go"], folder) == "1 [laptop] true <nil>\n"


def test_ansible(folder: Path) -> None:
    if not (BIN / "ansible-galaxy").exists():
        pytest.skip("ansible-core is not installed")
    galaxy = [BIN / "ansible-galaxy", "collection"]
    ran([*galaxy, "build", ROOT / "integrations" / "ansible"], folder)
    ran([*galaxy, "install", "--offline", *folder.glob("*.tar.gz"), "-p", folder], folder)
    (folder / "triage.yaml").write_text(snippet("Ansible", "yaml"))
    command = [BIN / "ansible-playbook", "-i", "localhost,", "-c", "local"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", "triage.yaml"]
    said = ran(command, folder, ANSIBLE_COLLECTIONS_PATH=str(folder), ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    assert '"web-01": "ok"' in said


def test_prefect(folder: Path) -> None:
    pytest.importorskip("prefect", reason="the extra `prefect` is not installed")
    more = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    assert ran([sys.executable, "-c", snippet("Prefect", "python")], folder, **more).endswith("['laptop']\n")


def test_airflow(folder: Path) -> None:
    pytest.importorskip("airflow", reason="the extra `airflow` is not installed")
    more = {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        # It only runs what is in its folder.
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
    }
    ran([sys.executable, "-m", "airflow", "db", "migrate"], folder, **more)
    program = snippet("Airflow", "python") + (
        "\nif __name__ == '__main__':\n"
        "    run = dag.test(run_conf={'host': 'web-01'})\n"
        "    (task,) = run.get_task_instances()\n"
        "    print('answered', sorted(task.xcom_pull(task_ids='ask')['results']))\n"
    )
    (folder / "dag.py").write_text(program)
    assert "answered ['web-01']\n" in ran([sys.executable, "dag.py"], folder, **more)


def test_temporals_worker_has_these_flags(folder: Path) -> None:
    pytest.importorskip("temporalio", reason="the extra `temporal` is not installed")
    command = snippet("Temporal", "console").removeprefix("$ python ").split()
    said = ran([sys.executable, "-m", "osquery_live_query.temporal", "--help"], folder)
    assert all(flag in said for flag in command if flag.startswith("--"))
