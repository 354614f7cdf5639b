"""The activity: one step, its progress as heartbeats, its cancellation as the campaign's end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from .._asynchronous import AsyncRun, arun
from .._command import Path
from ..errors import CancelledError, LiveQueryError
from .store import Store, fetched
from .values import StepInput, StepResult

ACTIVITY = "osquery_live_query"
"""The activity's name."""
INLINE_BYTES = 256 * 1024
"""Documents up to this size are part of the result; Temporal refuses payloads above 2 MB."""
MOST_NAMES = 1_000
BEAT_SECONDS = 5.0
"""Between heartbeats while no host answers; choose a heartbeat timeout of three times that or more."""

# What a step of a workflow must not say, for a history is kept and read by many.
OF_THE_INSTANCE = (
    "api_token",
    "username",
    "password",
    "base_url",
    "environment",
    "tenant_id",
    "backend",
    "ca_file",
    "verify_tls",
)


class LiveQueryActivities:
    """What a worker registers.

    Args:
        policy: the operator's policy, whose `instances` steps name.
        results: where documents are kept: a folder that all workers share, or a URL that fsspec knows.
        secrets_dir: a folder with one file for each secret that the policy names.
    """

    def __init__(self, *, policy: Path, results: str, secrets_dir: Path | None = None) -> None:
        self._policy = policy
        self._store = Store(results)
        self._secrets_dir = secrets_dir

    @activity.defn(name=ACTIVITY)
    async def osquery_live_query(self, asked: StepInput) -> StepResult:
        """Executes the step.

        Raises:
            ApplicationError: the run failed; its type is the contract's code, and it is retried where the same
                step may succeed later.
        """
        refuse_credentials(asked.step)
        with fetched(asked.resume) as earlier:
            run = arun(
                asked.step,
                context=asked.context,
                policy=self._policy,
                secrets_dir=self._secrets_dir,
                resume=earlier,
            )
            try:
                document = await followed(run)
            except LiveQueryError as error:
                hint = f" ({error.hint})" if error.hint else ""
                raise ApplicationError(
                    f"{error}{hint}", error.exit_code, type=error.code, non_retryable=not error.retryable
                ) from None
            except CancelledError:
                # Somebody has sent the binary a signal: the worker is going down, another takes the step.
                raise ApplicationError("the run was ended by a signal", type="cancelled") from None
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        reference = await asyncio.to_thread(self._store.put, document["run"]["id"], text)
        campaign = document.get("campaign", {})
        silent = document["timed_out_hosts"]
        return StepResult(
            run=document["run"]["id"],
            partial=document["partial"],
            targeted=campaign.get("targeted", 0),
            responded=campaign.get("responded", 0),
            rows=campaign.get("rows", 0),
            silent=len(silent),
            timed_out_hosts=silent[:MOST_NAMES],
            document=document if len(text) <= INLINE_BYTES else None,
            reference=reference,
        )


def refuse_credentials(step: Mapping[str, Any]) -> None:
    """Raises where a step says what only the worker's policy may say."""
    params = step.get("params") or {}
    said = [key for key in OF_THE_INSTANCE if key in params]
    if said or not (params.get("instance") or params.get("instance_id")):
        what = f"leave out {', '.join(said)}, and name" if said else "name"
        raise ApplicationError(
            f"a workflow's history holds no address and no credential: {what} an `instance` of the worker's policy",
            type="policy",
            non_retryable=True,
        )


async def followed(run: AsyncRun) -> dict[str, Any]:
    """The document of a run whose hosts are counted in heartbeats as they answer."""
    results: dict[str, Any] = {}

    async def beat() -> None:
        while True:
            activity.heartbeat({"answered": len(results)})
            await asyncio.sleep(BEAT_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        async with run as answers:
            async for host in answers:
                results[host.host] = host.rows
                activity.heartbeat({"answered": len(results)})
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
    rest = {key: value for key, value in run.summary.raw.items() if key != "type"}
    return {"results": results, **rest}
