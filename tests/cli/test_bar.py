"""Progress of long work where there is no terminal: lines now and then, nothing where it is soon over."""

from __future__ import annotations

from deeper.cli import bar


def test_a_pipe_gets_a_line_now_and_then(monkeypatch, capsys) -> None:
    now = [100.0]
    monkeypatch.setattr(bar.time, "monotonic", lambda: now[0])
    with bar.bars() as progress:
        for second in range(0, 70, 10):
            now[0] = 100.0 + second
            progress("training the judge", second * 100, 7_000)
        now[0] = 200.0
        progress("reading", 5, None)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "training the judge: 3,000 of 7,000 after 30 s",
        "training the judge: 6,000 of 7,000 after 60 s",
        "reading: 5 after 100 s",
    ]


def test_what_is_soon_over_says_nothing_and_so_does_what_is_not_shown(monkeypatch, capsys) -> None:
    now = [0.0]
    monkeypatch.setattr(bar.time, "monotonic", lambda: now[0])
    with bar.bar("reading") as moved:
        now[0] = 29.0
        moved(10, 10)
    with bar.bar("reading", show=False) as moved:
        now[0] = 1000.0
        moved(10, 10)
    assert capsys.readouterr().err == ""
