"""What a newcomer meets first: the greeting, the help with its examples, and one line for what cannot be parsed."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import shlex
import subprocess
import sys

import pytest

from deeper.cli import VERBS, greeting, help_text, main
from deeper.cli.flags import arguments_of, flags_of
from deeper.cli.parsing import parse

FIELDS_OF_COMMANDS = r"deeper [a-z-]+ .*?(?=  |$)"


def examples(verb: str) -> list[str]:
    """The commands after `Example:` in a verb's help, which end with their paragraph; `;` separates two."""
    text = inspect.getdoc(arguments_of(verb)) or ""
    found = re.search(r"Example: (.*?)(?:\n\n|$)", text, re.DOTALL)
    if found is None:
        return []
    lines = " ".join(found[1].split())
    if inner := re.fullmatch(r"source <\((.*)\)", lines):
        lines = inner[1]
    return [command.strip() for command in lines.split("; ")]


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_has_an_example_whose_flags_exist(verb: str) -> None:
    commands = examples(verb)
    assert commands and any(command.split()[1] == verb for command in commands)
    for command in commands:
        program, named, *rest = shlex.split(command)
        assert program == "deeper"
        assert dataclasses.is_dataclass(parse(arguments_of(named), rest, f"deeper {named}"))


def test_an_example_with_a_wrong_flag_would_be_seen() -> None:
    from deeper.errors import UsageError

    with pytest.raises(UsageError, match="--size-of"):
        parse(arguments_of("train"), shlex.split("datasets/mine --size-of 3"), "deeper train")


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_names_all_flags_and_no_other(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments_of(verb), ["--help"], f"deeper {verb}")
    shown = set(re.findall(r"^(?:│ |  )(?:-h, )?(--[\w-]+)", capsys.readouterr().out, re.MULTILINE))
    assert ended.value.code == 0
    assert shown == {"--help", *(flag.name for flag in flags_of(arguments_of(verb)))}


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_is_explained(verb: str) -> None:
    unexplained = [flag.name for flag in flags_of(arguments_of(verb)) if not flag.what]
    assert unexplained == []


def test_deeper_alone_greets(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    said = capsys.readouterr().out
    assert said.strip() == greeting() and len(said.splitlines()) <= 12 and max(map(len, said.splitlines())) <= 110
    assert "deeper --help" in said
    main(["--help"])
    assert capsys.readouterr().out.strip() == help_text()


@pytest.mark.parametrize("text", [greeting(), help_text()])
def test_every_command_that_is_shown_can_be_typed(text: str) -> None:
    commands = [
        command for command in re.findall(FIELDS_OF_COMMANDS, text, re.MULTILINE) if command.split()[1] in VERBS
    ]
    assert len(commands) >= 5
    for command in commands:
        words = shlex.split(command)
        parse(arguments_of(words[1]), words[2:], f"deeper {words[1]}")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("tarin mnist", "no such verb; did you mean 'train'?"),
        ("helpp", "no such verb"),
        ("train --epoch 3 mnist", "there is no option --epoch; did you mean --epochs? (see deeper train --help)"),
        ("train -e 3 mnist", "there is no option -e"),
        ("train a b c", "nothing more was wanted, got b, c"),
        ("train mnist --seed", "--seed needs a value"),
        ("train mnist --seed x", "--seed: wanted a whole number, got 'x'"),
        ("train mnist --epochs x", "--epochs: wanted a number, got 'x'"),
        ("train mnist --optimizer adam", "--optimizer: wanted one of 'adamw', 'rmsprop', 'sgd', got 'adam'"),
        ("build photos --shape 28", "--shape: wanted {INT INT}|{INT INT INT}, got '28'"),
        ("build photos --shape", "got nothing"),
        ("predict", "missing RUN: A run folder or a bundle (see deeper predict --help)"),
        ("completion tcsh", "wanted one of 'bash', 'fish', 'zsh', got 'tcsh'"),
    ],
)
def test_what_cannot_be_parsed_is_one_line(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.out == ""
    assert says in said.err and said.err.count("\n") == 1 and said.err.rstrip().endswith(")")


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        ("evaluate --help", "RUN [SOURCE]"),
        ("evaluate runs/first photos --help", "RUN [SOURCE]"),
        ("predict -h runs/first", "RUN PATH ..."),
        ("train --epochs x --help", "[SOURCE]"),
        ("completion --help", "[{bash,zsh,fish}]"),
    ],
)
def test_help_is_the_whole_verbs_and_calls_things_by_name(
    words: str, usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    said = capsys.readouterr().out
    assert ended.value.code == 0
    first = said.splitlines()[0].replace(" [OPTIONS]", "")
    assert first == f"usage: deeper {words.split()[0]} [-h] {usage}"


@pytest.mark.parametrize("words", ["--help", "train --help", "models", "models --json"])
def test_a_reader_that_leaves_is_no_error(words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # gone before the first word
    done = subprocess.run([sys.executable, "-m", "deeper", *words.split()], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert done.returncode == 0 and done.stderr == b""


@pytest.mark.parametrize("words", ["models", "models --json"])
def test_output_that_cannot_be_written_is_one_line(words: str) -> None:
    done = subprocess.run(f"{sys.executable} -m deeper {words} > /dev/full", shell=True, capture_output=True, text=True)
    assert done.returncode == 9 and done.stderr.count("\n") == 1 and "No space left on device" in done.stderr


@pytest.mark.parametrize("words", ["", "--help", "models"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_our_signs_gets_others(words: str, encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deeper", *words.split()],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0 and done.stderr == b"" and len(done.stdout) > 200


def test_help_of_a_verb_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["help", "train"])
    assert ended.value.code == 0 and "--recipe" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("export run --to onnx --limit 5", "--limit goes with --report"),
        ("export run --to onnx --split test", "--split goes with --report"),
        ("export run --to onnx --allow-changed 0.1", "--allow-changed goes with --to openvino-int8"),
        ("inspect run --seeds 9", "--seeds goes with --ablate"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2 and says in capsys.readouterr().err


@pytest.mark.parametrize("words", ["help trian", "help --help", "help parsing", "help help", "help"])
def test_help_of_no_verb_is_the_whole_help(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(words.split())
    assert capsys.readouterr().out.strip() == help_text()
