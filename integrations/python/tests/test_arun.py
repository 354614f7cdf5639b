"""`arun`: hosts as they answer, and what becomes of a run that nobody waits for any more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conftest import SECRETS, osctrl_step, running, simulated, step

import osquery_live_query as olq


def test_hosts_come_as_they_answer(server: str) -> None:
    async def iterate() -> tuple[list[str], olq.SummaryLine]:
        async with olq.arun(step(server, "web-02", "web-01"), secrets=SECRETS) as answers:
            hosts = [host.host async for host in answers]
        return hosts, answers.summary

    hosts, summary = asyncio.run(iterate())
    assert hosts == ["web-01", "web-02"]
    assert not summary.partial
    assert summary.timed_out_hosts == []


def test_awaited_it_is_the_document_of_run(server: str) -> None:
    async def both() -> tuple[olq.Document, olq.Document]:
        one = olq.arun(step(server, "web-01", "db-01"), secrets=SECRETS)
        two = olq.arun(step(server, "web-02"), secrets=SECRETS)
        done = await asyncio.gather(one, two)
        return done[0], done[1]

    one, two = asyncio.run(both())
    whole = olq.run(step(server, "web-01", "db-01"), secrets=SECRETS)
    assert one.results == whole.results
    assert set(one.raw) == set(whole.raw)
    assert list(two.results) == ["web-02"]


def test_failures_are_raised(server: str) -> None:
    async def awaited() -> None:
        await olq.arun(step(server, "gone"), secrets=SECRETS)

    async def iterated() -> None:
        async for _ in olq.arun(step(server, "gone"), secrets=SECRETS):
            pass

    for form in (awaited, iterated):
        with pytest.raises(olq.TargetsError, match="gone"):
            asyncio.run(form())


def test_a_cancelled_task_stops_the_campaign(server: str) -> None:
    async def cancel() -> None:
        answered = asyncio.Event()

        async def wait() -> None:
            async with olq.arun(osctrl_step(server, "web-01", "laptop", timeout_seconds=60)) as answers:
                async for _ in answers:
                    assert len(running(server)) == 1
                    answered.set()

        task = asyncio.create_task(wait())
        await asyncio.wait_for(answered.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)

    asyncio.run(cancel())
    assert running(server) == []


def test_a_loop_that_is_left_stops_the_campaign(server: str) -> None:
    async def leave() -> None:
        async with olq.arun(osctrl_step(server, "web-01", "laptop", timeout_seconds=60)) as answers:
            async for host in answers:
                assert host.host == "web-01"
                assert len(running(server)) == 1
                break
        # As soon as the block is left, and not only once the loop ends.
        assert running(server) == []

    asyncio.run(leave())


def test_an_answer_of_megabytes_is_one_line(tmp_path: Path) -> None:
    scenario = "hosts:\n  - {hostname: web-01, behaviour: {answer: {huge: {rows: 5000, row_bytes: 2000}}}}\n"

    async def rows(base_url: str) -> int:
        return sum([len(host.rows) async for host in olq.arun(step(base_url, "web-01"), secrets=SECRETS)])

    with simulated(scenario, tmp_path) as base_url:
        assert asyncio.run(rows(base_url)) == 5000
