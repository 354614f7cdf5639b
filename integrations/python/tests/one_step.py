"""A workflow of one activity, as any workflow calls it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from osquery_live_query.temporal import ACTIVITY, StepInput, StepResult


@workflow.defn(name="one_step")
class OneStep:
    """One activity, as any workflow calls it."""

    @workflow.run
    async def run(self, asked: StepInput) -> StepResult:
        result: StepResult = await workflow.execute_activity(
            ACTIVITY,
            asked,
            result_type=StepResult,
            task_queue="fleet",
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=RetryPolicy(maximum_attempts=3, initial_interval=timedelta(milliseconds=100)),
        )
        return result
