"""Activities and the hunt on a real Temporal server: nothing twice, nothing lost, nothing left running."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import FLEET_TOKEN, OSCTRL_TOKEN, running, simulated

pytest.importorskip("temporalio", reason="the extra `temporal` is not installed")
if "TEMPORAL_SERVER" not in os.environ:
    pytest.skip("TEMPORAL_SERVER names no Temporal server", allow_module_level=True)
from one_step import OneStep
from temporal_server import NAMESPACE, TemporalServer
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from osquery_live_query.temporal import StepInput
from osquery_live_query.temporal.hunt import Hunt, HuntInput, HuntSummary, Server
from osquery_live_query.temporal.store import DamagedError, fetched

MOST_AT_ONCE = 4


class Site:
    """Two simulated servers, a Temporal server, and workers as processes of their own."""

    def __init__(self, folder: Path, stack: ExitStack, hosts: int, behaviour: str = "") -> None:
        self.folder = folder
        folder.chmod(0o700)
        self.stack = stack
        extra = f", behaviour: {behaviour}" if behaviour else ""
        scenario = f'hosts:\n  - {{count: {hosts}, hostname: "KIND-{{n:03}}"{extra}}}\n'
        self.servers = {}
        for kind in ("fleet", "osctrl"):
            (folder / kind).mkdir()
            text = scenario.replace("KIND", kind)
            self.servers[kind] = stack.enter_context(simulated(text, folder / kind))
        for name, token in (("fleet-token", FLEET_TOKEN), ("osctrl-token", OSCTRL_TOKEN)):
            (folder / name).write_text(token)
            (folder / name).chmod(0o600)
        for name in ("locks", "results"):
            (folder / name).mkdir()
        self.policy = folder / "policy.yaml"
        self.policy.write_text(
            f"require_instance: true\nmax_concurrent: {MOST_AT_ONCE}\nlock_dir: locks\naudit_log: audit.jsonl\n"
            f"instances:\n"
            f"  fleet: {{backend: fleetdm, base_url: '{self.servers['fleet']}', "
            f"credentials: {{api_token: {{file: fleet-token}}}}}}\n"
            f"  osctrl: {{backend: osctrl, environment: dev, base_url: '{self.servers['osctrl']}', "
            f"credentials: {{api_token: {{file: osctrl-token}}}}}}\n"
        )
        self.temporal = TemporalServer(folder)
        self.temporal.start()
        stack.callback(self.temporal.stop)
        # Workers want the namespace to be there.
        asyncio.run(self.temporal.client())

    def worker(self, queue: str, slots: int = 3) -> subprocess.Popen[bytes]:
        """A worker in a process of its own."""
        command = [sys.executable, "-m", "osquery_live_query.temporal", "--address", self.temporal.address]
        command += ["--namespace", NAMESPACE, "--task-queue", queue, "--policy", str(self.policy)]
        command += ["--results", str(self.folder / "results"), "--slots", str(slots)]
        child = subprocess.Popen(command)
        self.stack.callback(end, child)
        return child

    def audit(self) -> list[dict[str, Any]]:
        """The lines of the audit log."""
        log = self.folder / "audit.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def site(folder: Path, hosts: int, behaviour: str = "") -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(folder, stack, hosts, behaviour)


async def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(1200):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


async def history(handle: WorkflowHandle[Any, Any]) -> str:
    return (await handle.fetch_history()).to_json()


def with_workflows(
    site: Site, workflows: list[type], play: Callable[[Client], Awaitable[None]], queue: str = "workflows"
) -> None:
    """Serves the workflows' own queue in this process while `play` plays."""

    async def served() -> None:
        client = await site.temporal.client()
        async with Worker(client, task_queue=queue, workflows=workflows):
            await play(client)

    asyncio.run(served())


def asked(host: str, **params: Any) -> dict[str, Any]:
    where = {"instance": "fleet", "template": "running_processes", "target_hosts": [host], "timeout_seconds": 20}
    return {"id": "one", "type": "osquery_live_query", "params": {**where, **params}}


def test_a_hunt_survives_a_worker_and_the_server(tmp_path: Path) -> None:
    """300 steps, three workers of which one is killed, the server restarted: every host's rows once."""
    with site(tmp_path, hosts=300) as here:
        doomed = here.worker("fleet")
        here.worker("fleet")
        here.worker("osctrl")
        most_at_once = 0

        async def watch() -> None:
            nonlocal most_at_once
            while True:
                most_at_once = max(most_at_once, len(await asyncio.to_thread(running, here.servers["osctrl"])))
                await asyncio.sleep(0.05)

        async def play(client: Client) -> None:
            servers = [
                Server(kind, kind, [[f"{kind}-{2 * page + n:03}" for n in range(2)] for page in range(150)])
                for kind in ("fleet", "osctrl")
            ]
            hunt = HuntInput(template="running_processes", servers=servers, again_after_seconds=0)
            watching = asyncio.create_task(watch())
            handle = await client.start_workflow(Hunt.run, hunt, id="hunt", task_queue="workflows")
            await until(lambda: len(here.audit()) > 40, "the first twenty steps")
            doomed.kill()
            await until(lambda: len(here.audit()) > 200, "a hundred steps")
            here.temporal.stop()
            here.temporal.start()
            summary: HuntSummary = await asyncio.wait_for(handle.result(), 600)
            watching.cancel()
            assert summary.failed == []
            assert summary.silent == []
            assert (summary.targeted, summary.responded) == (600, 600)
            assert len(summary.documents) == 300
            hosts: list[str] = []
            for reference in summary.documents:
                with fetched(reference) as file:
                    assert file is not None
                    hosts += json.loads(file.read_text())["results"]
            assert sorted(hosts) == sorted(f"{kind}-{n:03}" for kind in ("fleet", "osctrl") for n in range(300))
            text = await history(handle)
            assert FLEET_TOKEN not in text
            assert OSCTRL_TOKEN not in text

        with_workflows(here, [Hunt], play)
        assert 1 <= most_at_once <= MOST_AT_ONCE
        assert running(here.servers["osctrl"]) == []
        log = here.audit()
        outcomes = {line["run"] for line in log if line["event"] == "outcome"}
        intents = [line for line in log if line["event"] == "intent"]
        assert len(outcomes) >= 300
        # What the killed worker had begun is there as an intent without an outcome, and again as another's.
        lost = [line for line in intents if line["run"] not in outcomes]
        for line in lost:
            again = [other for other in intents if other["targets"] == line["targets"] and other["run"] in outcomes]
            assert len(again) == 1, line


def test_a_cancelled_workflow_leaves_nothing_running(tmp_path: Path) -> None:
    with site(tmp_path, hosts=4, behaviour="{answer: silent}") as here:
        here.worker("osctrl")

        async def play(client: Client) -> None:
            pages = [[f"osctrl-{n:03}"] for n in range(3)]
            hunt = HuntInput("running_processes", [Server("osctrl", "osctrl", pages)], timeout_seconds=300)
            handle = await client.start_workflow(Hunt.run, hunt, id="hunt", task_queue="workflows")
            await until(lambda: len(running(here.servers["osctrl"])) == 3, "three campaigns")
            await handle.cancel()
            with pytest.raises(WorkflowFailureError) as caught:
                await asyncio.wait_for(handle.result(), 60)
            assert type(caught.value.cause).__name__ == "CancelledError"

        with_workflows(here, [Hunt], play)
        assert running(here.servers["osctrl"]) == []
        assert [line["code"] for line in here.audit() if line["event"] == "outcome"] == ["terminated"] * 3


def test_silent_hosts_are_asked_again_and_answers_kept(tmp_path: Path) -> None:
    with site(tmp_path, hosts=1, behaviour="{check_ins: 30}") as here:
        here.worker("osctrl")

        async def play(client: Client) -> None:
            hunt = HuntInput(
                "running_processes",
                [Server("osctrl", "osctrl", [["osctrl-000", "gone"]])],
                timeout_seconds=2,
                again_after_seconds=1,
            )
            handle = await client.start_workflow(Hunt.run, hunt, id="hunt", task_queue="workflows")
            summary: HuntSummary = await asyncio.wait_for(handle.result(), 120)
            assert summary.silent[-1] == "osctrl/gone"
            (reference,) = summary.documents
            with fetched(reference) as file:
                assert file is not None
                document = json.loads(file.read_text())
            assert document["run"]["resumes"]

        with_workflows(here, [Hunt], play)


def test_a_large_document_is_kept_elsewhere(tmp_path: Path) -> None:
    with site(tmp_path, hosts=1, behaviour="{answer: {huge: {rows: 2000, row_bytes: 1000}}}") as here:
        here.worker("fleet")

        async def play(client: Client) -> None:
            run = client.execute_workflow
            result = await run(OneStep.run, StepInput(asked("fleet-000")), id="large", task_queue="workflows")
            assert result.document is None
            assert result.reference is not None
            assert result.reference.bytes > 1_900_000
            assert (result.rows, result.partial) == (2000, False)
            with fetched(result.reference) as file:
                assert file is not None
                assert len(json.loads(file.read_text())["results"]["fleet-000"]) == 2000
            kept = Path(result.reference.url)
            kept.write_bytes(kept.read_bytes()[:-1] + b" ")
            with pytest.raises(DamagedError), fetched(result.reference):
                pass

        with_workflows(here, [OneStep], play)


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"api_token": FLEET_TOKEN}, "policy", "leave out api_token"),
        ({"instance": None}, "policy", "name an `instance`"),
        ({"template": "nope"}, "allowlist", "unknown template `nope`"),
        ({"target_hosts": ["gone"]}, "targets", "gone"),
    ],
)
def test_what_can_not_heal_is_tried_once(tmp_path: Path, params: dict[str, Any], code: str, words: str) -> None:
    with site(tmp_path, hosts=1) as here:
        here.worker("fleet")

        async def play(client: Client) -> None:
            with pytest.raises(WorkflowFailureError) as caught:
                await client.execute_workflow(
                    OneStep.run, StepInput(asked("fleet-000", **params)), id="one", task_queue="workflows"
                )
            error = caught.value.cause.__cause__
            assert isinstance(error, ApplicationError)
            assert error.type == code
            assert words in str(error)
            assert error.non_retryable
            told = await history(client.get_workflow_handle("one"))
            assert '"attempt": 2' not in told

        with_workflows(here, [OneStep], play)
