"""The operator in real Airflow: a DAG that is tested as `dag.test()` does, with a database of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import BUILT, FLEET_TOKEN, osctrl_step, running, step

pytest.importorskip("airflow", reason="the extra `airflow` is not installed")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's home, with its database."""
    folder = tmp_path_factory.mktemp("airflow")
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=environment(folder), check=True, capture_output=True)
    return folder


def environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home),
        "AIRFLOW_CONN_FLEET": json.dumps({"conn_type": "http", "password": FLEET_TOKEN}),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src"),
    }


def ran(home: Path, task: str, conf: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Runs a DAG of this one task; what it returned, its state, and all that was said."""
    program = textwrap.dedent(
        """
        import json, sys
        from airflow.sdk import DAG
        from airflow.providers.standard.operators.bash import BashOperator
        from osquery_live_query.airflow import OsqueryLiveQueryOperator

        with DAG("triage", schedule=None) as dag:
            task = TASK
        if __name__ == "__main__":
            run = dag.test(run_conf=json.loads(sys.argv[1]))
            (instance,) = run.get_task_instances()
            returned = instance.xcom_pull(task_ids="ask")
            print("RESULT" + json.dumps({"state": instance.state, "tries": instance.try_number, "returned": returned}))
        """
    ).replace("TASK", task)
    file = home / "dag.py"
    file.write_text(program)
    command = [sys.executable, str(file), json.dumps(conf)]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, said
    return json.loads(lines[0].removeprefix("RESULT")), said


def test_a_task_returns_the_document(home: Path, server: str) -> None:
    asked = step(server, "{{ alert.host }}")
    task = (
        f"OsqueryLiveQueryOperator(task_id='ask', step={asked!r}, secret_connections={{'token': 'fleet'}}, "
        """context={"alert": {"host": "{{ dag_run.conf['host'] }}"}})"""
    )
    result, said = ran(home, task, {"host": "web-01"})
    assert result["state"] == "success", said
    assert list(result["returned"]["results"]) == ["web-01"]
    assert FLEET_TOKEN not in said


def test_what_can_not_heal_is_not_tried_again(home: Path, server: str) -> None:
    asked = step(server, "web-01", template="nope")
    options = "secret_connections={'token': 'fleet'}, retries=3"
    result, said = ran(home, f"OsqueryLiveQueryOperator(task_id='ask', step={asked!r}, {options})", {})
    assert (result["state"], result["tries"]) == ("failed", 1), said
    assert "allowlist: " in said


def test_the_last_line_of_a_merged_stream_is_the_document(home: Path, server: str) -> None:
    file = home / "step.json"
    file.write_text(json.dumps(osctrl_step(server, "web-01", "laptop", timeout_seconds=2)))
    command = f"{BUILT / 'osquery-live-query'} run < {file}"
    result, said = ran(home, f"BashOperator(task_id='ask', bash_command={command!r})", {})
    assert result["state"] == "success", said
    assert result["returned"]["timed_out_hosts"] == ["laptop"]


def test_a_task_that_is_killed_stops_its_campaign(server: str) -> None:
    from osquery_live_query.airflow import OsqueryLiveQueryOperator

    operator = OsqueryLiveQueryOperator(task_id="ask", step=osctrl_step(server, "laptop", timeout_seconds=60))
    ended: list[BaseException] = []

    def execute() -> None:
        try:
            operator.execute({})
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=execute)
    thread.start()
    deadline = time.monotonic() + 20
    while not running(server):
        assert time.monotonic() < deadline, "no campaign was started"
    operator.on_kill()
    thread.join(20)
    assert len(ended) == 1
    assert running(server) == []
