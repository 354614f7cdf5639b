"""A task for Prefect: `pip install "osquery-live-query[prefect]"`.

```python
from prefect import flow
from osquery_live_query.prefect import osquery_live_query

@flow
async def triage(alert: dict):
    return await osquery_live_query(step, context={"alert": alert}, secret_blocks={"fleet": "fleet-token"})
```
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.blocks.system import Secret

from ._asynchronous import arun
from .errors import LiveQueryError


async def worth_a_retry(task: Any, run: Any, state: Any) -> bool:
    """Whether the run failed in a way in which the same step may succeed later."""
    del task, run
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, LiveQueryError) and error.retryable


@task(name="osquery-live-query", retries=3, retry_delay_seconds=[5, 30, 120], retry_condition_fn=worth_a_retry)
async def osquery_live_query(
    step: Mapping[str, Any],
    *,
    context: Mapping[str, Any] | None = None,
    secret_blocks: Mapping[str, str] | None = None,
    policy: str | None = None,
    secrets_dir: str | None = None,
) -> dict[str, Any]:
    """Executes one step and returns its document, a partial one too.

    Args:
        step: the step as the playbook has it.
        context: what its expressions are looked up in.
        secret_blocks: for `{{ secrets.NAME }}`, the name of the Secret block that holds it. Values are loaded
            within the task, so they are in none of its inputs.
        policy: the operator's policy file, on the worker.
        secrets_dir: a folder with one file for each secret, on the worker.

    Raises:
        LiveQueryError: the run failed. It is retried where `retryable` says so.
    """
    secrets = {}
    for name, block in (secret_blocks or {}).items():
        secret: Any = await Secret.aload(block)
        secrets[name] = str(secret.get())
    document = await arun(step, context=context, secrets=secrets, policy=policy, secrets_dir=secrets_dir)
    return dict(document.raw)
