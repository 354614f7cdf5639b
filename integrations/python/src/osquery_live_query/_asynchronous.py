"""`arun`: hosts as they answer, for programs on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Generator, Mapping
from typing import Any

from ._blocking import GRACE_SECONDS
from ._command import Path, command, hand_on, invocation
from ._once import AsyncOnce
from .errors import NoDocumentError, raise_for
from .models import Document, HostLine, SummaryLine

# One host's answer is one line, and may have the size of `max_bytes`; a stream holds no more than it read.
LONGEST_LINE = 1 << 30


class AsyncRun(AsyncOnce[HostLine, SummaryLine]):
    """A step that runs: iterate it for hosts as they answer, or await it for the document.

    Leaving it early, or cancelling the task that waits for it, stops the campaign. `summary` is the document
    without rows.
    """

    WHAT = "run"
    ITEM = "host"

    def __init__(self, words: list[str], stdin: bytes) -> None:
        self._words = words
        self._stdin = stdin

    async def _iterate(self) -> AsyncGenerator[HostLine, None]:
        # Who leaves waits until the campaign is stopped, and not until these lines are collected as garbage.
        async with contextlib.aclosing(self._lines()) as lines:
            async for line in lines:
                if line["type"] == "summary":
                    self._summary = SummaryLine.from_json(line)
                else:
                    yield HostLine.from_json(line)
        raise_for(self.summary)

    def __await__(self) -> Generator[Any, None, Document]:
        return self._whole().__await__()

    async def _whole(self) -> Document:
        results: dict[str, Any] = {}
        summary: dict[str, Any] = {}
        async for line in self._lines():
            if line["type"] == "summary":
                summary = {key: value for key, value in line.items() if key != "type"}
            else:
                results[line["host"]] = line["rows"]
        document = Document.from_json({"results": results, **summary})
        raise_for(document)
        return document

    async def _lines(self) -> AsyncGenerator[dict[str, Any], None]:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            *self._words, "--format", "ndjson", stdin=pipe, stdout=pipe, stderr=pipe, limit=LONGEST_LINE
        )
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        said = asyncio.create_task(child.stderr.read())
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                child.stdin.write(self._stdin)
                await child.stdin.drain()
            child.stdin.close()
            ended = False
            async for raw in child.stdout:
                try:
                    line: dict[str, Any] = json.loads(raw)
                    ended = line["type"] == "summary"
                except (ValueError, KeyError, TypeError):
                    # What is cut off says nothing; without a summary the status does.
                    break
                if ended:
                    # Everything on stderr is said before it.
                    hand_on((await said).decode(errors="replace"))
                yield line
            status = await child.wait()
            if not ended:
                raise NoDocumentError(status, (await said).decode(errors="replace"))
        finally:
            await asyncio.shield(_end(child, said))


async def _end(child: asyncio.subprocess.Process, said: asyncio.Task[bytes]) -> None:
    """Stops the campaign of a run that nobody waits for any more."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        # A full pipe must not hold the binary up.
        assert child.stdout is not None
        drained = asyncio.create_task(child.stdout.read())
        try:
            await asyncio.wait_for(child.wait(), GRACE_SECONDS)
        except asyncio.TimeoutError:
            child.kill()
            await child.wait()
        drained.cancel()
    said.cancel()


def arun(
    step: Mapping[str, Any],
    *,
    context: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    policy: Path | None = None,
    secrets_dir: Path | None = None,
    resume: Path | None = None,
) -> AsyncRun:
    """Executes one step on asyncio. Arguments and exceptions are those of `run`.

    ```python
    document = await arun(step)

    async with arun(step) as answers:
        async for host in answers:
            print(host.host, len(host.rows))
    print(answers.summary.timed_out_hosts)
    ```
    """
    words = command("run", policy=policy, secrets_dir=secrets_dir, resume=resume)
    return AsyncRun(words, invocation(step, context, secrets))
