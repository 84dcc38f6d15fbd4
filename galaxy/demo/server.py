"""The server of the page: what it answers at which address, and what it refuses.

| address | what it answers |
| --- | --- |
| `/`, `/galaxy/ID` | the page |
| `/api/about` | the models, the questions and the limits |
| `/api/random?class=COLUMN`, `/api/surprising?rank=N`, `/api/galaxies/ID` | one galaxy |
| `/api/image/ID` | its image |
| `/api/attention/ID`, POST `/api/attention` | where the models look |
| POST `/api/predict` | what the models say about images |

Nothing that a visitor sends becomes a path. Names of galaxies and of our own files are looked up in tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib.resources import files
from typing import Any, TypeAlias

from jinja2 import Environment, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from galaxy.demo import answers
from galaxy.demo.gallery import Gallery
from galaxy.demo.incoming import RefusedError, Upload, drop, is_batch, read_batch, read_image
from galaxy.demo.queue import BusyError, Queue
from galaxy.demo.uploads import read_upload
from galaxy.images import BadImageError
from galaxy.images.crops import Pixels
from galaxy.images.decode import Decoder
from galaxy.reports.evaluation.attention import MISSING

# Answers about an image.
Say: TypeAlias = Callable[[Gallery, Pixels], dict[str, Any]]

# Visitors that may wait for galaxies, as many with uploads, and those that may wait for pictures. Others are
# sent away for some seconds.
_PLACES, _PICTURE_PLACES, _RETRY_AFTER = 16, 64, "2"
_CAREFUL = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _CAREFUL.items()]
_TYPES = {"demo.css": "text/css", "demo.js": "text/javascript"}
_REASONS = {404: "there is nothing at this address", 405: "this address does not take such requests"}


def build_app(gallery: Gallery, decode: Decoder, hosts: Sequence[str]) -> ASGIApp:
    """Builds the server.

    Args:
        gallery: The galaxies and the models.
        decode: Decodes images; it must stay open.
        hosts: The names that it may be called by; "*" for any.
    """
    server = _Server(gallery, decode)
    app = Starlette(
        routes=[
            Route("/", server.page),
            Route("/galaxy/{id:path}", server.page),
            Route("/static/{name}", server.static),
            Route("/api/about", server.about),
            Route("/api/random", server.random),
            Route("/api/surprising", server.surprising),
            Route("/api/galaxies/{id:path}", server.galaxy),
            Route("/api/image/{id:path}", server.image),
            Route("/api/attention", server.attention_of_image, methods=["POST"]),
            Route("/api/attention/{id:path}", server.attention),
            Route("/api/predict", server.predict, methods=["POST"]),
        ],
        exception_handlers={
            HTTPException: _not_found,
            RefusedError: _refused,
            BusyError: _busy,
            ClientDisconnect: _gone,
            Exception: _failed,
        },
    )
    return _Careful(TrustedHostMiddleware(app, hosts, www_redirect=False))


class _Server:
    """Answers requests about a gallery.

    The models work in one thread and the images of galaxies are read in another. The queues before them have
    few places, so the memory in use is bounded. An upload keeps its place while it comes, however slowly.
    Uploads have a queue of their own, so that galaxies are shown meanwhile.
    """

    def __init__(self, gallery: Gallery, decode: Decoder) -> None:
        self._gallery, self._decode = gallery, decode
        models, pictures = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._galaxies, self._uploads = Queue(_PLACES, models), Queue(_PLACES, models)
        self._pictures = Queue(_PICTURE_PLACES, pictures)
        folder = files("galaxy.demo") / "page"
        words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
            (folder / "demo.html").read_text(encoding="utf-8")
        )
        self._about = answers.about(gallery)
        self._page = template.render(words=words["page"], about=self._about)
        self._static = {name: (folder / name).read_bytes() for name in _TYPES}
        self._about["words"] = words

    async def page(self, request: Request) -> Response:
        """Returns the page; it finds the galaxy in its address by itself."""
        name = request.path_params.get("id")
        known = name is None or name in self._gallery.places
        return Response(self._page, 200 if known else 404, media_type="text/html")

    async def static(self, request: Request) -> Response:
        """Returns one of our own files."""
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404)
        return Response(self._static[name], media_type=_TYPES[name], headers={"Cache-Control": "no-cache"})

    async def about(self, request: Request) -> Response:
        """Returns what is the same for all galaxies."""
        return _json(self._about)

    async def random(self, request: Request) -> Response:
        """Returns a random galaxy, of those that give an answer or of all."""
        column, columns = request.query_params.get("class"), self._gallery.labels.columns
        if column is not None and column not in columns:
            raise RefusedError(404, f"there is no answer {column[:100]}; there are {', '.join(columns)}")
        place = self._gallery.draw(None if column is None else columns.index(column))
        if place is None:
            raise RefusedError(404, "no galaxy here gives this answer")
        return await self._tell(place)

    async def surprising(self, request: Request) -> Response:
        """Returns the galaxy of a rank, from 0 for the most surprising one."""
        rank = request.query_params.get("rank", "0")
        if not (rank.isascii() and rank.isdigit() and len(rank) < 10):
            raise RefusedError(400, "rank must be a whole number from 0")
        places = self._gallery.surprising
        return await self._tell(int(places[int(rank) % len(places)]))

    async def galaxy(self, request: Request) -> Response:
        """Returns a galaxy."""
        return await self._tell(self._place(request))

    async def image(self, request: Request) -> Response:
        """Returns the image of a galaxy."""
        place = self._place(request)
        with self._pictures.place() as call:
            try:
                picture = await call(self._gallery.picture, place, self._decode)
            except BadImageError:
                raise RefusedError(404, "the image of this galaxy cannot be read any more") from None
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})

    async def attention(self, request: Request) -> Response:
        """Returns where the models look in a galaxy."""
        place = self._place(request)
        self._check_attention()
        with self._galaxies.place() as call:
            return _json(await call(answers.attention_of_galaxy, self._gallery, place))

    async def attention_of_image(self, request: Request) -> Response:
        """Returns where the models look in an image that was sent."""
        self._check_attention()
        return _json(await self._of_image(request, answers.attention_of_image))

    async def predict(self, request: Request) -> Response:
        """Returns what the models say about one image, or about each of several."""
        say = partial(answers.about_image, for_page=request.query_params.get("details") == "1")
        if is_batch(request):
            found = await self._of_batch(request, say)
        else:
            found = [await self._of_image(request, say)]
        models = self._about["models"]
        return _json({"format": answers.FORMAT, "models": models, "predictions": found})

    async def _of_image(self, request: Request, say: Say) -> dict[str, Any]:
        """Answers about the only image of a request. The place is taken before the image is read."""
        with self._uploads.place() as call:
            upload = await read_image(request)
            try:
                answer: dict[str, Any] = await call(self._say, say, upload)
            except BadImageError as error:
                raise RefusedError(422, str(error)) from None
        return answer

    async def _of_batch(self, request: Request, say: Say) -> list[dict[str, Any]]:
        """Answers about each of several images; others go on where one is bad."""
        found = []
        with self._uploads.place() as call:
            for upload in await read_batch(request):
                if await request.is_disconnected():
                    raise ClientDisconnect
                try:
                    answer = await call(self._say, say, upload)
                except BadImageError as error:
                    answer = {"error": str(error)}
                found.append({"name": upload.name} | answer)
        return found

    def _say(self, say: Say, upload: Upload) -> dict[str, Any]:
        return say(self._gallery, read_upload(upload.content, self._gallery.models[0].stretch, self._decode))

    async def _tell(self, place: int) -> Response:
        with self._galaxies.place() as call:
            return _json(await call(answers.about_galaxy, self._gallery, place))

    def _place(self, request: Request) -> int:
        """Looks up the galaxy that an address names."""
        name = request.path_params["id"]
        if name not in self._gallery.places:
            raise RefusedError(404, f"no galaxy here is called {name[:100]}")
        return self._gallery.places[name]

    def _check_attention(self) -> None:
        if not self._about["attention"]:
            raise RefusedError(404, MISSING)


class _Careful:
    """Adds the headers of a careful site to every answer, whoever makes it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _json(content: dict[str, Any]) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


def _error(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": reason}, status, {"Cache-Control": "no-store", **(headers or {})})


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return _error(error.status, str(error))


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = _REASONS.get(error.status_code, "the request cannot be answered")
    return _error(error.status_code, reason, dict(error.headers or {}))


async def _busy(request: Request, error: Exception) -> Response:
    with suppress(RefusedError, ClientDisconnect):
        await drop(request)
    reason = "many people are asking at the moment: try again in some seconds"
    return _error(429, reason, {"Retry-After": _RETRY_AFTER})


async def _gone(request: Request, error: Exception) -> Response:
    return _error(400, "the visitor has gone")


async def _failed(request: Request, error: Exception) -> Response:
    """Starlette raises the error again after this, so that the log has all of it."""
    return _error(500, "something went wrong here")
