"""A server's log: one JSON object per line, whoever writes it, our own code, uvicorn or asyncio."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

_ENCODER = json.JSONEncoder(default=str)
REQUEST: ContextVar[str] = ContextVar("request", default="")
"""The id of the request that is being answered; empty outside of any."""


def facts(**values: Any) -> dict[str, Any]:
    """Keys of a record's own, for `LOG.info(text, extra=facts(status=200))`."""
    return {"facts": values}


class JsonLines(logging.Formatter):
    """`time` (UTC), `level`, `logger`, `message`, `request` (where there is one), a record's own facts, `trace` (of an
    exception)."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the texts hold."""
        plain: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if message := record.getMessage().strip():
            plain["message"] = message
        if identity := REQUEST.get():
            plain["request"] = identity
        plain.update(getattr(record, "facts", {}))
        if record.exc_info:
            plain["trace"] = self.formatException(record.exc_info)
        if record.stack_info:
            plain["stack"] = self.formatStack(record.stack_info)
        return _ENCODER.encode(plain)


def log_as_json(stream: TextIO, level: int = logging.INFO) -> None:
    """Send everything that this process logs, warnings of Python included, to `stream` as JSON lines."""
    # What no line here says, and every record would gather (the logging HOWTO's "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
