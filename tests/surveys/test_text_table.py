"""Text tables in every way in which people and their programs write them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galaxy.surveys.table_reader import Table
from galaxy.surveys.text_table import TextStyle
from galaxy.system.errors import UserError

NAMES = ["g1", "g2", "g3"]
SMOOTH = [0.64, 0.5, 0.25]


def read(path: Path, style: TextStyle | None = None) -> tuple[list[str], list[float]]:
    """The names and the fractions of a table."""
    table = Table(path, style=style)
    table.check({"id": "", "smooth": ""})
    frame = table.read(["id"], ["smooth"])
    values = frame["smooth"].astype(float)  # a fraction with a comma would fail
    return frame["id"].tolist(), values.tolist()


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def error(path: Path, style: TextStyle | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read(path, style)
    return str(caught.value)


PLAIN = "id,smooth,disk\ng1,0.64,0.36\ng2,0.5,0.5\ng3,0.25,0.75\n"
SPACES = PLAIN.replace(",", "   ")


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("a.csv", PLAIN, "utf-8"),
        ("a.csv", PLAIN, "utf-8-sig"),
        ("a.csv", PLAIN, "utf-16"),
        ("a.csv", PLAIN, "utf-32"),
        ("a.txt", PLAIN.replace(",", "\t"), "utf-16"),
        ("a.tsv", PLAIN.replace(",", "\t"), "utf-8"),
        ("a.dat", PLAIN.replace(",", "|"), "utf-8"),
        ("a.txt", SPACES, "utf-8"),
        ("a.dat", "  " + SPACES.replace("\n", " \n  ").rstrip(" "), "utf-8"),
        ("a.csv", SPACES, "utf-8"),
        ("a.csv", PLAIN.replace("\n", "\r\n"), "utf-8"),
        ("a.csv", PLAIN.replace("\n", "\r"), "utf-8"),
        ("a.csv", PLAIN.replace(",", ";").replace(".", ","), "utf-8-sig"),
        ("a.tsv", PLAIN.replace(",", "\t").replace(".", ","), "utf-8"),
        ("a.txt", SPACES.replace(".", ","), "utf-8"),
        ("a.csv", 'id,smooth\ng1,"0,64"\ng2,"0,5"\ng3,"0,25"\n', "utf-8"),
        ("a.csv", "id;smooth;x\ng1;,64;1\ng2;0,5;0,12\ng3;2,5e-1;0\n", "utf-8"),
        ("a.csv", "#Table1\n" + PLAIN, "utf-8"),
        ("a.csv", "# from SkyServer, yesterday\n#\n\n" + PLAIN, "utf-8"),
        ("a.csv", "#" + PLAIN, "utf-8"),
        ("a.txt", "# " + SPACES, "utf-8"),
        ("a.txt", "# made by me\n# " + SPACES, "utf-8"),
        ("a.csv", "sep=;\n" + PLAIN.replace(",", ";"), "utf-8"),
        ("a.csv", '"sep=,"\r\n' + PLAIN, "utf-8-sig"),
        ("a.csv", "\n\n" + PLAIN, "utf-8"),
        ("a.csv", 'id,note,smooth\ng1,"a\nb, c, d, e",0.64\ng2,,0.5\ng3,"""x""",0.25\n', "utf-8"),
        ("a.csv", 'id,"smooth; or not",smooth\ng1,1,0.64\ng2,"a;b",0.5\ng3,1,0.25\n', "utf-8"),
    ],
)
def test_a_table_is_read_however_it_is_written(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    assert read(written(tmp_path / name, text, encoding)) == (NAMES, SMOOTH)


@pytest.mark.parametrize(
    ("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_a_table_may_be_compressed(tmp_path: Path, ending: str, pack: Any) -> None:
    path = tmp_path / f"a.tsv.{ending}"
    path.write_bytes(pack(PLAIN.replace(",", "\t").encode("utf-16")))
    assert read(path) == (NAMES, SMOOTH)
    path.write_bytes(b"not compressed")
    assert str(path) in error(path)


def test_a_zip_file_holds_one_table(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.zip"
    for others in ([], ["b.csv"]):
        with zipfile.ZipFile(path, "w") as archive:
            for name in ["a.csv", "__MACOSX/._a.csv", *others]:
                archive.writestr(name, PLAIN)
        if not others:
            assert read(path) == (NAMES, SMOOTH)
    assert "it must hold one file, and holds a.csv, b.csv" in error(path)


@pytest.mark.parametrize(
    "text",
    [
        "| id | smooth | disk |\n|:---|---:|-|\n| g1 | 0.64 | 1 |\n| g2 | 0.5 | |\n| g3 | 0.25 | |\n",
        " id | smooth | k\n----+--------+---\n g1 | 0.64 | E\n g2 | 0.5 | E\n g3 | 0.25 |\n(3 rows)\n\n",
        "+----+------+---+\n| id |smooth| k |\n+----+------+---+\n| g1 | 0.64 | E |\n| g2 | 0.5  | E |\n"
        "| g3 | 0.25 | E |\n+----+------+---+\n",
        "== ====== =\nid smooth k\n== ====== =\ng1 0.64 E\ng2 0.5 E\ng3 0.25 E\n== ====== =\n",
        "id,smooth,k\ng1,0.64,E\n# of the second night\ng2,0.5,E,\n\n---,---,---\ng3,0.25,E\n",
    ],
)
def test_lines_that_are_drawn_and_comments_are_no_rows(tmp_path: Path, text: str) -> None:
    assert read(written(tmp_path / "a.txt", text)) == (NAMES, SMOOTH)


@pytest.mark.parametrize("mark", ["-", " - ", "--", "…", "...", "?", "N/A", "<na>", "\N{EM DASH}", "None"])
def test_marks_for_nothing_are_missing_numbers(tmp_path: Path, mark: str) -> None:
    path = written(tmp_path / "a.csv", f"id;smooth;bar\ng1;0,5;x\ng2;{mark};{mark}\n")
    frame = Table(path).read([], ["smooth", "bar"])
    np.testing.assert_array_equal(frame["smooth"], [0.5, np.nan])
    assert frame["bar"].isna().tolist() == [False, True]


@pytest.mark.parametrize(("text", "style"), [("id:smooth\ng1:1\n", None), (PLAIN, TextStyle("tab"))])
def test_a_table_of_one_column_may_have_another_separator(
    tmp_path: Path, text: str, style: TextStyle | None
) -> None:
    message = error(written(tmp_path / "a.csv", text), style)
    assert "data.catalog.separator=comma | semicolon" in message


@pytest.mark.parametrize(
    ("text", "style", "key"),
    [
        # A comma in the header and a semicolon in the header, and both divide all rows.
        (
            "id;smooth,x\ng1;0.5,1\n",
            TextStyle("semicolon"),
            "data.catalog.separator=comma or data.catalog.sep",
        ),
        ("id smooth\ng1 0.5\n", TextStyle("space"), "data.catalog.separator=space"),
        (
            "#id,smooth\nid,smooth\n",
            TextStyle(header_line=2),
            "data.catalog.header_line=1 or data.catalog.hea",
        ),
        (
            "Galaxies of 2024,\nid,smooth\ng1,0.5\n",
            TextStyle(header_line=2),
            "Line 2 has them: data.catalog.header",
        ),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_the_key_that_decides(
    tmp_path: Path, text: str, style: TextStyle, key: str
) -> None:
    path = written(tmp_path / "a.csv", text)
    assert key in error(path)
    table = Table(path, style=style)
    assert table.header[0] == "id"


def test_commas_that_may_stand_behind_thousands_are_not_taken_for_decimal_ones(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "id;smooth\ng1;1,234\ng2;12,345\n")
    assert Table(path).read(["id"], ["smooth"])["smooth"].tolist() == ["1,234", "12,345"]
    frame = Table(path, style=TextStyle(decimal="comma")).read(["id"], ["smooth"])
    assert frame["smooth"].tolist() == [1.234, 12.345]


def test_points_beside_decimal_commas_are_no_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "id;smooth\ng1;0,5\ng2;0.5\n")
    assert Table(path).read(["id"], ["smooth"])["smooth"].tolist() == ["0,5", "0.5"]
    frame = Table(path, style=TextStyle(decimal="comma")).read(["id"], ["smooth"])
    assert frame["smooth"].tolist() == ["0.5", "0.5 (with a point, where the decimal sign is a comma)"]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac-roman"])
def test_another_encoding_is_asked_for_and_read(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path / "a.csv", "id,Größe,smooth\nKöln,1,0.5\n", encoding)
    assert "data.catalog.encoding=cp1252 (Windows) or latin-1" in error(path)
    table = Table(path, style=TextStyle(encoding=encoding))
    assert table.header == ["id", "Größe", "smooth"]
    assert table.read(["id"], [])["id"].tolist() == ["Köln"]


def test_accents_are_the_same_however_they_are_stored(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "id,Gro\u0308ße\ng1,1\n")  # as macOS may write it
    assert Table(path).header == ["id", "Größe"]


def test_utf_16_without_a_mark_is_asked_for_and_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", PLAIN, "utf-16-le")
    assert "data.catalog.encoding=utf-16-le" in error(path)
    assert read(path, TextStyle(encoding="utf-16-le")) == (NAMES, SMOOTH)


def test_places_count_the_lines_before_the_header(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "#Table1\n\n" + PLAIN)
    frame = Table(path).read(["id"], ["smooth"])
    assert frame.index.tolist() == [4, 5, 6]
    assert frame.index.name == "line"


def test_a_line_with_too_many_values_is_named(tmp_path: Path) -> None:
    assert "line 3 has 4 values, and the header has 3" in error(
        written(tmp_path / "a.csv", "#Table1\nid,smooth,disk\ng1,0.5,0.5,1\n")
    )


@pytest.mark.parametrize(
    ("style", "words"),
    [
        ({"encoding": "utf-99"}, "encoding is utf-99"),
        ({"encoding": "hex"}, "encoding is hex"),
        ({"header_line": 0}, "header_line is 0"),
    ],
)
def test_a_style_that_is_none_is_refused(style: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        TextStyle(**style)


def test_a_header_below_the_end_of_the_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", PLAIN)
    assert "data.catalog.header_line is 9, but it has 4 lines" in error(path, TextStyle(header_line=9))


def test_numbers_of_a_text_table_are_those_of_a_plain_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.random(500)
    lines = "".join(f"g{i};{number!r}\n" for i, number in enumerate(numbers.tolist()))
    plain = written(tmp_path / "a.csv", "id;smooth\n" + lines)
    comma = written(tmp_path / "b.csv", "id;smooth\n" + lines.replace(".", ","))
    np.testing.assert_allclose(read(plain)[1], numbers, rtol=1e-15)
    np.testing.assert_allclose(read(comma)[1], numbers, rtol=1e-15)


VIZIER = "#\n#Column\tid\t(a8)\n\nid\tsmooth\tkind\n \t---\tdeg\n----\t------\t-\n" + "".join(
    f"{name}\t{smooth}\tE\n" for name, smooth in zip(NAMES, SMOOTH, strict=True)
)


def test_units_and_dashes_below_a_header_are_no_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", VIZIER)
    assert read(path) == (NAMES, SMOOTH)
    assert Table(path).read(["id"], []).index.tolist() == [7, 8, 9]
    text = VIZIER.replace("\t---\t", "\t0.3\t")  # a row of numbers holds no units
    table = Table(written(tmp_path / "b.tsv", text), style=TextStyle(header_line=4))
    assert table.read(["id"], []).index.tolist() == [5, 7, 8, 9]


def test_any_number_of_comments_may_stand_before_the_header(tmp_path: Path) -> None:
    comments = "".join(f"#Column c{i} (F8.3)\n" for i in range(230))
    path = written(tmp_path / "a.csv", comments + PLAIN)
    assert read(path) == (NAMES, SMOOTH)
    assert read(path, TextStyle(header_line=231)) == (NAMES, SMOOTH)
    assert "header_line is 300, but it has 234 lines" in error(path, TextStyle(header_line=300))


def test_true_and_false_are_1_and_0_whatever_another_column_holds(tmp_path: Path) -> None:
    for cell in ("1", "x"):
        path = written(tmp_path / "a.csv", f"id,ring,bar\ng1,True,{cell}\ng2,False,0\n")
        assert Table(path).read(["id"], ["ring", "bar"])["ring"].tolist() == [1, 0]
    path = written(tmp_path / "a.csv", "id,ring\ng1,True\ng2,x\n")
    assert Table(path).read(["id"], ["ring"])["ring"].tolist() == ["1", "x"]


def test_places_count_the_lines_of_values_in_quotes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'id,"a\nnote",smooth\ng1,"two\nlines",1\n\ng2,"""x""",1\ng3,,1\n')
    frame = Table(path).read(["id"], ["smooth"])
    assert frame["id"].tolist() == NAMES
    assert frame.index.tolist() == [3, 6, 7]


def test_spaces_and_tabs_separate_the_header_as_they_do_the_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "\tid\tsmooth disk\ng1 0.64\t 0.36\ng2\t0.5 0.5\ng3 0.25 0.75\n")
    assert read(path, TextStyle("space")) == (NAMES, SMOOTH)


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_comment(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path / "a.csv", "#Table1\n" + PLAIN, {"utf-16": "utf-16"}.get(encoding, "utf-8-sig"))
    assert read(path, TextStyle(encoding=encoding)) == (NAMES, SMOOTH)


@pytest.mark.parametrize(
    "content", [b"id;smooth,x\ng1;0.5,1\n", PLAIN.encode("utf-16-le"), b"id,smooth\nK\xf6ln,1\n"]
)
def test_no_key_is_named_for_a_published_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match="ave it as UTF-8") as caught:
        Table(tmp_path / "a.csv", published=True).read(["id"], [])
    assert "data.catalog" not in str(caught.value)


@pytest.mark.parametrize(
    "rows",
    [
        'g1,"5 wide,0.1\ng2,,0.2\ng3,"7 wide,0.3\n',
        'g1,"5 wide,0.1\ng2,"7 wide,0.2\n',
        'g1,"5 wide,0.1\ng2,7",0.2\n',
    ],
)
def test_a_quote_that_is_no_quotation_mark_takes_no_row_away(tmp_path: Path, rows: str) -> None:
    path = written(tmp_path / "a.csv", f"id,note,smooth\n{rows}g4,,0.4\n")
    assert 'a value that begins with " in line 2 ends in line' in error(path)


def test_a_quote_before_the_header_takes_no_row_away(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", '"Table 1, my notes\nid,smooth\ng1,0.64\n"g2",0.5\ng3,0.25\n')
    assert read(path, TextStyle(header_line=2)) == (NAMES, SMOOTH)
