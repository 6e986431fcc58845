"""Completion in real shells at a real terminal: Tab is pressed, and the finished line is read back."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deeper.cli import VERBS, main
from deeper.cli.completion import FORMATS, NETWORKS
from tests.patience import patient

AT_TERMINAL = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.keys, terminal = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen(
            AT_TERMINAL[shell], stdin=terminal, stdout=terminal, stderr=terminal, cwd=folder, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(terminal)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.keys, text.encode())

    def wait_for(self, wanted: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + patient(seconds)
        while wanted not in self.seen:
            ready, _, _ = select.select([self.keys], [], [], 0.2)
            if ready:
                self.seen += os.read(self.keys, 65536).decode(errors="replace")
            assert time.monotonic() < deadline, f"{wanted!r} did not come: {self.seen[-2000:]!r}"

    def completed(self, typed: str) -> list[str]:
        """Type `typed` and Tab; the words that the line then holds."""
        self.seen = ""
        # Ctrl-A puts a printf in front of the line, which then shows its words in << >>: octal, so that the terminal's
        # echo of the line does not look like its output.
        self.type(typed + "\t")
        time.sleep(0.3)
        self.type("\x01printf '\\074\\074%s\\076\\076' \n")
        self.type("printf 'DON%s\\n' E\n")
        self.wait_for("DONE")
        # zsh takes the slash behind a folder away again when the line is accepted.
        return [word.rstrip("/") for word in re.findall("<<(.*?)>>", self.seen)]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.keys)


def prepared(shell: str, folder: Path) -> Path:
    """`folder`, with the completion script and two folders whose names can be completed."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = subprocess.run([sys.executable, "-m", "deeper", "completion", shell], capture_output=True, check=True)
    (folder / "script").write_bytes(script.stdout)
    (folder / "my photos").mkdir()
    (folder / "runs").mkdir()
    return folder


@pytest.fixture(params=list(AT_TERMINAL), scope="module")
def terminal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    terminal = Terminal(request.param, prepared(request.param, tmp_path_factory.mktemp(request.param)))
    terminal.type("source ./script\nprintf 'READ%s\\n' Y\n")
    terminal.wait_for("READY")
    yield terminal
    terminal.close()


LINES = [
    ("deeper tra", ["deeper", "train"]),
    ("deeper show", ["deeper", "show-distortions"]),
    ("deeper train runs --optimizer ada", ["deeper", "train", "runs", "--optimizer", "adamw"]),
    ("deeper train runs --label-s", ["deeper", "train", "runs", "--label-smoothing"]),
    ("deeper train --model inception_r", ["deeper", "train", "--model", "inception_resnet_v2"]),
    ("deeper export runs --to openvino-", ["deeper", "export", "runs", "--to", "openvino-int8"]),
    ("deeper models nie", ["deeper", "models", "nielsen"]),
    ("deeper build my", ["deeper", "build", "my photos"]),
    ("deeper build mnist --out ru", ["deeper", "build", "mnist", "--out", "runs"]),
]


@pytest.mark.parametrize(("typed", "words"), LINES)
def test_tab(terminal: Terminal, typed: str, words: list[str]) -> None:
    assert terminal.completed(typed) == words


def test_fish(tmp_path: Path) -> None:
    """fish prints what Tab would offer when it is asked by `complete -C`."""
    folder = prepared("fish", tmp_path)
    for typed, words in LINES:
        asked = f"source ./script; complete -C '{typed}'"
        done = subprocess.run(["fish", "--no-config", "-c", asked], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == ""
        assert [line.split("\t")[0].replace("\\", "").rstrip("/") for line in done.stdout.splitlines()] == words[-1:], (
            typed
        )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_verb_is_offered_without_torch(shell: str) -> None:
    code = f"""if True:
        import sys
        from deeper.cli import main
        main(["completion", "{shell}"])
        assert "torch" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [verb for verb in VERBS if verb not in done.stdout] == [] and "--group-by" in done.stdout.replace(
        "-l ", "--"
    )


def test_the_names_are_those_of_the_catalogs() -> None:
    from deeper.export import FORMATS as formats
    from deeper.models import MODELS

    assert set(NETWORKS) == set(MODELS) and set(FORMATS) == set(formats)


def test_the_shell_is_the_users_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SHELL", "/usr/local/bin/fish")
    main(["completion"])
    assert capsys.readouterr().out.startswith("# Completion of deeper for fish")
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    with pytest.raises(SystemExit) as ended:
        main(["completion"])
    assert ended.value.code == 2 and "say deeper completion bash, or zsh, or fish" in capsys.readouterr().err
