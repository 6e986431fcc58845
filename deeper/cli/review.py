"""`deeper review`: decide about doubtful pictures in the browser."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import tyro

from deeper.cli.screen import note
from deeper.errors import UsageError, printable, typed


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Look at doubtful pictures beside their nearest neighbours: keep, relabel, exclude or unsure, one key each.

    Every decision is written to corrections.csv at once; `deeper build SOURCE --corrections FILE` applies them. The page
    is for this machine alone. From another one: ssh -L 8017:localhost:8017 THIS_MACHINE

    Example: deeper review datasets/mine
    """

    place: tyro.conf.Positional[Path]
    """A dataset, or a run: then its mistakes on validation and test pictures are looked at."""
    port: int = 8017
    """Of the page; the next free one where it is taken, any free one for 0."""
    suspects: Path | None = None
    """A file that `deeper labels` wrote, or any CSV with a column id; labels/suspects.csv in the folder when not given,
    which is made first where it is missing."""
    corrections: Path | None = None
    """Where decisions go; corrections.csv in the dataset's folder when not given."""
    no_browser: bool = False
    """Do not open a browser."""


def main(arguments: Arguments) -> None:
    """Serve the page until Ctrl-C."""
    if not 0 <= arguments.port <= 65_535:
        raise UsageError(f"--port: wanted 0 to 65535, got {arguments.port}")
    from deeper.inspection.suspects import SUSPECTS, read_suspects
    from deeper.review import ReviewServer, open_session

    made = arguments.place / "labels" / SUSPECTS
    if arguments.suspects is None and arguments.place.is_dir() and not made.is_file():
        _search(arguments.place)
    elif arguments.suspects is None and _is_newer(arguments.place / "bundle" / "bundle.json", made):
        print("note: the run went on since its mistakes were listed: they are looked for again")
        _search(arguments.place)
    elif arguments.suspects is None and _is_newer(arguments.place / "dataset.json", made):
        again = f"deeper labels {typed(arguments.place)}"
        print(f"note: the dataset changed since its suspects were looked for; to look again: {again}")
    listed = arguments.suspects or made
    if listed.is_file() and not read_suspects(listed):
        print(f"no suspects in {printable(listed)}: nothing to review")
        return
    session = open_session(arguments.place, suspects=arguments.suspects, corrections=arguments.corrections)
    with ReviewServer(session, arguments.port) as server:
        count, left = len(session.suspects), len(session.suspects) - session.decided
        if session.missing:
            print(f"note: {session.missing:,} suspects are not in the dataset (any more)")
        print(f"{count:,} suspects, {left:,} to decide; decisions go to {printable(session.corrections.path)}")
        print(f"open {server.address}   (Ctrl-C ends)", flush=True)
        if not arguments.no_browser and sys.stdout.isatty() and _has_screen():
            import webbrowser

            # Aside: some browsers are waited for, and wait for the page.
            threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print(f"\n{session.decided:,} of {count:,} decided", flush=True)


def _has_screen() -> bool:
    """Elsewhere a browser would be one of the terminal, which cannot run the page, and takes the terminal over."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _is_newer(file: Path, made: Path) -> bool:
    return file.is_file() and file.stat().st_mtime_ns > made.stat().st_mtime_ns


def _search(place: Path) -> None:
    """What `deeper labels` does, or for a run its mistakes."""
    from deeper.cli.bar import bars
    from deeper.inspection.label_sheet import write_found
    from deeper.records import Dataset
    from deeper.runs.folder import Run, is_run

    name = printable(place.name, 60)
    with bars() as progress:
        if is_run(place):
            from deeper.inspection.mistakes import find_mistakes

            note(f"reading the pictures with {printable(place)}")
            found, dataset, title = find_mistakes(place, progress=progress), Run(place).dataset(), f"Mistakes of {name}"
        else:
            from deeper.inspection.labels import find_doubts

            dataset, title = Dataset(place), f"Doubtful pictures of {name}"
            note(f"searching {printable(place)} for doubtful pictures first")
            found = find_doubts(dataset, progress=progress, notice=note)
    write_found(found, dataset, place / "labels", title=title)
