"""Figures: what is drawn equals what was given, the same every time, readable by everyone."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from headstart import plots
from headstart.plots import BudgetPoint, CostPoint, Crossing, Curve, Estimate, TimeToTarget

STYLES = plots.arm_styles({"cnn": "CNN from scratch", "probe": "ResNet-50, linear probe"})
SVG = "{http://www.w3.org/2000/svg}"


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def _luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("colors", "ground"), [(plots.ARM_COLORS_LIGHT, "#fdfdfb"), (plots.ARM_COLORS_DARK, "#14161a")]
)
def test_text_in_an_arms_colour_has_a_contrast_of_at_least_4_5(colors: tuple[str, ...], ground: str) -> None:
    for color in colors:
        light, dark = sorted((_luminance(color), _luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, color


def test_ten_arms_differ_in_colour_in_mark_and_in_line() -> None:
    styles = plots.arm_styles({str(i): f"arm {i}" for i in range(10)}).values()
    for feature in ("color", "marker", "line"):
        assert len({str(getattr(style, feature)) for style in styles}) == 10, feature


def test_an_arm_keeps_its_style_whatever_comes_after_it() -> None:
    assert plots.arm_styles({"a": "A"})["a"] == plots.arm_styles({"a": "A", "b": "B"})["a"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.84, "0.8 s"),
        (48.2, "48 s"),
        (119.4, "119 s"),
        (210, "3.5 min"),
        (4320, "72.0 min"),
        (7200, "2.0 h"),
    ],
)
def test_durations_read_as_people_write_them(seconds: float, shown: str) -> None:
    assert plots.short_duration(seconds).replace("\u202f", " ") == shown


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([0.5, 0.5], [0.4, 0.6]),
        ([0.9, 0.1], [0.9, 0.1]),
        ([0.95, 0.97], [0.8, 1.0]),
        ([0.0, 0.05], [0.0, 0.2]),
        ([], []),
        ([0.5, 0.6, 0.55], [0.35, 0.75, 0.55]),
    ],
)
def test_labels_move_apart_only_as_far_as_needed_and_stay_inside(
    wanted: list[float], expected: list[float]
) -> None:
    assert plots.spread(wanted, 0.2, 0.0, 1.0) == pytest.approx(expected)


def test_more_labels_than_fit_share_the_room_evenly() -> None:
    assert plots.spread([0.5] * 5, 0.5, 0.0, 1.0) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


def test_svg_is_the_same_every_time_and_carries_no_date() -> None:
    def draw() -> str:
        figure = plots.accuracy({"cnn": Estimate(value=0.9, interval=(0.88, 0.92))}, STYLES, "Test accuracy")
        return plots.svg_text(figure, "a", "b")

    assert draw() == draw()
    assert not re.search(r"20\d\d-\d\d", draw())


def test_svg_is_well_formed_says_what_it_shows_and_keeps_text_as_text() -> None:
    figure = plots.accuracy({"cnn": Estimate(value=0.9012, interval=(0.88, 0.92))}, STYLES, "Test accuracy")
    root = ElementTree.fromstring(plots.svg_text(figure, "fig", 'better than "<chance>" & guessing'))
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'better than "<chance>" & guessing'
    shown = ["".join(text.itertext()).replace("\u202f", " ") for text in root.iter(f"{SVG}text")]
    assert "CNN from scratch" in shown
    assert "90.12 %  [88.00, 92.00]" in shown


def test_svg_colours_follow_the_page() -> None:
    svg = plots.svg_text(plots.accuracy({"cnn": Estimate(value=0.9)}, STYLES, "Test accuracy"), "fig", "x")
    assert "currentColor" in svg
    assert "var(--arm0,#005a96)" in svg
    assert set(re.findall(r"(?<!,)#[0-9a-f]{6}\b", svg)) == set(), "a colour that no dark page can change"


def test_ids_of_two_figures_on_a_page_never_meet() -> None:
    figure = plots.accuracy({"cnn": Estimate(value=0.9)}, STYLES, "Test accuracy")
    first, second = (
        set(re.findall(r' id="([^"]+)"', plots.svg_text(figure, name, ""))) for name in ("one", "two")
    )
    assert first and not first & second
    used = set(re.findall(r'href="#([^"]+)"', plots.svg_text(figure, "one", "")))
    assert used <= first


def test_a_class_name_that_looks_like_a_formula_is_drawn_as_it_is() -> None:
    figure = plots.confusion(np.eye(2), ["$x^2$", "b"], "shares")
    assert "$x^2$" in plots.svg_text(figure, "fig", "")


def test_confusion_writes_percents_above_one_half_and_leaves_the_rest_empty() -> None:
    figure = plots.confusion(np.array([[0.996, 0.004], [0.25, 0.75]]), ["cat", "dog"], "shares")
    assert texts(figure) == ["100", "25", "75"]


def test_long_names_of_classes_leave_the_cells_their_room() -> None:
    name = "a very long name of a class and another one that was joined to it " * 6
    figure = plots.confusion(np.eye(3), [f"{k} {name} {k}" for k in range(3)], "share (%)")
    plots.svg_text(figure, "x", "x")  # matplotlib warns where nothing is left of the axes, which fails here
    box = figure.axes[0].get_position()
    assert box.width * figure.get_figwidth() * 72 > 240
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == [f"{k} a very long nam…to it  {k}" for k in range(3)]


def test_confusion_of_a_class_without_images_stays_empty() -> None:
    figure = plots.confusion(np.array([[np.nan, np.nan], [0.0, 1.0]]), ["cat", "dog"], "shares")
    assert texts(figure) == ["100"]


def test_confusion_of_a_hundred_classes_is_drawn_without_numbers() -> None:
    figure = plots.confusion(np.eye(100), [str(i) for i in range(100)], "shares")
    assert texts(figure) == []
    assert len(figure.axes[0].images) == 1
    assert len(plots.svg_text(figure, "fig", "")) < 60_000


def test_confusion_ink_is_the_square_root_of_the_share_in_every_figure() -> None:
    for shares in (np.array([[0.25, 0.75], [0.04, 0.96]]), np.array([[0.25, 0.0], [0.04, 0.01]])):
        cells = [patch.get_alpha() for patch in figure_cells(plots.confusion(shares, ["a", "b"], ""))]
        assert (cells[0], cells[2]) == pytest.approx((0.5, 0.2))


def figure_cells(figure: Figure) -> list[Rectangle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]


def test_class_bars_begin_at_zero_and_end_at_the_value() -> None:
    values = {"cnn": [Estimate(value=0.9, interval=(0.85, 0.94))], "probe": [Estimate(value=0.4)]}
    figure = plots.by_class(["cat"], values, STYLES, "Recall")
    assert [(bar.get_x(), round(bar.get_width(), 9)) for bar in figure_cells(figure)] == [
        (0, 90.0),
        (0, 40.0),
    ]
    assert figure.axes[0].get_xlim()[0] == 0
    assert {"90", "40"} <= set(texts(figure))


def test_a_target_that_is_never_reached_says_so() -> None:
    times = {
        "cnn": [TimeToTarget(seconds=60.0), TimeToTarget(seconds=240.0)],
        "probe": [TimeToTarget(seconds=30.0), None],
    }
    figure = plots.time_to_accuracy([0.8, 0.9], times, STYLES, "Time")
    shown = [text.replace("\u202f", " ") for text in texts(figure)]
    assert shown == [
        "CNN from scratch, 60 s",
        "ResNet-50, linear probe, 30 s",
        "4.0 min",
        "ResNet-50, linear probe: never",
    ]


def test_learning_curves_leave_out_what_was_not_measured() -> None:
    nothing = np.full(3, np.nan)
    x = np.array([1.0, 2.0, 3.0])
    curves = [
        Curve(arm="cnn", x=x, train=nothing, val=np.array([0.5, np.nan, 0.8])),
        Curve(arm="probe", x=x, train=nothing, val=nothing),
    ]
    axes = plots.learning_curves(curves, STYLES, "epoch", "Validation accuracy").axes[0]
    drawn = [line for line in axes.lines if line.get_transform() == axes.transData]
    assert [line.get_xydata().tolist() for line in drawn] == [[[1.0, 50.0], [3.0, 80.0]]]
    assert [text.replace("\u202f", " ") for text in texts(axes.figure)] == ["CNN from scratch\n80.0 %"]


@pytest.mark.parametrize(("longest", "scale"), [(15.0, "linear"), (2000.0, "log")])
def test_seconds_far_apart_stand_on_a_log_scale(longest: float, scale: str) -> None:
    nothing = np.full(3, np.nan)
    curves = [
        Curve(arm=arm, x=np.array([0.1, 0.5, 1.0]) * end, train=nothing, val=np.array([0.5, 0.7, 0.8]))
        for arm, end in (("cnn", 1.0), ("probe", longest))
    ]
    curves.append(
        Curve(arm="probe", x=np.array([5e3, 6e3, 7e3]), train=nothing, val=nothing)
    )  # draws nothing
    axes = plots.learning_curves(curves, STYLES, "seconds since the start", "Validation accuracy").axes[0]
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert low <= 0.1 and longest <= high < 5e3


def test_reliability_has_a_panel_an_arm_with_both_lines_and_their_intervals() -> None:
    def line(
        confidence: list[float], accuracy: list[float], *, scaled: bool = False
    ) -> plots.ReliabilityLine:
        x, y = np.array(confidence), np.array(accuracy)
        return plots.ReliabilityLine(
            confidence=x, accuracy=y, low=y - 0.1, high=y + 0.05, note="ECE 1 %", scaled=scaled
        )

    lines = [line([0.6, 0.9], [0.7, 0.8]), line([0.5, 0.8], [0.7, 0.8], scaled=True)]
    panels = plots.reliability_panels([(style, lines) for style in STYLES.values()], "Accuracy").axes
    assert [axes.get_title(loc="left") for axes in panels] == ["CNN from scratch", "ResNet-50, linear probe"]
    drawn = [each.get_xydata().tolist() for each in panels[0].lines[1:]]  # the first is the diagonal
    assert drawn == [[[60.0, 70.0], [90.0, 80.0]], [[50.0, 70.0], [80.0, 80.0]]]
    assert np.array(panels[0].collections[0].get_segments()) == pytest.approx(  # type: ignore[attr-defined]
        np.array([[[60, 60], [60, 75]], [[90, 70], [90, 85]]])
    )
    assert panels[0].get_xlim() == (50.0, 101.0)


def test_ten_reliability_panels_fit_on_a_page_and_keep_their_names() -> None:
    x = np.array([0.5, 0.9])
    line = plots.ReliabilityLine(confidence=x, accuracy=x, low=x - 0.1, high=x, note="ECE 1 %")
    labels = {f"arm{i}": "Random ResNet-50, recipe for training from scratch" for i in range(10)}
    figure = plots.reliability_panels(
        [(style, [line]) for style in plots.arm_styles(labels).values()], "Accuracy"
    )
    assert [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes] == list(labels.values())
    width, height = figure.get_size_inches()
    assert (
        height / width < 2.2
    )  # 58 % of a page's width then takes less than its height, with heading and caption


def test_many_phases_break_into_lines_and_leave_the_bars_their_width() -> None:
    row = {"features": 11.0, "select": 87.0, "prepare": 0.4, "train": 16.0, "validate": 0.8, "evaluate": 2.2}
    figure = plots.cost_by_phase({"cnn": row, "probe": row}, STYLES, "Seconds", {"cnn": "ᵃ", "probe": "ᵇ"})
    told = [text.replace("\u202f", " ") for text in texts(figure)]
    assert "features 11 s · select 87 s · prepare 0.4 s · train 16 s\nvalidate 0.8 s · evaluate 2.2 s" in told
    assert "117 sᵃ" in told and "117 sᵇ" in told
    figure.draw_without_rendering()
    assert figure.axes[0].get_position().width > 0.9


def test_severities_are_steps_of_equal_distance_named_at_the_end() -> None:
    row = [Estimate(value=v, interval=(v - 0.02, v + 0.02)) for v in (0.9, 0.8, 0.6)]
    axes = plots.accuracy_by_severity({"cnn": row}, ["as it is", "1", "2"], STYLES, "Accuracy").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["as it is", "1", "2"]
    assert [[0, 90.0], [1, 80.0], [2, 60.0]] in [line.get_xydata().tolist() for line in axes.lines]
    assert any("60.0" in text for text in texts(axes.figure))  # type: ignore[arg-type]


def test_label_budgets_are_on_a_log_scale_with_the_budgets_as_ticks() -> None:
    points = {
        "cnn": [
            BudgetPoint(labels=10.0, tick="10", estimate=Estimate(value=0.4)),
            BudgetPoint(labels=4500.0, tick="all\n(4,500)", estimate=Estimate(value=0.9)),
        ]
    }
    axes = plots.accuracy_by_labels(points, STYLES, "Test accuracy").axes[0]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "all\n(4,500)"]


FEW_STYLES = plots.arm_styles({"a": "A", "b": "B", "c": "C"})


def test_a_front_is_filled_and_stepped_and_the_beaten_are_hollow() -> None:
    points = {
        "a": CostPoint(cost=10.0, estimate=Estimate(value=0.7, interval=(0.68, 0.72))),
        "b": CostPoint(cost=100.0, estimate=Estimate(value=0.9)),
        "c": CostPoint(cost=200.0, estimate=Estimate(value=0.8)),
    }
    axes = plots.accuracy_against_cost(points, ["a", "b"], FEW_STYLES, "seconds", "Test accuracy").axes[0]
    marks = {
        round(float(line.get_xdata()[0])): line
        for line in axes.lines
        if line.get_marker() not in ("None", "", None) and line.get_transform() == axes.transData
    }
    assert {x: line.get_markerfacecolor() == line.get_color() for x, line in marks.items()} == {
        10: True,
        100: True,
        200: False,
    }
    (front,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert front.get_ydata().tolist() == pytest.approx([70, 90, 90])
    assert axes.get_xscale() == "log" and axes.get_xlim()[0] < 10 and axes.get_xlim()[1] > 200


def test_floating_point_operations_are_ticked_in_words() -> None:
    points = {
        "a": CostPoint(cost=3e13, estimate=Estimate(value=0.7)),
        "b": CostPoint(cost=2.2e15, estimate=Estimate(value=0.9)),
    }
    axes = plots.accuracy_against_cost(points, ["a", "b"], FEW_STYLES, "flops", "Test accuracy").axes[0]
    shown = [text.get_text().replace("\u202f", " ") for text in axes.get_xticklabels()]
    assert shown == ["30 TFLOP", "100 TFLOP", "1 PFLOP"]


def test_a_fitted_curve_is_drawn_with_its_band_and_dotted_beyond_what_was_measured() -> None:
    x = np.geomspace(10, 200, 30)
    fit = plots.Fit(x=x, y=1 - 1 / x, low=0.98 - 1 / x, high=np.minimum(1.02 - 1 / x, 1), measured_to=100.0)
    points = {
        "a": [
            BudgetPoint(labels=10.0, tick="10", estimate=Estimate(value=0.9)),
            BudgetPoint(labels=100.0, tick="100", estimate=Estimate(value=0.99)),
        ]
    }
    axes = plots.accuracy_by_labels(
        points,
        FEW_STYLES,
        "Test accuracy",
        fits={"a": fit},
        crossing=Crossing(labels=50.0, interval=(40.0, 60.0)),
    ).axes[0]
    assert len(axes.collections) == 1  # the band
    inside, beyond = sorted(
        (line for line in axes.lines if len(line.get_xdata()) > 2), key=lambda line: line.get_xdata()[0]
    )
    assert (
        inside.get_xdata()[-1] <= 100 < beyond.get_xdata()[-1]
        and inside.get_xdata()[-1] == beyond.get_xdata()[0]
    )
    assert any(np.allclose(line.get_xdata(), 50) for line in axes.lines)
