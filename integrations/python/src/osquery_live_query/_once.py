"""What is iterated once and left at any time: a run's hosts, a poll's events, each with a summary behind the last."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from types import TracebackType
from typing import Any, ClassVar, Generic, TypeVar

Item = TypeVar("Item")
Summary = TypeVar("Summary")
Entered = TypeVar("Entered", bound="Once[Any, Any]")
AsyncEntered = TypeVar("AsyncEntered", bound="AsyncOnce[Any, Any]")


class _Summed(Generic[Summary]):
    WHAT: ClassVar[str]
    ITEM: ClassVar[str]

    _summary: Summary | None = None

    @property
    def summary(self) -> Summary:
        """What came of it; it is there once all was iterated.

        Raises:
            RuntimeError: it is not there yet.
        """
        if self._summary is None:
            raise RuntimeError(f"the summary comes after the last {self.ITEM}")
        return self._summary

    def _begin(self, begun: object) -> None:
        if begun is not None:
            raise RuntimeError(f"a {self.WHAT} can be iterated once")


class Once(_Summed[Summary], Generic[Item, Summary]):
    """`for item in it`; leaving it early ends what is behind it."""

    _items: Generator[Item, None, None] | None = None

    def _iterate(self) -> Generator[Item, None, None]:
        raise NotImplementedError

    def __enter__(self: Entered) -> Entered:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends it, if it still runs."""
        if self._items is not None:
            self._items.close()

    def __iter__(self) -> Generator[Item, None, None]:
        self._begin(self._items)
        self._items = self._iterate()
        return self._items


class AsyncOnce(_Summed[Summary], Generic[Item, Summary]):
    """`async for item in it`; leaving it early ends what is behind it."""

    _items: AsyncGenerator[Item, None] | None = None

    def _iterate(self) -> AsyncGenerator[Item, None]:
        raise NotImplementedError

    async def __aenter__(self: AsyncEntered) -> AsyncEntered:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends it, if it still runs."""
        if self._items is not None:
            await self._items.aclose()

    def __aiter__(self) -> AsyncGenerator[Item, None]:
        self._begin(self._items)
        self._items = self._iterate()
        return self._items
