"""The worker: `python -m osquery_live_query.temporal --task-queue Q --policy FILE --results URL`."""

from __future__ import annotations

import argparse
import asyncio
import signal
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from .activity import LiveQueryActivities
from .hunt import Hunt

PATIENCE_SECONDS = 60.0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m osquery_live_query.temporal", description=__doc__)
    parser.add_argument("--address", default="localhost:7233", help="the Temporal server [%(default)s]")
    parser.add_argument("--namespace", default="default", help="its namespace [%(default)s]")
    parser.add_argument("--task-queue", required=True, help="the queue to serve: one for each live-query server")
    parser.add_argument("--policy", required=True, help="the operator's policy, whose instances steps name")
    parser.add_argument("--results", required=True, help="where documents are kept: a shared folder or a URL")
    parser.add_argument("--secrets-dir", help="a folder with one file for each secret of the policy")
    parser.add_argument("--slots", type=int, default=10, help="campaigns at once, of this worker [%(default)s]")
    return parser.parse_args()


async def connected(address: str, namespace: str) -> Client:
    """A client, once the server answers: it may come up after its workers."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    while True:
        try:
            return await Client.connect(address, namespace=namespace)
        except RuntimeError as error:
            if clock() - begun > PATIENCE_SECONDS:
                raise SystemExit(f"the Temporal server at {address} can't be used: {error}") from None
        await asyncio.sleep(0.5)


async def main() -> None:
    """Serves the queue until SIGINT or SIGTERM; campaigns that run are stopped then."""
    asked = arguments()
    client = await connected(asked.address, asked.namespace)
    ours = LiveQueryActivities(policy=asked.policy, results=asked.results, secrets_dir=asked.secrets_dir)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    worker = Worker(
        client,
        task_queue=asked.task_queue,
        activities=[ours.osquery_live_query],
        workflows=[Hunt],
        max_concurrent_activities=asked.slots,
        # The answer to a heartbeat is how a worker learns that its campaign is to be stopped.
        max_heartbeat_throttle_interval=timedelta(seconds=5),
    )
    async with worker:
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
