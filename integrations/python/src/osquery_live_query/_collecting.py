"""`collect` and `acollect`: what a server has, as events, as they come."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping
from typing import Any

from ._blocking import GRACE_SECONDS
from ._command import Path, command, hand_on, log
from ._once import AsyncOnce, Once
from .errors import BY_CODE, CancelledError, LiveQueryError, NoDocumentError
from .models import CollectSummary, Error, Event

# One event holds one row of a host, and the SQL of its query.
LONGEST_LINE = 1 << 30
# A poll is made, though a stream of it may have failed.
POLLED = (0, 3)
ENDED_BY_SIGNAL = (130, 143)


class _Started:
    """What both forms share: how the binary is started, and what its end means."""

    WHAT = "poll"
    ITEM = "event"

    _summary: CollectSummary | None

    def __init__(self, words: list[str], stdin: bytes, environment: dict[str, str]) -> None:
        self._words = words
        self._stdin = stdin
        self._environment = environment

    def _event(self, raw: bytes) -> Event | None:
        """A line's event; none where it is the summary."""
        line = json.loads(raw)
        if line["kind"] == "summary":
            self._summary = CollectSummary.from_json(line)
            return None
        return Event.from_json(line)

    def _finish(self, status: int, said: str) -> None:
        hand_on(said)
        failures = [failure for line in said.splitlines() if (failure := _failure(line, status))]
        if status in POLLED and self._summary is not None:
            # A stream that failed is no exception: the other's events are there. Who waits for nothing of it
            # learns it from the log.
            for failure in failures:
                log.error("%s", failure.message)
            return
        if status in ENDED_BY_SIGNAL:
            raise CancelledError(self._summary)
        streams = self._summary.streams.values() if self._summary is not None else ()
        errors = [stream.error for stream in streams if stream.error is not None]
        for error in [*errors, *failures]:
            if error.exit_code == status:
                raise BY_CODE.get(error.code, LiveQueryError)(error, self._summary)
        raise NoDocumentError(status, said)


def _failure(line: str, status: int) -> Error | None:
    """The error that a line of stderr tells, of a process that ended with this status."""
    try:
        entry = json.loads(line)
        if entry["level"] != "ERROR":
            return None
        return Error.from_json({"retryable": False, **entry, "exit_code": status})
    except (ValueError, KeyError, TypeError):
        return None


class Poll(_Started, Once[Event, CollectSummary]):
    """A poll: iterate it for its events, then look at `summary`.

    Leaving it early ends it, and the state stays where it was: the next poll finds the same events again.
    """

    def _iterate(self) -> Generator[Event, None, None]:
        # A file, so that nobody has to read two pipes at once. A signal of the terminal is this program's: its
        # handler decides whether the poll ends.
        with tempfile.TemporaryFile() as said:
            child = subprocess.Popen(
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=self._environment,
                start_new_session=True,
            )
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.write(self._stdin)
                    child.stdin.close()
                for raw in child.stdout:
                    try:
                        event = self._event(raw)
                    except (ValueError, KeyError, TypeError):
                        # What is cut off says nothing; the status does.
                        break
                    if event is not None:
                        yield event
                status = child.wait()
            finally:
                _leave(child)
            said.seek(0)
            self._finish(status, said.read().decode(errors="replace"))


def _leave(child: subprocess.Popen[bytes]) -> None:
    """Ends a poll that nobody reads any more, without its state: that moves on only with what was read."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class AsyncPoll(_Started, AsyncOnce[Event, CollectSummary]):
    """The same on asyncio: `async for event in poll`, then `poll.summary`."""

    async def _iterate(self) -> AsyncGenerator[Event, None]:
        # A pipe of our own, for its end has to be closed while the binary runs.
        ours, its = os.pipe()
        lines = asyncio.StreamReader(limit=LONGEST_LINE)
        reading, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(ours, "rb", 0)
        )
        with contextlib.closing(reading), tempfile.TemporaryFile() as said:
            try:
                child = await asyncio.create_subprocess_exec(
                    *self._words,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=its,
                    stderr=said,
                    env=self._environment,
                    start_new_session=True,
                )
            finally:
                os.close(its)
            assert child.stdin is not None
            try:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    child.stdin.write(self._stdin)
                    await child.stdin.drain()
                child.stdin.close()
                async for raw in lines:
                    try:
                        event = self._event(raw)
                    except (ValueError, KeyError, TypeError):
                        break
                    if event is not None:
                        yield event
                status = await child.wait()
            finally:
                reading.close()
                await asyncio.shield(_aleave(child))
            said.seek(0)
            self._finish(status, said.read().decode(errors="replace"))


async def _aleave(child: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(child.wait(), GRACE_SECONDS)
    except asyncio.TimeoutError:
        child.kill()
        await child.wait()


def _words(state: Path | None, policy: Path | None, secrets_dir: Path | None) -> list[str]:
    arguments = [] if state is None else ["--state", os.fspath(state)]
    return command("collect", policy=policy, secrets_dir=secrets_dir, arguments=arguments)


def _with_secrets(secrets: Mapping[str, str] | None) -> dict[str, str]:
    """The binary's environment: a connector has no other place for secrets but files."""
    environment = dict(os.environ)
    given: dict[str, str] = {}
    for name, value in (secrets or {}).items():
        variable = "OSQUERY_LIVE_QUERY_SECRET_" + "".join(
            letter.upper() if letter.isascii() and letter.isalnum() else "_" for letter in name
        )
        if given.setdefault(variable, value) != value:
            raise ValueError(f"two secrets have names that are one to the binary: {variable}")
    return {**environment, **given}


def collect(
    connector: Mapping[str, Any],
    *,
    secrets: Mapping[str, str] | None = None,
    policy: Path | None = None,
    secrets_dir: Path | None = None,
    state: Path | None = None,
) -> Poll:
    """Polls a connector's server once: its hosts' posture and the results of its queries, as events.

    ```python
    poll = collect(connector, secrets=secrets, state="/var/lib/events/corp.state")
    for event in poll:
        print(event.severity, event.title, event.row)
    print(poll.summary.streams)
    ```

    Args:
        connector: the connector as a configuration has it.
        secrets: values of `{{ secrets.NAME }}`. They are in the environment of the binary and nowhere else; a
            file of that name in a secrets directory wins.
        policy: the operator's policy file.
        secrets_dir: a folder with one file for each secret.
        state: what was polled is remembered there. Without it every poll is a first one.

    Raises, once it is iterated:
        LiveQueryError: nothing could be polled; a class for each code.
        CancelledError: the poll was ended by a signal.
        NoDocumentError: the binary ended and did not say why.
        BinaryNotFoundError: there is no binary.

    A stream that failed while the other did not is no exception: `summary.streams` has its error, and the logger
    `osquery_live_query` its message.
    """
    stdin = json.dumps(connector, ensure_ascii=False, allow_nan=False).encode()
    return Poll(_words(state, policy, secrets_dir), stdin, _with_secrets(secrets))


def acollect(
    connector: Mapping[str, Any],
    *,
    secrets: Mapping[str, str] | None = None,
    policy: Path | None = None,
    secrets_dir: Path | None = None,
    state: Path | None = None,
) -> AsyncPoll:
    """The same on asyncio. Arguments and exceptions are those of `collect`.

    ```python
    async with acollect(connector, secrets=secrets) as poll:
        async for event in poll:
            print(event.title)
    ```
    """
    stdin = json.dumps(connector, ensure_ascii=False, allow_nan=False).encode()
    return AsyncPoll(_words(state, policy, secrets_dir), stdin, _with_secrets(secrets))
