"""An inspection as one HTML file that opens from disk: no network, no server, nothing beside it."""

from __future__ import annotations

from deeper.inspection.report.page import refuse_stranger, write_report

__all__ = ["refuse_stranger", "write_report"]
