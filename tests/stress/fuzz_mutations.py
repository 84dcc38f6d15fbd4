"""Damage to files: what disks, downloads, spreadsheets and hands do to them, and what they never did."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import numpy as np

Random = np.random.Generator
Mutation = Callable[[bytes, Random], bytes]
T = TypeVar("T")

# Cells that look like numbers, ids, words or paths, or nearly.
CELLS = (
    *("", " ", "nan", "NaN", "inf", "-inf", "None", "null", "true", "NA", "-", "?", "many", "é", "☃", "\x00"),
    *(
        "0",
        "-0",
        "1",
        "2",
        "-1",
        "1.5",
        "1.0",
        "0.5",
        ".5",
        "5.",
        "+1",
        "00",
        "007",
        "1e3",
        "1e-400",
        "1e400",
    ),
    *("0x10", "1_0", "1,5", "50%", "\uff11", "\u0663", "9223372036854775807", "9223372036854775808", "1e22"),
    *(
        "9" * 5000,
        "9" * 200_000,
        '"',
        "'",
        '"a',
        "a\nb",
        "=1+1",
        "../../etc/passwd",
        "/",
        ".",
        "~",
        "a" * 5000,
    ),
    *(
        "[",
        "{",
        "*a",
        "&a",
        "!!python/object:os.system",
        "${x}",
        "${oc.env:HOME}",
        "[]",
        "{}",
        "on",
        "@",
        "%",
    ),
)
# How files of another kind begin.
STRANGERS = (
    *(b"PK\x03\x04\x14\x00", b"\x1f\x8b\x08\x00", b"<!DOCTYPE html><html>404</html>", b"\x89PNG\r\n\x1a\n"),
    *(
        b"\xff\xd8\xff\xe0",
        b"\x89HDF\r\n\x1a\n",
        b"PAR1",
        b"SIMPLE  =",
        b"II*\x00",
        b"version https://git-lfs",
    ),
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7", "cp037")


def flip_bit(data: bytes, rng: Random) -> bytes:
    """One bit, as a failing memory or disk does."""
    return _with_byte(data, rng, lambda byte: byte ^ (1 << int(rng.integers(8))))


def flip_bits(data: bytes, rng: Random) -> bytes:
    """Up to thirty of them."""
    for _ in range(int(rng.integers(2, 30))):
        data = flip_bit(data, rng)
    return data


def flip_header_bit(data: bytes, rng: Random) -> bytes:
    """One bit among the first, where formats say what follows."""
    end = min(len(data), 200)
    return flip_bit(data[:end], rng) + data[end:]


def set_byte(data: bytes, rng: Random) -> bytes:
    """One byte to the least or the greatest, or next to them."""
    return _with_byte(data, rng, lambda _: int(rng.choice([0, 1, 127, 128, 254, 255])))


def truncate(data: bytes, rng: Random) -> bytes:
    """A download that broke off."""
    return data[: _place(data, rng)]


def lose_the_end(data: bytes, rng: Random) -> bytes:
    """The last few bytes."""
    return data[: -int(rng.integers(1, 20))]


def empty(data: bytes, rng: Random) -> bytes:
    """Nothing left."""
    return b""


def cut_out(data: bytes, rng: Random) -> bytes:
    """A piece less."""
    start, end = _piece(data, rng)
    return data[:start] + data[end:]


def insert(data: bytes, rng: Random) -> bytes:
    """Random bytes more."""
    place = _place(data, rng)
    return data[:place] + rng.bytes(int(rng.integers(1, 50))) + data[place:]


def duplicate(data: bytes, rng: Random) -> bytes:
    """A piece twice."""
    start, end = _piece(data, rng)
    return data[:end] + data[start:]


def blank(data: bytes, rng: Random) -> bytes:
    """Zeros instead of a piece: a block that never reached the disk."""
    start, end = _piece(data, rng)
    return data[:start] + bytes(end - start) + data[end:]


def zero_the_end(data: bytes, rng: Random) -> bytes:
    """A file of the right length, half written."""
    place = _place(data, rng)
    return data[:place] + bytes(len(data) - place)


def append(data: bytes, rng: Random) -> bytes:
    """Bytes after the end."""
    return data + rng.bytes(int(rng.integers(1, 3000)))


def twice(data: bytes, rng: Random) -> bytes:
    """Two files in one."""
    return data + data


def noise(data: bytes, rng: Random) -> bytes:
    """Nothing but random bytes."""
    return rng.bytes(max(1, len(data) // 2))


def stranger(data: bytes, rng: Random) -> bytes:
    """A file of another kind under this name."""
    return STRANGERS[rng.integers(len(STRANGERS))] + data[: int(rng.integers(0, 2)) * len(data)]


def drop_line(data: bytes, rng: Random) -> bytes:
    """A line less."""
    return _lines(data, rng, lambda lines, i: lines[:i] + lines[i + 1 :])


def repeat_line(data: bytes, rng: Random) -> bytes:
    """A line twice."""
    return _lines(data, rng, lambda lines, i: lines[: i + 1] + lines[i:])


def swap_lines(data: bytes, rng: Random) -> bytes:
    """Two lines in each other's place."""
    return _lines(data, rng, lambda lines, i: _swapped(lines, i, int(rng.integers(len(lines)))))


def indent_line(data: bytes, rng: Random) -> bytes:
    """A line moved to the right, which means something else in YAML."""
    by = (b" ", b"  ", b"\t")[rng.integers(3)]
    return _lines(data, rng, lambda lines, i: [*lines[:i], by + lines[i], *lines[i + 1 :]])


def change_cell(data: bytes, rng: Random) -> bytes:
    """Another value between two separators."""
    return _cell(data, rng, lambda _: CELLS[rng.integers(len(CELLS))].encode())


def empty_cell(data: bytes, rng: Random) -> bytes:
    """No value between two separators."""
    return _cell(data, rng, lambda _: b"")


def change_digit(data: bytes, rng: Random) -> bytes:
    """Another digit somewhere: the mistake that looks right."""
    places = [match.start() for match in re.finditer(rb"\d", data)]
    if not places:
        return data
    place = places[rng.integers(len(places))]
    return data[:place] + str(rng.integers(10)).encode() + data[place + 1 :]


def swap_columns(data: bytes, rng: Random) -> bytes:
    """Two columns in each other's place: in all lines, in the header, or in one other line."""
    lines = data.split(b"\n")
    width = lines[0].count(b",") + 1
    a, b = rng.integers(width, size=2).tolist()
    line = int(rng.integers(len(lines)))
    chosen = (range(len(lines)), [0], [line])[rng.integers(3)]
    for number in chosen:
        cells: list[bytes] = lines[number].split(b",")
        if len(cells) > max(a, b):
            cells = _swapped(cells, a, b)
            lines[number] = b",".join(cells)
    return b"\n".join(lines)


def drop_column(data: bytes, rng: Random) -> bytes:
    """A column less, in all lines."""
    lines = data.split(b"\n")
    column = int(rng.integers(lines[0].count(b",") + 1))
    split = [line.split(b",") for line in lines]
    return b"\n".join(b",".join(cells[:column] + cells[column + 1 :]) for cells in split)


def more_cells(data: bytes, rng: Random) -> bytes:
    """A line that is longer than the header, or an unclosed quotation."""
    extra = (b",0.5", b",", b',"', b'"', b"#", b" : x")[rng.integers(6)]
    return _lines(data, rng, lambda lines, i: [*lines[:i], lines[i] + extra, *lines[i + 1 :]])


def change_line_ends(data: bytes, rng: Random) -> bytes:
    """Those of other systems."""
    return data.replace(b"\n", (b"\r\n", b"\r", b"\n\n", b"")[rng.integers(4)])


def change_separators(data: bytes, rng: Random) -> bytes:
    """What spreadsheets of other countries write."""
    return data.replace(b",", (b";", b"\t", b"|", b", ")[rng.integers(4)])


def change_encoding(data: bytes, rng: Random) -> bytes:
    """The same text in other bytes."""
    return data.decode(errors="replace").encode(ENCODINGS[rng.integers(len(ENCODINGS))], errors="replace")


def nest_deeply(data: bytes, rng: Random) -> bytes:
    """More brackets than a parser has room for."""
    bracket = (b"[", b'{"a":', b"- ", b"(")[rng.integers(4)] * int(rng.choice([50, 3000, 100_000]))
    place = _place(data, rng) if rng.integers(2) else 0
    return data[:place] + bracket + data[place:]


OF_BYTES: tuple[Mutation, ...] = (
    *(flip_bit, flip_bits, flip_header_bit, set_byte, truncate, lose_the_end, empty, cut_out, insert),
    *(duplicate, blank, zero_the_end, append, twice, noise, stranger),
)
OF_TEXT: tuple[Mutation, ...] = (
    *OF_BYTES,
    *(drop_line, repeat_line, swap_lines, indent_line, change_cell, change_cell, change_cell, empty_cell),
    *(change_digit, swap_columns, drop_column, more_cells, change_line_ends, change_separators),
    *(change_encoding, nest_deeply),
)


def _place(data: bytes, rng: Random) -> int:
    return int(rng.integers(max(1, len(data))))


def _piece(data: bytes, rng: Random) -> tuple[int, int]:
    start = _place(data, rng)
    return start, min(len(data), start + int(rng.integers(1, max(2, len(data) // 4))))


def _with_byte(data: bytes, rng: Random, change: Callable[[int], int]) -> bytes:
    if not data:
        return data
    place = _place(data, rng)
    return data[:place] + bytes([change(data[place])]) + data[place + 1 :]


def _lines(data: bytes, rng: Random, change: Callable[[list[bytes], int], list[bytes]]) -> bytes:
    lines = data.split(b"\n")
    return b"\n".join(change(lines, int(rng.integers(len(lines)))))


def _cell(data: bytes, rng: Random, change: Callable[[bytes], bytes]) -> bytes:
    cells = list(re.finditer(rb"[^,:\[\]{}\n]+", data))
    if not cells:
        return data
    start, end = cells[rng.integers(len(cells))].span()
    return data[:start] + change(data[start:end]) + data[end:]


def _swapped(items: list[T], a: int, b: int) -> list[T]:
    items = list(items)
    items[a], items[b] = items[b], items[a]
    return items
