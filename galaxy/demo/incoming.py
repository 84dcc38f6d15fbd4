"""Reads what visitors send: slowly or quickly, and never more than the limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from galaxy.demo.uploads import LARGEST_REQUEST, MOST_IMAGES

# A request must have come in this many seconds.
_SECONDS = 30
# So many bytes of a request that is refused are read and dropped, because a browser that is still sending
# would not read the answer.
_DROPPED = 4 * LARGEST_REQUEST
_LONGEST_NAME = 100
_NO_FORM = "the request is no form with files (multipart/form-data)"


class RefusedError(Exception):
    """A request cannot be answered.

    Args:
        status: The status of HTTP.
        reason: What is wrong, in words.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Upload:
    """A file that somebody has sent.

    Attributes:
        name: What the sender calls it; it is shown and never used.
        content: Its bytes.
    """

    name: str
    content: bytes


def is_batch(request: Request) -> bool:
    """Whether a request holds several files, or one in the form of several."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_image(request: Request) -> Upload:
    """Reads the only image of a request, which is its whole body.

    Raises:
        RefusedError: It is too large or comes too slowly.
    """
    async with _in_time():
        return Upload("", b"".join([chunk async for chunk in _chunks(request)]))


async def read_batch(request: Request) -> list[Upload]:
    """Reads the images of a request, whose body is a form of files.

    Raises:
        RefusedError: There are none or too many, they are too large or come too slowly, or it is no form.
    """
    async with _in_time():
        parser = _InMemory(request.headers, _chunks(request), max_files=MOST_IMAGES, max_fields=0)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if "Too many" in error.message:
                reason = f"a batch has at most {MOST_IMAGES} images, and nothing but files"
                raise RefusedError(413, reason) from None
            raise RefusedError(400, _NO_FORM) from None
        except UnicodeError:  # the sender may name any encoding of Python's, and some raise it
            raise RefusedError(400, _NO_FORM) from None
    files = [file for _, file in form.multi_items() if isinstance(file, UploadFile)]
    uploads = [Upload(_shown(file.filename or ""), await file.read()) for file in files]
    await form.close()
    if not uploads:
        raise RefusedError(400, "the form holds no file")
    return uploads


async def drop(request: Request) -> None:
    """Reads the rest of a request that is refused, up to a limit, and keeps nothing of it."""
    dropped = 0
    async with _in_time():
        async for chunk in request.stream():
            dropped += len(chunk)
            if dropped > _DROPPED:
                return


class _InMemory(MultiPartParser):
    """Keeps files in memory; the limit of the request is that of their sizes. Others go to the disk."""

    spool_max_size = LARGEST_REQUEST + 1


async def _chunks(request: Request) -> AsyncGenerator[bytes, None]:
    """Yields the body; of one that is too large, the rest is dropped."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= LARGEST_REQUEST:
            yield chunk
        elif size > _DROPPED:
            break
    if size > LARGEST_REQUEST:
        raise RefusedError(413, f"more than {LARGEST_REQUEST // 2**20} MiB were sent")


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_SECONDS):
            yield
    except TimeoutError:
        raise RefusedError(408, f"the image did not come within {_SECONDS} seconds") from None


def _shown(name: str) -> str:
    """Returns a name without what cannot be shown."""
    return "".join(letter for letter in name if letter.isprintable())[:_LONGEST_NAME]
