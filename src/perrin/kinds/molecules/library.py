"""RDKit, asked for only where it is used: what it is needed for, and what it says when it refuses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from perrin.errors import PerrinError

_ONE_AT_A_TIME = threading.Lock()  # where RDKit writes its messages is one setting of the whole process


def need_rdkit(what: str) -> None:
    """Refuse where RDKit is missing, naming what needs it."""
    if find_spec("rdkit") is None:
        raise PerrinError(f"{what} needs RDKit: pip install 'perrin[molecules]'")


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@contextmanager
def overheard() -> Iterator[list[str]]:
    """What RDKit says in the block, a line each, in place of writing it to the terminal."""
    from rdkit import rdBase

    logger, kept = logging.getLogger("rdkit"), _Kept()
    with _ONE_AT_A_TIME:
        handlers, propagate = logger.handlers, logger.propagate
        logger.handlers, logger.propagate = [kept], False
        rdBase.LogToPythonLogger()
        try:
            yield kept.said
        finally:
            rdBase.LogToCppStreams()
            logger.handlers, logger.propagate = handlers, propagate


def reason(said: list[str]) -> str:
    """The first thing that RDKit complains of, without its time stamp and prefixes."""
    for line in said:
        text = line.split("] ", 1)[-1].removeprefix("SMILES Parse Error: ").strip()
        if text and not set(text) <= set("~^ "):
            return text.split(" for input:")[0].split(" while parsing:")[0]
    return "RDKit gives no reason"
