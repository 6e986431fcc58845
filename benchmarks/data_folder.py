"""The folder with MNIST and flowers12 that DEEPER_DATA names; what scripts here that cannot do without ask for."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """Ends the program in one line where there is none."""
    folder = Path(os.environ.get("DEEPER_DATA", ""))
    if "DEEPER_DATA" not in os.environ or not (folder / "mnist").is_dir() or not (folder / "flowers12").is_dir():
        sys.exit("wanted a folder that holds mnist/ and flowers12/ in DEEPER_DATA (docs/results.md says what they are)")
    return folder
