"""An operator for Airflow: `pip install "osquery-live-query[airflow]"`.

```python
OsqueryLiveQueryOperator(
    task_id="triage",
    step=step,
    context={"alert": "{{ dag_run.conf['alert'] }}"},
    secret_connections={"fleet": "fleet_prod"},
)
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from ._asynchronous import AsyncRun, arun
from .errors import LiveQueryError
from .models import Document


class OsqueryLiveQueryOperator(BaseOperator):
    """Executes one step and returns its document (as XCom), a partial one too.

    `step` is no template field: its `{{ }}` are the program's own, looked up in `context`, which is one.

    Args:
        step: the step as the playbook has it.
        context: what the step's expressions are looked up in.
        secret_connections: for `{{ secrets.NAME }}`, the Airflow connection whose password it is.
        policy: the operator's policy file, on the worker.
        secrets_dir: a folder with one file for each secret, on the worker.

    A failure that can't heal (`retryable: false`) ends the task at once; others are tried again as `retries`
    says. A task that is killed stops its campaign.
    """

    template_fields: Sequence[str] = ("context", "policy", "secrets_dir")
    ui_color = "#e8f1f2"

    def __init__(
        self,
        *,
        step: Mapping[str, Any],
        context: Mapping[str, Any] | None = None,
        secret_connections: Mapping[str, str] | None = None,
        policy: str | None = None,
        secrets_dir: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.step = step
        self.context = context
        self.secret_connections = secret_connections or {}
        self.policy = policy
        self.secrets_dir = secrets_dir
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Document] | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        """Runs the step; called by Airflow."""
        del context
        names = self.secret_connections.items()
        secrets = {name: str(BaseHook.get_connection(connection).password) for name, connection in names}
        run = arun(self.step, context=self.context, secrets=secrets, policy=self.policy, secrets_dir=self.secrets_dir)
        try:
            return dict(asyncio.run(self._wait(run)).raw)
        except LiveQueryError as error:
            if error.retryable:
                raise
            raise AirflowFailException(f"{error.code}: {error}") from error

    async def _wait(self, run: AsyncRun) -> Document:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.ensure_future(_document(run))
        return await self._task

    def on_kill(self) -> None:
        """Stops the campaign; called by Airflow where the task is killed."""
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)


async def _document(run: AsyncRun) -> Document:
    return await run
