"""`deeper serve`."""

from __future__ import annotations

import ipaddress
import logging
import math
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import tyro

from deeper.errors import DeeperError, MissingExtraError, UsageError, how_to_install, printable

_TOKEN = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Serve trained runs: a page for people, POST /predict, the Open Inference Protocol v2, TensorFlow Serving's REST.

    Binds to loopback unless told otherwise. Ctrl-C or SIGTERM: what was taken is answered, then it ends.

    Example: deeper serve runs/first cats=runs/second --port 8000
    """

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Runs, bundles or exports; a model is named after its folder unless named: NAME=RUN."""
    host: str = "127.0.0.1"
    """0.0.0.0 lets other machines connect; say also under which name or address they ask (--allow-host NAME, else they
    get 421), and give a --token-file."""
    port: int = 8000
    """0: any free one."""
    engine: Literal["auto", "torch", "openvino", "onnx"] = "auto"
    """What runs the network; auto takes a current OpenVINO export."""
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    """auto is fp32, or what an export was made in."""
    largest_batch: int = 64
    """Pictures that the engine gets at once."""
    wait: float = 3.0
    """Milliseconds that a first picture waits for others."""
    queue: int = 256
    """Pictures that may wait; more are refused with 503 at once."""
    timeout: float = 30.0
    """Seconds for one request."""
    largest_body: float = 32.0
    """Megabytes of a request, also unpacked."""
    bodies: float = 512.0
    """Megabytes of all requests that are being read or answered; more are refused with 503."""
    max_pixels: float = 50.0
    """Megapixels of one picture."""
    connections: int = 1000
    """Clients that may be connected at once."""
    token_file: Path | None = None
    """A file with the bearer token that every request must bring; or DEEPER_TOKEN in the environment."""
    allow_host: tuple[str, ...] = ()
    """Further names under which clients may ask, such as a machine's; * for any."""
    allow_origin: tuple[str, ...] = ()
    """Origins whose pages may ask (CORS); none by default."""
    model: str | None = None
    """The import path of a network of your own, where a bundle needs it."""


def main(arguments: Arguments) -> None:
    """Open, bind, serve."""
    if not arguments.runs:
        raise UsageError("name at least one run: deeper serve runs/first")
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise MissingExtraError(f"the server needs extra packages: {how_to_install('serve')}") from None
    from deeper.prediction import Classifier
    from deeper.serving import Hosted, Models, ServingOptions, application
    from deeper.web import Limits, log_as_json, run
    from deeper.web.running import bound

    _check_numbers(arguments)
    token = _token(arguments)
    everywhere = arguments.host in ("0.0.0.0", "::", "")
    # As clients write it: an IPv6 address at its shortest, and without the interface of a link-local one.
    plain, _, zone = arguments.host.partition("%")
    host = f"[{_shortest(plain)}]" if ":" in plain else arguments.host
    options = ServingOptions(
        largest_batch=arguments.largest_batch,
        wait=arguments.wait / 1000,
        queue=arguments.queue,
        seconds=arguments.timeout,
        largest_body=_millions("--largest-body", arguments.largest_body),
        bodies=_millions("--bodies", arguments.bodies),
        largest_picture=_millions("--max-pixels", arguments.max_pixels),
        hosts=(*map(_host, arguments.allow_host), *([] if everywhere else [host])),
        origins=tuple(map(_origin, arguments.allow_origin)),
        token=token,
    )
    # A drain waits for whatever may take its time, a request as well as what is still being sent.
    limits = Limits(connections=arguments.connections, drain_seconds=max(30.0, arguments.timeout + 5))

    one_alone = len(arguments.runs) == 1

    def opened(path: Path) -> Classifier:
        return Classifier(
            path,
            engine=arguments.engine,
            precision=arguments.precision,
            model=arguments.model if one_alone or _is_own(path) else None,
            batch=max(arguments.largest_batch, 1),
        )

    named = [_named(run) for run in arguments.runs]
    if arguments.model is not None and not one_alone and not any(_is_own(path) for _, path in named):
        raise UsageError(
            f"--model {printable(arguments.model)}: none of these runs holds a network of your own; leave it out"
        )
    # Bound first: a taken port is told before a model is loaded.
    listening = bound(arguments.host, arguments.port)
    hosted = [Hosted(name, path, opened) for name, path in named]
    models = Models(hosted)
    log_as_json(sys.stderr)
    # Of all addresses, the one that a browser on this machine may open.
    shown = ("[::1]" if ":" in host else "127.0.0.1") if everywhere else host
    if zone:
        shown = shown.replace("]", f"%25{zone}]")  # RFC 6874
    address = f"http://{shown}:{listening.getsockname()[1]}"
    for one in hosted:
        opened_by = one.current.classifier
        print(f"{printable(one.name)}: {opened_by.engine} {opened_by.precision}, {printable(one.path)}")
    if everywhere and not arguments.allow_host:
        print("other machines can connect but get 421: allow the name or address that they use with --allow-host NAME")
    if arguments.host not in ("127.0.0.1", "localhost", "::1") and token is None:
        logging.getLogger("deeper.serving").warning("anyone who can reach this address can ask: consider --token-file")
    # Told last: who reads the address may ask at once, and end the server by Ctrl-C.
    run(
        application(models, options),
        listening,
        limits,
        lambda: print(f"serving on {address}  (Ctrl-C ends)", flush=True),
    )


def _is_own(path: Path) -> bool:
    """Whether a run or bundle holds a network of somebody's own; False where opening it will say what is wrong."""
    from deeper.bundle import read_info
    from deeper.engines import find_bundle

    try:
        return ":" in read_info(find_bundle(path)).architecture.model
    except DeeperError:
        return False


def _check_numbers(arguments: Arguments) -> None:
    """By the names of the flags; `ServingOptions` and `Limits` know their own only. Raises: UsageError."""
    wholes = {
        "--largest-batch": arguments.largest_batch,
        "--queue": arguments.queue,
        "--connections": arguments.connections,
    }
    for flag, number in wholes.items():
        if number < 1:
            raise UsageError(f"{flag}: wanted at least 1, got {number}")
    # Not `< 0`: NaN must not pass, which float("nan") is taken for.
    if not 0 <= arguments.wait < math.inf:
        raise UsageError(f"--wait: wanted milliseconds from 0, got {arguments.wait:g}")
    if not 0 < arguments.timeout < math.inf:
        raise UsageError(f"--timeout: wanted seconds above 0, got {arguments.timeout:g}")


def _millions(flag: str, number: float) -> int:
    if not 1e-6 <= number < 1e9:
        raise UsageError(f"{flag}: wanted millions, above 0, got {number:g}")
    return int(number * 1e6)


def _shortest(address: str) -> str:
    try:
        return ipaddress.IPv6Address(address).compressed
    except ValueError:
        return address  # refused when it is bound


def _host(given: str) -> str:
    """As a Host header names it, without its port."""
    plain = given.strip("[]")
    if ":" in plain:
        try:
            return f"[{ipaddress.IPv6Address(plain).compressed}]"
        except ValueError:
            raise UsageError(
                f"--allow-host {printable(given)}: wanted a name or an address alone, without scheme and port"
            ) from None
    if not plain or "/" in plain:
        raise UsageError(f"--allow-host {printable(given)}: wanted a name or an address, or * for any")
    return given


def _origin(given: str) -> str:
    """As a browser writes it: scheme, name and port, nothing else."""
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise UsageError(f"--allow-origin {printable(given)}: wanted scheme and name, such as https://photos.example")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{name}" + (f":{port}" if port not in (None, usual) else "")


def _named(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    # `runs/lr=0.1` is a path, also where nothing is there.
    if equals and name and not os.path.exists(text) and ("/" not in name or os.path.exists(path)):
        return name, Path(path)
    place = Path(text)
    resolved = place.resolve()
    # A bundle inside a run is known by the run.
    return (resolved.parent.name if resolved.name == "bundle" else resolved.name), place


def _token(arguments: Arguments) -> str | None:
    if arguments.token_file is None:
        where, token = "DEEPER_TOKEN", os.environ.get("DEEPER_TOKEN", "").strip()
        if not token:
            return None
    else:
        where = f"--token-file {printable(arguments.token_file)}"
        try:
            token = arguments.token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"{where}: {(error.strerror or '').lower()}") from None
        except UnicodeDecodeError:
            token = "\0"
        if not token:
            raise UsageError(f"{where} is empty")
    # A header holds no other characters; a token with any of them would never match.
    if not _TOKEN.fullmatch(token):
        raise UsageError(
            f"{where} holds no token: wanted one line of plain letters, digits and signs, such as hexadecimal"
        )
    return token
