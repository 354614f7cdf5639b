"""Finds the binary that the wheel brings."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

NAME = "osquery-live-query"
VARIABLE = "OSQUERY_LIVE_QUERY_BINARY"


class BinaryNotFoundError(FileNotFoundError):
    """The binary is neither where packages put their scripts nor on the PATH."""

    def __init__(self) -> None:
        super().__init__(
            f"the program {NAME} is not installed: `pip install {NAME}` brings it, "
            f"or name it in the variable {VARIABLE}"
        )


def find() -> str:
    """The path of the binary: the variable's, else that of this installation, else one on the PATH.

    Raises:
        BinaryNotFoundError: there is none.
    """
    if named := os.environ.get(VARIABLE):
        return named
    schemes = [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", f"{os.name}_user")]
    for folder in schemes:
        if folder and os.access(path := Path(folder) / NAME, os.X_OK):
            return str(path)
    if found := shutil.which(NAME):
        return found
    raise BinaryNotFoundError
