"""What every server of ours shares: who may ask, how much, how slowly, and how errors are told."""

from __future__ import annotations

from deeper.web.body import Refused, Room, Share, read_body
from deeper.web.connections import Limits
from deeper.web.guard import Guard, error_response, json_response
from deeper.web.logs import facts, log_as_json
from deeper.web.running import run

__all__ = [
    "Guard",
    "Limits",
    "Refused",
    "Room",
    "Share",
    "error_response",
    "facts",
    "json_response",
    "log_as_json",
    "read_body",
    "run",
]
