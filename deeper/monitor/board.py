"""TensorBoard's own server over the event files of one or more runs, each under its run's name.

The server gets a temporary folder with a link NAME → RUN/tensorboard for each run, because its own way to name runs
(`--logdir_spec`) cannot hold commas or colons and switches its fast loader off.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deeper.errors import RunError, UsageError, nearest_path, printable

EVENTS = "tensorboard"
# Seconds between two looks at the event files.
RELOAD_SECONDS = 5


def find_runs(paths: Sequence[Path]) -> dict[str, Path]:
    """Name → folder of event files. A path is a run folder, or a folder of runs (a series: seeds, folds).

    Raises: RunError, when a path holds no run or its run has written no events yet.
    """
    found: list[tuple[Path, Path]] = []
    for path in paths:
        if (path / EVENTS).is_dir():
            found.append((path, path / EVENTS))
            continue
        inside = sorted(child for child in path.iterdir() if (child / EVENTS).is_dir()) if path.is_dir() else []
        if not inside:
            what = (
                "it has no tensorboard folder yet: wait until its training has begun"
                if (path / "config.toml").is_file()
                else "no run there: give a run folder, or a folder that holds runs"
                if path.is_dir()
                else f"no such folder: give a run folder, as `deeper train` printed it{nearest_path(path)}"
            )
            raise RunError(f"{printable(path)}: {what}")
        found.extend((child, child / EVENTS) for child in inside)
    return _named({run.resolve(): events.resolve() for run, events in found})


def _named(runs: dict[Path, Path]) -> dict[str, Path]:
    """Run folders' names; as many of the folders above in front as it takes to tell them apart. No name is a folder of
    another's: the link that stands under it would be followed, into the run."""
    depths = dict.fromkeys(runs, 1)

    def name(run: Path) -> tuple[str, ...]:
        return tuple(part for part in run.parts[-depths[run] :] if part != run.anchor)

    def clashing() -> list[Path]:
        """The runs of which more must be said: of a name and one within it, the shorter."""
        names = {run: name(run) for run in runs}
        return [
            run
            for run, one in names.items()
            if any(other[: len(one)] == one for path, other in names.items() if path != run)
            and depths[run] < len(run.parts)
        ]

    while more := clashing():
        for run in more:
            depths[run] += 1
    found: dict[str, Path] = {}
    for run, events in runs.items():
        # One run within another remains: there the name is one word.
        within = any(name(run)[: len(name(other))] == name(other) for other in runs if other != run)
        found[("-" if within else "/").join(name(run))] = events
    return found


@contextlib.contextmanager
def linked(runs: dict[str, Path]) -> Iterator[Path]:
    """A temporary folder in which each run's events stand under its name."""
    with tempfile.TemporaryDirectory(prefix="deeper-board-") as folder:
        for name, events in runs.items():
            link = Path(folder) / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(events, target_is_directory=True)
        yield Path(folder)


def _check_address(host: str, port: int) -> None:
    """Try the address first: TensorBoard's server prints several lines and exits where it cannot be had."""
    refused = f"cannot serve on {printable(host)}:{port}"
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except (socket.gaierror, UnicodeError):  # the latter of labels that no name can have
        raise UsageError(f"{refused}: no such host; try --host 127.0.0.1") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} is taken, perhaps by another board; give another by --port, or --port 0 for any free one"
            ) from None
        if error.errno == errno.EACCES:
            raise UsageError(f"{refused}: ports below 1024 belong to the system; give one above by --port") from None
        raise UsageError(f"{refused}: {error.strerror}; try --host 127.0.0.1") from None


@contextlib.contextmanager
def server(runs: dict[str, Path], *, host: str = "127.0.0.1", port: int = 6006) -> Iterator[str]:
    """Serve while the block runs; gives the page's URL. Port 0 takes any that is free.

    Raises: UsageError, when the port is taken or the host is none of this machine's.
    """
    from deeper.monitor.tensorboard import use_stub_of_tensorflow

    _check_address(host, port)
    use_stub_of_tensorflow()
    from tensorboard import default, program

    for name in ("tensorboard", "werkzeug", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with linked(runs) as folder:
        board = program.TensorBoard(default.get_plugins())
        board.configure(
            argv=[
                "deeper board",
                f"--logdir={folder}",
                f"--host={host}",
                f"--port={port}",
                f"--reload_interval={RELOAD_SECONDS}",
                "--reload_multifile=true",
                "--load_fast=auto",
                "--samples_per_plugin=images=50,scalars=10000",
            ]
        )
        try:
            with _quiet():
                url = board.launch()
        except (program.TensorBoardServerException, SystemExit) as error:
            reason = " ".join(str(error).split())
            raise UsageError(
                f"cannot serve on {printable(host)}:{port} ({printable(reason)}); try another --port"
            ) from None
        yield url


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep TensorBoard's advice about its own flags, which ours are not, off the screen while it starts."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def serve(
    paths: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int = 6006,
    say: Callable[[str], None],
    wait: Callable[[], None],
) -> None:
    """Serve the runs under `paths` until `wait` returns or an interrupt comes.

    Raises: RunError, for paths without a run; UsageError, for a port or host that cannot be had.
    """
    runs = find_runs(paths)
    with server(runs, host=host, port=port) as url:
        say(f"{len(runs)} run{'s' if len(runs) > 1 else ''}: {', '.join(map(printable, runs))}")
        say(f"TensorBoard is at {url}  (Ctrl-C ends it)")
        with contextlib.suppress(KeyboardInterrupt):
            wait()
