"""Where documents are kept: a folder, or an object store that fsspec knows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import fsspec

from .values import Reference


class DamagedError(RuntimeError):
    """What is kept is not what was put there."""


class Store:
    """Keeps documents by the run that made them; safe to use from several workers."""

    def __init__(self, url: str) -> None:
        self._system, self._root = fsspec.core.url_to_fs(url)
        self._url = url.rstrip("/")

    def put(self, run: str, document: bytes) -> Reference:
        """Keeps a document. It is there whole or not at all."""
        self._system.makedirs(self._root, exist_ok=True)
        name = f"{run}.json"
        self._system.pipe_file(f"{self._root}/{name}", document)
        return Reference(url=f"{self._url}/{name}", sha256=hashlib.sha256(document).hexdigest(), bytes=len(document))


@contextmanager
def fetched(reference: Reference | None) -> Iterator[Path | None]:
    """The document as a file of this machine, for as long as it is needed.

    Raises:
        DamagedError: it is not what was kept.
    """
    if reference is None:
        yield None
        return
    with TemporaryDirectory(prefix="osquery-live-query-") as folder:
        system, path = fsspec.core.url_to_fs(reference.url)
        document: bytes = system.cat_file(path)
        if hashlib.sha256(document).hexdigest() != reference.sha256:
            raise DamagedError(f"{reference.url} is not the document that was kept there")
        file = Path(folder) / "earlier.json"
        file.write_bytes(document)
        yield file
