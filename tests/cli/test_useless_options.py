"""An option that would do nothing is refused, and the message says why."""

import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("predict", "TINY", "--profile-only", "-o", "out.csv"), "--profile-only makes none"),
        (("data", "--image-size", "64"), "give its NAME"),
        (("plot", "RESULTS", "--kind", "all", "-o", "all.png"), "give a folder"),
        (("init", "--model", "", "--data", "synthetic"), "not empty texts"),
        (("init", "--model", "densenet", "--data", ""), "not empty texts"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    fobench, tiny, tiny_results, tmp_path, words, message
):
    before = set(tmp_path.rglob("*"))
    places = {"TINY": tiny, "RESULTS": tiny_results}
    ran = fobench(*(places.get(word, word) for word in words))
    assert ran.exit_code == 2
    assert message in ran.output
    assert set(tmp_path.rglob("*")) == before, "nothing is written"
