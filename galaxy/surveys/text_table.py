"""Tables in text files: how one is written, found out from the file or said by the user, and its columns."""

from __future__ import annotations

import codecs
import csv
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Literal, NoReturn

import pandas as pd

from galaxy.surveys.ids import written
from galaxy.surveys.packed import open_bytes, open_text
from galaxy.surveys.written_numbers import MISSING, NUMBER, with_points
from galaxy.system.errors import listing

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " "}
# The first bytes of a file in one of these encodings, the longer ones first.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Lines that are drawn between rows (`---+---`, `|:--|--:|`, `====  ===`), and what a database writes below.
_RULE = re.compile(r"[\s|,;+:]*[-=]+[-=\s|,;+:]*")
_FOOTER = re.compile(r"\(\d+ rows?\)", re.IGNORECASE)
# The separator is found in this many lines below the comments at the beginning.
_HEAD = 200
# The first characters of lines that may be no rows.
_ODD = frozenset("-=|+: #(")
# Excel writes the separator into a first line such as `sep=;`.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?')
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextStyle:
    """How a text table is written. None leaves a part to be found out from the file.

    Attributes:
        separator: What stands between two values. "space" is any number of spaces or tabs.
        decimal: What stands before the decimals of a number.
        encoding: The encoding as Python calls it, such as "cp1252". Without it the file is UTF-8, or UTF-16
            or UTF-32 if it begins with a byte order mark.
        header_line: The line of the names of the columns, from 1. Lines before it are ignored.

    Raises:
        ValueError: The encoding is unknown, or the line is below 1.
    """

    separator: Literal["comma", "semicolon", "tab", "bar", "space"] | None = None
    decimal: Literal["point", "comma"] | None = None
    encoding: str | None = None
    header_line: int | None = None

    def __post_init__(self) -> None:
        if self.encoding is not None:
            try:
                "".encode(self.encoding)  # unlike `codecs.lookup`, this knows encodings of text only
            except LookupError:
                raise ValueError(
                    f"encoding is {self.encoding}; it must be one that Python knows, such as utf-8, utf-16, "
                    "cp1252 (Windows) or latin-1"
                ) from None
        if self.header_line is not None and self.header_line < 1:
            raise ValueError(f"header_line is {self.header_line}; it must be 1 or more")


class TextTable:
    """A text table whose header has been read.

    Args:
        path: The file; see `open_text`.
        style: What the user says about it.
        published: Whether the file is a published one. Its last line must then be whole.

    Attributes:
        header: The names of the columns.
        place: The word for the place of a row.

    Raises:
        ValueError: The file is no text table, or can be read in two ways. Errors of the system, of the
            decompression and of the csv module pass.
    """

    place = "line"

    def __init__(self, path: Path, style: TextStyle, published: bool = False) -> None:
        self.path = path
        self._published = published
        self._style = style
        # What stands before the decimals, as soon as the numbers that were read have shown it.
        self._decimal = style.decimal
        self._named_lines = False  # whether the log has named the lines that are no rows
        self._encoding = self._find_encoding()
        head = self._head()
        self._separator = SEPARATORS.get(style.separator or "", "")
        self._start = self._find_header(head)
        if not self._separator:
            self._separator = self._find_separator(self._header_text(head), head[self._start + 1 :])
        with self._open() as file:  # a name in quotes may go on in the next line
            lines = chain([self._header_text(head)], islice(file, self._start + 1, None))
            header: list[str] = next(self._reader(lines), [])
        if any("\0" in name for name in header):
            raise self._unclear("it holds zero bytes", "if it is UTF-16, say data.catalog.encoding=utf-16-le")
        self.header = [written(name.strip()) for name in header]
        self._units = self._count_units(head[self._start + 1 :], len(header))

    def rows(self, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
        """Reads columns; see `Table.read`."""
        quoted, passed = self._check_lines()
        places = {self.header.index(name): name in text for name in dict.fromkeys([*text, *numbers])}
        of_numbers = [str(place) for place, is_text in places.items() if not is_text]
        try:
            frame = self._parse(places, as_text=False)
        except ValueError as error:
            if isinstance(error, UnicodeDecodeError):
                raise
            # A value that is no number is kept as text, so that its row can be named. A file that is no table
            # fails here again.
            frame = self._parse(places, as_text=True)
            frame[of_numbers], self._decimal = with_points(frame[of_numbers], self._decimal)
        else:
            if self._decimal is None and (frame[of_numbers] % 1 > 0).any(axis=None):
                self._decimal = "point"
        blank = frame.isna().all(axis=1)
        if blank.any():  # but a blank row is empty in the other columns, too
            everything = self._parse(dict.fromkeys(range(len(self.header)), True), as_text=True)
            blank &= everything.isna().all(axis=1)
        frame.columns = pd.Index([self.header[int(place)] for place in frame.columns])
        frame.index = self._places(len(frame), quoted)
        if passed and frame.index.name == self.place:
            if not self._named_lines:
                lines = listing([f"line {line}: {text}" for line, text in passed.items()])
                _log.info("%s: passed over %d line(s) that are no rows:\n%s", self.path, len(passed), lines)
            self._named_lines = True
            blank |= frame.index.isin(list(passed))
        return frame[~blank.to_numpy()]

    def line_with(self, names: Sequence[str]) -> int | None:
        """The line, from 1, of a header below this one that has all these names, if there is one."""
        with self._open() as file:
            for number, line in enumerate(islice(file, self._start + _HEAD), 1):
                if number > self._start + 1 and set(names) <= set(self._split(line)):
                    return number
        return None

    def _open(self) -> IO[str]:
        return open_text(self.path, self._encoding)

    def _find_encoding(self) -> str:
        with open_bytes(self.path) as file:
            start = file.read(4)
        marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")
        said = self._style.encoding
        if said is None or codecs.lookup(said).name.startswith(marked.removesuffix("-sig")):
            return marked  # the mark is no part of the text
        return said

    def _head(self) -> list[str]:
        """The comments at the beginning, whatever their number, and the lines below them."""
        head: list[str] = []
        with self._open() as file:
            for line in file:
                head.append(line)
                if len(head) >= (self._style.header_line or 0) and line.strip() and not line.startswith("#"):
                    break
            return head + list(islice(file, _HEAD))

    def _count_units(self, following: Sequence[str], columns: int, separator: str = "") -> int:
        """How many lines below the header belong to it: a line of dashes, and before it perhaps the units."""
        if following and _RULE.fullmatch(following[0].strip()):
            return 1
        lines = [self._split(line, separator) for line in following[:2]]
        if columns < 2 or [len(values) for values in lines] != [columns, columns]:
            return 0
        units, dashes = lines
        has_number = any(value and NUMBER.fullmatch(value) for value in units)
        return 2 if all(re.fullmatch("-+", value) for value in dashes) and not has_number else 0

    def _places(self, count: int, quoted: bool) -> pd.Index:
        """The line in which each row begins. A value in quotes may go on in the next line."""
        first = self._start + self._units + 2
        if not quoted:
            return pd.RangeIndex(first, count + first, name=self.place)
        begins = [self._start + 1]
        for record in self._records():
            if len(record) > 1:
                self._check_quotes(record, begins[-1])
            begins.append(begins[-1] + len(record))
        lines = begins[self._units + 1 : -1]
        if len(lines) != count:
            raise ValueError(
                f"its quotes can be read in two ways, as {len(lines):,} rows or as {count:,}; a value in "
                'quotes begins and ends with ", and a " inside it is written twice'
            )
        return pd.Index(lines, name=self.place)

    def _records(self) -> Iterator[list[str]]:
        """The lines of the header, and then of each row."""
        record: list[str] = []

        def noted() -> Iterator[str]:
            for line in islice(file, self._start, None):
                record.append(line)
                yield line

        with self._open() as file:
            for _ in self._reader(noted()):
                yield record.copy()
                record.clear()

    def _check_quotes(self, record: Sequence[str], line: int) -> None:
        """Refuses a value in quotes that goes on over lines which seem to be rows of their own.

        Args:
            record: The lines.
            line: The number of the first.
        """
        columns = len(self.header)
        own = [text.count(self._separator) == columns - 1 for text in record]
        try:
            next(csv.reader(record, delimiter=self._separator, strict=True))
        except csv.Error:
            own = [True] * len(record)  # something follows the quote that should end the value
        if columns > 1 and own[0] and any(own[1:]):
            raise ValueError(
                f'a value that begins with " in line {line} ends in line {line + len(record) - 1}, so these '
                'lines would be one row. If that " is part of the value, put quotes around the value and '
                "write its own twice"
            )

    def _unclear(self, what: str, advice: str) -> ValueError:
        """The error about a file that has to be described. No key describes a published one."""
        return ValueError(f"{what}: {'save it as UTF-8 with commas' if self._published else advice}")

    def _reader(self, lines: Any, separator: str = "") -> Any:
        separator = separator or self._separator
        if separator == " ":
            lines = (line.replace("\t", " ") for line in lines)
        return csv.reader(lines, delimiter=separator, skipinitialspace=separator == " ")

    def _split(self, line: str, separator: str = "") -> list[str]:
        """The values of a line."""
        separator = separator or self._separator
        line = line.strip(" \r\n\t" if separator == " " else " \r\n")
        values: list[str] = next(self._reader([line], separator), [])
        return [value.strip() for value in values]

    def _find_header(self, head: Sequence[str]) -> int:
        """The number of lines before the header."""
        if self._style.header_line is not None:
            if self._style.header_line > len(head):
                raise ValueError(
                    f"data.catalog.header_line is {self._style.header_line}, but it has {len(head)} lines"
                )
            return self._style.header_line - 1
        start = 0
        if head and (told := _SEPARATOR_LINE.fullmatch(head[0].strip())):
            start = 1
            if not self._separator and told[1] in SEPARATORS.values():
                self._separator = told[1]
        comment = None
        for number, line in enumerate(head[start:], start):
            if line.startswith("#"):
                comment = number
            elif line.strip() and not _RULE.fullmatch(line.strip()):
                return number if comment is None else self._choose_header(head, comment, number)
        return start if comment is None else comment

    def _choose_header(self, head: Sequence[str], comment: int, line: int) -> int:
        """Whether the names of the columns are in the last comment or in the first line that is none."""
        names, first = head[comment].removeprefix("#"), head[line]
        separator = self._separator or self._find_separator(first, head[line + 1 :])
        values = self._split(first, separator)
        has_units = self._count_units(head[line + 1 :], len(values), separator) > 0
        if len(values) == 1 or len(self._split(names, separator)) != len(values) or has_units:
            return line
        if any(NUMBER.fullmatch(value) for value in values):
            return comment  # a header holds words
        raise self._unclear(
            f"line {comment + 1} and line {line + 1} can both be the names of its columns",
            f"choose one with data.catalog.header_line={comment + 1} or data.catalog.header_line={line + 1}",
        )

    def _header_text(self, head: Sequence[str]) -> str:
        if not head:
            return ""
        text = head[self._start].removeprefix("#")
        return text.strip() + "\n" if self._separator == " " else text

    def _find_separator(self, header: str, following: Sequence[str]) -> str:
        """The separator under which the header has several names and the lines below it as many values.

        `csv.Sniffer` and pandas look at the frequency of all characters, and take letters for separators.
        """
        rows = [line for line in following if line.strip() and not self._is_drawn(line)]
        found = [sep for sep in ",;\t|" if len(self._split(header, sep)) > 1]
        if len(found) > 1:
            whole, part = [self._fitting(header, rows, found, strict) for strict in (True, False)]
            fitting = whole if len(whole) == 1 else part
            if len(fitting) != 1 and rows:
                self._refuse_separators(fitting or found)
            found = fitting or [max(found, key=header.count)]
        if found:
            return found[0]
        names = header.split()
        if len(names) > 1 and rows and all(len(self._split(line, " ")) == len(names) for line in rows):
            if len(names) == 2:  # each may be one name with a space in it
                self._refuse_separators([" ", ","])
            return " "
        return ","

    def _fitting(
        self, header: str, rows: Sequence[str], separators: Sequence[str], strict: bool
    ) -> list[str]:
        """The separators under which no line has more values than the header and one or all have as many."""
        fitting = []
        for separator in separators:
            lengths = {len(self._split(line, separator)) for line in rows}
            names = len(self._split(header, separator))
            if lengths and max(lengths) == names and (not strict or len(lengths) == 1):
                fitting.append(separator)
        return fitting

    def _refuse_separators(self, separators: Sequence[str]) -> NoReturn:
        words = [name for name, separator in SEPARATORS.items() if separator in separators]
        raise self._unclear(
            f"its columns can be separated by {' or by '.join(words)}",
            f"choose with {' or '.join(f'data.catalog.separator={word}' for word in words)}",
        )

    def _parse(self, places: Mapping[int, bool], as_text: bool) -> pd.DataFrame:
        """Some columns, named by their places, "0", "1" and so on.

        Args:
            places: The place of each column, and whether it is text.
            as_text: Whether the others are read as text, too. Otherwise they must hold numbers.
        """
        # The columns are named by their places because names that nobody asks for may come twice.
        is_text = {str(place): is_text for place, is_text in places.items()}
        with self._from_header() as file:
            return pd.read_csv(
                file,
                sep=r"\s+" if self._separator == " " else self._separator,
                decimal="," if self._decimal == "comma" else ".",
                header=None,
                skiprows=1 + self._units,
                names=[str(place) for place in range(len(self.header))],
                usecols=list(is_text),
                index_col=False,
                dtype={name: str if text or as_text else float for name, text in is_text.items()},
                keep_default_na=False,  # "NA" and "None" may be names of classes
                na_values={place: [""] if text else MISSING for place, text in is_text.items()},
                skip_blank_lines=False,  # the index counts them
                encoding=self._encoding,
            )

    def _from_header(self) -> AbstractContextManager[Any]:
        """The file from its header on, as pandas takes it."""
        if self._start == 0 and self.path.suffix.lower() != ".zip":
            return nullcontext(self.path)
        file = self._open()
        # Pandas would look for quotes in the lines that it skips.
        for _ in islice(file, self._start):
            pass
        return file

    @staticmethod
    def _is_drawn(line: str) -> bool:
        text = line.strip()
        return _RULE.fullmatch(text) is not None or _FOOTER.fullmatch(text) is not None

    def _check_lines(self) -> tuple[bool, dict[int, str]]:
        """Returns whether there are quotes in the file, and the lines that are no rows.

        Refuses lines with too many values, which pandas accepts when it reads some of the columns only.

        In a line with too few the last values are missing: some programs do not write them if they are empty.
        A published file whose last line breaks off may have lost other lines, too.
        """
        columns = len(self.header)
        quoted, last, longer = False, "", None
        passed: dict[int, str] = {}
        with self._open() as file:
            for number, line in enumerate(islice(file, self._start + 1, None), self._start + 2):
                last = line
                quoted = quoted or '"' in line
                if columns > 1 and line[:1] in _ODD and number > self._start + 1 + self._units:
                    comment = line.startswith("#") and len(self._split(line)) < columns
                    if comment or self._is_drawn(line):
                        passed[number] = line.strip()
                        continue
                if line.count(self._separator) == columns - 1:
                    continue
                values = self._length(self._split(line))
                if values > columns and longer is None:
                    longer = f"line {number} has {values} values, and the header has {columns}"
        if longer is not None and quoted:  # a value in quotes may go on in the next line
            longer = self._longer_row(columns)
        if longer is not None:
            raise ValueError(longer)
        if self._published and not last.endswith(("\n", "\r")) and 0 < len(self._split(last)) < columns:
            raise ValueError(
                f"its last line has {len(self._split(last))} values, and the header has {columns}"
            )
        return quoted, passed

    def _length(self, values: Sequence[str]) -> int:
        """How many values a line has. A separator behind the last one ends the line."""
        return len(values) - (len(values) == len(self.header) + 1 and not values[-1].strip())

    def _longer_row(self, columns: int) -> str | None:
        with self._open() as file:
            reader = self._reader(islice(file, self._start, None))
            for values in reader:
                if self._length(values) > columns:
                    line = self._start + reader.line_num
                    return f"line {line} has {self._length(values)} values, and the header has {columns}"
        return None
