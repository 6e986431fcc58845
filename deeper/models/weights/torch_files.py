"""Files of `torch.save` and of safetensors.

A file of `torch.save` is a program for Python's pickle. What it would call is looked at before anything runs: a state
dict needs a handful of names, and any other is refused by name. `torch.load(weights_only=True)`, which has a list of
its own, is the second lock. What training scripts keep beside the weights, their arguments and scores, is stepped over:
it is never built.
"""

from __future__ import annotations

import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from deeper.errors import WeightsError, printable
from deeper.models.weights.opened import LARGEST, Opened, damaged

# What a state dict, alone or in a training script's checkpoint, is built from.
_ALLOWED = re.compile(
    r"collections (OrderedDict|Counter)|torch\._utils _rebuild_(tensor_v2|parameter)|torch\.nn\.parameter Parameter"
    r"|torch (\w+Storage|Size|device|float\d*|bfloat16|double|half|u?int\d+|long)|torch\.storage (Untyped|Typed)Storage"
    r"|argparse Namespace|__builtin__ set|builtins set|numpy dtype|numpy\._?core\.multiarray scalar|_codecs encode"
)
# Of `torch.optim.swa_utils.AveragedModel`, which torchvision's training script saves as `model_ema`.
_COUNTER = "n_averaged"
# Of the program itself, without the numbers: 1,000 names with shapes take 100 kB.
_LARGEST_PROGRAM = 16 << 20
# Where training scripts put the weights in their checkpoints; averaged ones first, which is what was evaluated.
_PLACES = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net", "network", "weights")
# What wrappers put before every name.
_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.|model\.)+")


class _SteppedOver:
    """Stands in for what is not read, and takes whatever a file would build it from. The real ones are not all
    harmless: numpy believes a dtype's state, and a scalar's bytes."""

    def __new__(cls, *_: object) -> Self:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


_STEPPED_OVER = ("argparse.Namespace", "numpy.dtype", "numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")


def is_torch(head: bytes) -> bool:
    """Whether a file that begins so is one of `torch.save`: a zip archive, or the pickle of before 1.6."""
    return head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04"))


def read_safetensors(path: Path) -> Opened:
    """Raises: WeightsError."""
    try:
        loaded = dict(load_file(path))
    except (SafetensorError, ValueError, KeyError, RuntimeError, OSError, MemoryError) as error:
        raise damaged(path, f"no sound safetensors file ({printable(error, 80)})") from None
    weights, left = _weights_in(path, loaded)
    return Opened("torch", "safetensors", weights, left)


def read_torch(path: Path) -> Opened:
    """Raises: WeightsError, for a file that is damaged, holds no weights, or would run something."""
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        _check_archive(path)
    try:
        with (
            warnings.catch_warnings(),
            torch.serialization.safe_globals([(_SteppedOver, name) for name in _STEPPED_OVER]),
        ):
            warnings.simplefilter("ignore")  # a file can be made to warn of anything
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a made-up program leads to
        text = " ".join(str(error).split())
        if found := re.search(r"GLOBAL ([\w.]+)", text):
            raise _refused(path, found[1]) from None
        raise damaged(path, f"no sound file of torch.save ({printable(_short(text, error), 120)})") from None
    weights, left = _weights_in(path, loaded)
    return Opened("torch", "torch.save", weights, left)


def _short(text: str, error: Exception) -> str:
    # torch explains itself in a paragraph; its first sentence says what is wrong.
    return re.split(r"(?<=[a-z)])[.;:] ", text)[0] or type(error).__name__


def _refused(path: Path, name: str) -> WeightsError:
    return WeightsError(
        f"the weights {printable(path)} are refused: opening them would call {printable(name, 80)}, which no weights need; "
        "nothing of it was run. Take weights saved as a state dict, or safetensors"
    )


def _check_archive(path: Path) -> None:
    """Look at the archive and the program in it. Raises: WeightsError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            # torch stores what it writes unpacked; an archive that unpacks to more than it is was made for harm.
            if sum(member.file_size for member in members) > min(LARGEST, path.stat().st_size):
                raise damaged(path, "its archive would unpack to more than the file holds")
            programs = [member for member in members if member.filename.endswith(".pkl")]
            if not programs:
                raise damaged(path, "an archive, but none of torch.save")
            for member in programs:
                if member.file_size > _LARGEST_PROGRAM:
                    raise damaged(path, f"{printable(member.filename)} is too large for a list of weights")
                _check_program(path, archive.read(member))
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise damaged(path, f"its archive is cut off or changed ({printable(error, 80)})") from None


def _check_program(path: Path, program: bytes) -> None:
    """Raises: WeightsError, when the pickle names anything that no state dict needs; ValueError, when it is damaged."""
    texts: list[str] = []
    # Of protocol 4, where names are texts on the stack: said once, and fetched from the memo after that.
    last: str | None = None
    memo: dict[int, str | None] = {}
    for code, argument, _ in pickletools.genops(program):
        if code.name in ("GLOBAL", "INST"):
            given = str(argument)
        elif code.name == "STACK_GLOBAL":
            given = " ".join(texts[-2:])
        else:
            if code.name == "MEMOIZE":
                memo[len(memo)] = last
            elif code.name.endswith("PUT"):
                memo[int(str(argument))] = last
            else:
                got = memo.get(int(str(argument))) if code.name.endswith("GET") else argument
                last = got if isinstance(got, str) else None
                texts += [] if last is None else [last]
            continue
        if not _ALLOWED.fullmatch(given):
            raise _refused(path, given.replace(" ", "."))


def _weights_in(path: Path, loaded: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """(the state dict in what was loaded, what else there is). Raises: WeightsError, when there is none."""
    left: list[str] = []
    if isinstance(loaded, Mapping):
        # Before the whole is taken for one: a loss that is a tensor may lie beside the state dict.
        place = next((name for name in _PLACES if _is_state(loaded.get(name))), None)
        if place is not None:
            left = [str(name) for name in loaded if name != place]
            loaded = loaded[place]
    if not _is_state(loaded):
        raise damaged(path, f"no state dict in it, but {printable(type(loaded).__name__, 40)}; save model.state_dict()")
    weights: dict[str, Tensor] = {}
    for name, tensor in loaded.items():
        if isinstance(tensor, Tensor) and name != _COUNTER:
            plain = _WRAPPERS.sub("", str(name))
            if plain in weights:
                raise damaged(
                    path, f"two weights for {printable(plain, 80)}, one of them as {printable(str(name), 80)}"
                )
            weights[plain] = tensor
        else:
            left.append(str(name))
    return weights, tuple(left)


def _is_state(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(tensor, Tensor) for tensor in value.values())
