"""`deeper completion`: what Tab offers after `deeper`, as a script for the shell.

The scripts are plain lists, made from the verbs' own `Arguments`: pressing Tab starts no Python.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import tyro

from deeper.cli import VERBS
from deeper.cli.flags import Flag, arguments_of, flags_of
from deeper.errors import UsageError

# Read from the catalog these would cost the start of torch, a second in each new shell; a test compares them with it.
NETWORKS = (
    "nielsen",
    "inception_small",
    "inception_v1",
    "inception_v2",
    "inception_v3",
    "inception_v4",
    "inception_resnet_v2",
)
FORMATS = ("onnx", "openvino", "openvino-int8", "torch-export", "savedmodel")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Print a script that teaches your shell to complete verbs, flags, names and paths after `deeper`.

    Example: source <(deeper completion bash)

    Put that line into ~/.bashrc; with zsh instead of bash into ~/.zshrc. For fish, once:
    deeper completion fish > ~/.config/fish/completions/deeper.fish
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"] | None] = None
    """The one that $SHELL names when not given."""


def main(arguments: Arguments) -> None:
    """Print the script. Raises: UsageError, where no shell is given and $SHELL names none of the three."""
    shell = arguments.shell or PurePath(os.environ.get("SHELL", "")).name
    if shell not in _SCRIPTS:
        raise UsageError("for which shell? $SHELL names none of them; say deeper completion bash, or zsh, or fish")
    print(_SCRIPTS[shell]({verb: _with_names(verb, flags_of(arguments_of(verb))) for verb in VERBS}))


def _with_names(verb: str, flags: tuple[Flag, ...]) -> tuple[tuple[Flag, tuple[str, ...]], ...]:
    """Each flag with the values that are offered for it: its own choices, or names that it is likely to get."""
    from deeper.distortions import names as distortions
    from deeper.training.recipes import names as recipes

    likely = {
        "--model": NETWORKS,
        "--recipe": tuple(recipes()),
        "--distort": distortions(),
        "--no-distort": ("all", *distortions()),
        "--to": FORMATS,
        "--split": ("train", "validation", "test", *(("all",) if verb in ("evaluate", "compare") else ())),
        "--checkpoint": ("best", "last"),
        "--device": ("auto", "cpu", "cuda"),
    }
    return tuple((flag, flag.choices or likely.get(flag.name, ())) for flag in flags)


Offers = dict[str, tuple[tuple[Flag, tuple[str, ...]], ...]]
# What stands behind a verb without a flag, where it is no path.
_POSITIONALS = {"models": NETWORKS, "completion": ("bash", "zsh", "fish")}


def _bash(offers: Offers) -> str:
    """Works from bash 3.2, which macOS has, on. Where nothing is listed readline completes paths."""
    flags, values = [], []
    for verb, offered in offers.items():
        flags.append(f"            {verb}) words={_quoted(*(flag.name for flag, _ in offered), '--help')} ;;")
        for flag, choices in offered:
            if flag.takes_value:
                words = f"words={_quoted(*choices)}" if choices else ":"
                values.append(f"        '{verb} {flag.name}') {words} ;;")
    names = [f"            {verb}) words={_quoted(*words)} ;;" for verb, words in _POSITIONALS.items()]
    return "\n".join(
        [
            "# Completion of deeper for bash. In ~/.bashrc: source <(deeper completion bash)",
            "_deeper() {",
            '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
            '    local verb="${COMP_WORDS[1]}" words=""',
            "    COMPREPLY=()",
            '    if [ "$COMP_CWORD" -eq 1 ]; then',
            f"        words={_quoted(*offers, '--help', '--version')}",
            "    else",
            '        case "$verb $previous" in',
            *values,
            '        *) case "$current" in',
            '        -*) case "$verb" in',
            *flags,
            "            esac ;;",
            '        *) case "$verb" in',
            *names,
            "            esac ;;",
            "        esac ;;",
            "        esac",
            "    fi",
            '    if [ -n "$words" ]; then COMPREPLY=( $(compgen -W "$words" -- "$current") ); fi',
            "}",
            "complete -o default -F _deeper deeper",
        ]
    )


def _zsh(offers: Offers) -> str:
    lines = [
        "#compdef deeper",
        "# Completion of deeper for zsh. In ~/.zshrc: source <(deeper completion zsh)",
        "_deeper() {",
        "    local -a verbs=(",
        *(f"        {shlex.quote(verb + ':' + what)}" for verb, what in VERBS.items()),
        "    )",
        "    if (( CURRENT == 2 )); then _describe -t verbs verb verbs; return; fi",
        "    shift words; (( CURRENT-- ))",
        "    case $words[1] in",
    ]
    for verb, offered in offers.items():
        lines.append(f"    {verb}) _arguments \\")
        for flag, choices in offered:
            what = flag.what.replace("\\", "").replace("[", "(").replace("]", ")")
            action = f"({' '.join(choices)})" if choices else "_files"
            text = f"{'*' if flag.repeatable else ''}{flag.name}[{what}]" + (f": :{action}" if flag.takes_value else "")
            lines.append(f"        {shlex.quote(text)} \\")
        names = _POSITIONALS.get(verb)
        lines.append(f"        {shlex.quote('*: :' + (f'({chr(32).join(names)})' if names else '_files'))} ;;")
    return "\n".join(
        [
            *lines,
            "    esac",
            "}",
            "# As a file of $fpath this is the function's body; sourced, it registers itself.",
            'if [ "${funcstack[1]}" = _deeper ]; then',
            '    _deeper "$@"',
            "else",
            "    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }",
            "    compdef _deeper deeper",
            "fi",
        ]
    )


def _fish(offers: Offers) -> str:
    lines = [
        "# Completion of deeper for fish. Once: deeper completion fish > ~/.config/fish/completions/deeper.fish",
        "function __deeper_verb",
        "    set -l words (commandline -opc)",
        '    test (count $words) -ge 2; and test "$words[2]" = "$argv[1]"',
        "end",
        "function __deeper_no_verb",
        "    test (count (commandline -opc)) -eq 1",
        "end",
    ]
    for verb, what in VERBS.items():
        lines.append(f"complete -c deeper -f -n __deeper_no_verb -a {verb} -d {_fish_quoted(what)}")
    for verb, offered in offers.items():
        head = f"complete -c deeper -n '__deeper_verb {verb}'"
        if verb in _POSITIONALS:
            lines.append(f"{head} -f -a {_fish_quoted(' '.join(_POSITIONALS[verb]))}")
        for flag, choices in offered:
            value = f" -x -a {_fish_quoted(' '.join(choices))}" if choices else " -r -F" if flag.takes_value else ""
            lines.append(f"{head} -l {flag.name[2:]}{value} -d {_fish_quoted(flag.what)}")
    return "\n".join(lines)


def _quoted(*words: str) -> str:
    return shlex.quote(" ".join(words))


def _fish_quoted(text: str) -> str:
    """fish knows backslashes inside single quotes, which `shlex.quote` does not write."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
