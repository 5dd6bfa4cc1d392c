"""Names in any script are drawn, or escaped where no font has their letters."""

from headstart.plots.fonts import drawable, families_for


def test_letters_without_a_font_are_escaped_and_others_kept():
    assert drawable("Käse $x^$ naïve", ["DejaVu Sans"]) == "Käse $x^$ naïve"
    assert drawable("日本 a", ["DejaVu Sans"]) == "\\u65e5\\u672c a"
    assert drawable("日本", []) == "\\u65e5\\u672c"


def test_the_figures_own_font_comes_first():
    assert families_for(["plain", "naïve"]) == ["DejaVu Sans"]
    assert families_for(["日本"])[0] == "DejaVu Sans"
