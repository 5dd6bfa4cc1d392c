"""Names in any script are drawn, or escaped where no font has their letters."""

import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from headstart.plots import fonts
from headstart.plots.fonts import drawable, families_for, give_families, legible, missing_letters_pass
from headstart.plots.svg import svg_text


def test_letters_without_a_font_are_escaped_and_others_kept():
    assert drawable("Käse $x^$ naïve", ["DejaVu Sans"]) == "Käse $x^$ naïve"
    assert drawable("日本 a", ["DejaVu Sans"]) == "\\u65e5\\u672c a"
    assert drawable("日本", []) == "\\u65e5\\u672c"


def test_the_figures_own_font_comes_first():
    assert families_for(["plain", "naïve"]) == ["DejaVu Sans"]
    assert families_for(["日本"])[0] == "DejaVu Sans"


@pytest.fixture
def only_dejavu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has matplotlib's own fonts alone."""
    own = [entry for entry in font_manager.fontManager.ttflist if entry.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)


def _figure(words: str) -> Figure:
    figure = Figure(figsize=(3, 1))
    figure.text(0.1, 0.5, words)
    return figure


def test_letters_that_no_font_has_are_codes_in_pictures_and_it_is_said_once(only_dejavu, capsys) -> None:
    fonts.say_once.cache_clear()
    assert legible("naïve ± 5") == "naïve ± 5" and capsys.readouterr().err == ""
    assert legible("<b>日本</b>") == "<b>\\u65e5\\u672c</b>"
    assert (
        "no installed font has 2 of the letters" in (said := capsys.readouterr().err)
        and said.count("\n") == 1
    )
    assert legible("日本") == "\\u65e5\\u672c" and capsys.readouterr().err == ""


def test_a_drawing_keeps_every_letter_and_warns_of_none(only_dejavu) -> None:
    assert "日本語 한국어" in svg_text(_figure("日本語 한국어"), "x", "a description")


def test_a_picture_spells_out_what_cannot_be_drawn(only_dejavu, tmp_path) -> None:
    figure = _figure("日 a")
    give_families(figure, picture=True)
    with missing_letters_pass():
        figure.savefig(tmp_path / "x.png")
    assert figure.texts[0].get_text() == "\\u65e5 a"
