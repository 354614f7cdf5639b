"""A workflow to begin with: one template over all hosts of several servers, in pages.

Each server has a task queue of its own, served by workers near it, so that their slots bound the campaigns
that run on it at once. Hosts that were silent are asked once more, later; answers that came are kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from .values import Reference, StepInput, StepResult

ACTIVITY = "osquery_live_query"


@dataclass(frozen=True)
class Server:
    """The hosts of one server."""

    instance: str
    """Its name in the workers' policy."""
    task_queue: str
    """The queue of the workers that reach it."""
    pages: list[list[str]]
    """Its hosts, in pages of at most the policy's `max_hosts`."""


@dataclass(frozen=True)
class HuntInput:
    """What is hunted for, and where."""

    template: str
    servers: list[Server]
    template_params: dict[str, Any] = field(default_factory=dict)
    timeout_seconds: int = 60
    again_after_seconds: int = 3600
    """When silent hosts are asked once more; 0 for never."""


@dataclass(frozen=True)
class HuntSummary:
    """What came of it: counts here, rows where the documents are kept."""

    targeted: int
    responded: int
    rows: int
    silent: list[str]
    """Hosts that were silent to the end, as `INSTANCE/HOST`."""
    documents: list[Reference]
    failed: list[str]
    """Pages that could not be asked, with the reason."""


@workflow.defn(name="osquery_live_query_hunt")
class Hunt:
    """Hunts."""

    @workflow.run
    async def run(self, asked: HuntInput) -> HuntSummary:
        """Asks every page, then silent hosts once more, and sums up."""
        pages = [(server, page) for server in asked.servers for page in server.pages]
        asking = [self._page(asked, server, page) for server, page in pages]
        done = await asyncio.gather(*asking, return_exceptions=True)
        answered: list[StepResult] = []
        silent: list[str] = []
        failed: list[str] = []
        for (server, page), result in zip(pages, done, strict=True):
            if isinstance(result, StepResult):
                answered.append(result)
                silent += [f"{server.instance}/{host}" for host in result.timed_out_hosts]
            elif is_cancelled_exception(result):
                raise result
            else:
                failed.append(f"{server.instance}/{page[0]}…: {result.__cause__ or result}")
        return HuntSummary(
            targeted=sum(result.targeted for result in answered),
            responded=sum(result.responded for result in answered),
            rows=sum(result.rows for result in answered),
            silent=silent,
            documents=[result.reference for result in answered if result.reference is not None],
            failed=failed,
        )

    async def _page(self, asked: HuntInput, server: Server, page: list[str]) -> StepResult:
        first = await self._ask(asked, server, page, None)
        if first.silent == 0 or asked.again_after_seconds == 0:
            return first
        await workflow.sleep(timedelta(seconds=asked.again_after_seconds))
        return await self._ask(asked, server, page, first.reference)

    async def _ask(self, asked: HuntInput, server: Server, page: list[str], resume: Reference | None) -> StepResult:
        step = {
            "id": workflow.info().workflow_id[:64],
            "type": "osquery_live_query",
            "params": {
                "instance": server.instance,
                "template": asked.template,
                "template_params": asked.template_params,
                "target_hosts": page,
                "timeout_seconds": asked.timeout_seconds,
            },
        }
        result: StepResult = await workflow.execute_activity(
            ACTIVITY,
            StepInput(step=step, resume=resume),
            result_type=StepResult,
            task_queue=server.task_queue,
            # The step's own deadline, and some seconds for its document.
            start_to_close_timeout=timedelta(seconds=asked.timeout_seconds + 30),
            heartbeat_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(maximum_attempts=5),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return result
