"""The task in real Prefect, with a server of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import FLEET_TOKEN, osctrl_step, running, step

import osquery_live_query as olq

pytest.importorskip("prefect", reason="the extra `prefect` is not installed")
from prefect import flow
from prefect.blocks.system import Secret
from prefect.testing.utilities import prefect_test_harness

from osquery_live_query.prefect import osquery_live_query


@pytest.fixture(scope="module", autouse=True)
def prefect_server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        Secret(value=FLEET_TOKEN).save("fleet-token")
        yield


def test_a_flow_gets_the_document_and_the_secret_from_its_block(server: str) -> None:
    @flow
    async def triage() -> dict[str, Any]:
        asked = step(server, "{{ alert.host }}")
        blocks = {"token": "fleet-token"}
        return await osquery_live_query(asked, context={"alert": {"host": "web-01"}}, secret_blocks=blocks)

    document = asyncio.run(triage())
    assert list(document["results"]) == ["web-01"]
    assert document["partial"] is False


@pytest.mark.parametrize(
    ("changes", "raised", "tries"),
    [({"template": "nope"}, olq.AllowlistError, 1), ({"timeout_seconds": 1}, olq.UnreachableError, 3)],
)
def test_only_what_may_succeed_later_is_tried_again(
    changes: dict[str, Any], raised: type[olq.LiveQueryError], tries: int
) -> None:
    counted = []
    asked = step("http://127.0.0.1:1", "web-01", **changes)

    @flow
    async def triage() -> None:
        once = osquery_live_query.with_options(
            retries=2, retry_delay_seconds=0, on_running=[lambda *_: counted.append(1)]
        )
        await once(asked, secret_blocks={"token": "fleet-token"})

    with pytest.raises(raised):
        asyncio.run(triage())
    assert len(counted) == tries


def test_a_cancelled_flow_stops_the_campaign(server: str) -> None:
    @flow
    async def triage() -> None:
        await osquery_live_query(osctrl_step(server, "laptop", timeout_seconds=60))

    async def cancel() -> None:
        task = asyncio.create_task(triage())
        for _ in range(600):
            if await asyncio.to_thread(running, server):
                break
            await asyncio.sleep(0.05)
        assert len(running(server)) == 1
        task.cancel()
        await asyncio.wait([task], timeout=20)

    asyncio.run(cancel())
    assert running(server) == []
