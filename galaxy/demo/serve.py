"""Offers the page at an address until somebody presses Ctrl-C."""

from __future__ import annotations

import importlib.util
import ipaddress
import socket
from typing import TYPE_CHECKING

from galaxy.system.errors import UserError

if TYPE_CHECKING:
    from galaxy.demo.gallery import Gallery

# Connections beyond this number are answered with 503.
_MOST_CONNECTIONS = 256
# The bytes of a request's headers that are waited for.
_LARGEST_HEADERS = 2**14
_PACKAGES = {"starlette": "starlette", "uvicorn": "uvicorn", "python-multipart": "python_multipart"}


def listen(host: str, port: int) -> socket.socket:
    """Takes the address, so that a mistake is said before anything is read.

    Raises:
        UserError: A package is missing, or the address is taken or none of this machine.
    """
    missing = [name for name, module in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(
            f"galaxy demo needs {', '.join(missing)}, which is not installed.\n"
            "Install it: pip install 'galaxy-morphology[demo]'"
        )
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except socket.gaierror:
        raise UserError(
            f"host={host} is no address of this machine: use 127.0.0.1 for this machine alone, or 0.0.0.0 "
            "for everybody who can reach it"
        ) from None
    except OSError as error:
        raise UserError(
            f"the page cannot be offered at host={host} port={port}: {error.strerror or error}. Give another "
            "port (0 takes any that is free)"
        ) from None


def address(listener: socket.socket) -> str:
    """Returns the address of the page, as a browser on this machine takes it."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def hosts(listener: socket.socket) -> list[str]:
    """Returns the names that a browser may know the server by; any if more than this machine can reach it.

    A page of somebody else could otherwise have its own name point here, and read what this server answers.
    """
    host = listener.getsockname()[0]
    if ipaddress.ip_address(host).is_loopback:
        return ["localhost", "127.0.0.1", "[::1]", host]
    return ["*"]


def serve(gallery: Gallery, listener: socket.socket) -> None:
    """Serves the page until Ctrl-C."""
    import uvicorn  # noqa: PLC0415  an optional library

    from galaxy.demo.server import build_app  # noqa: PLC0415
    from galaxy.images.decode import Decoder  # noqa: PLC0415

    with Decoder() as decode:
        config = uvicorn.Config(
            build_app(gallery, decode, hosts(listener)),
            http="h11",
            h11_max_incomplete_event_size=_LARGEST_HEADERS,
            ws="none",
            lifespan="off",
            log_level="warning",
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=3,
        )
        uvicorn.Server(config).run(sockets=[listener])
