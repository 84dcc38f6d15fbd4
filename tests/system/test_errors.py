"""What messages to people are made of."""

from galaxy.system.errors import listing, meant


def test_a_misspelt_word_is_told_its_nearest() -> None:
    assert meant("smoth", ["disk", "smooth", "smudge"]) == "; did you mean smooth?"
    assert meant("RA", ["ra", "dec"]) == "; did you mean ra?"  # whatever the case
    assert meant("objid", ["smooth", "disk"]) == ""
    assert meant("x", []) == ""


def test_long_lists_are_cut_and_counted() -> None:
    assert listing(["a", "b", "c"], limit=2) == "  a\n  b\n  ... and 1 more"
