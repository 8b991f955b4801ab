"""What all pictures share: names from outside cannot be formulas, and bytes tell of the picture alone."""

from matplotlib.figure import Figure

from pipeline.pictures import MAX_NAME, OUTCOME_COLOURS, as_label, canvas, colours_of, png
from pipeline.tables import OUTCOMES


def test_names_in_pictures_are_short_printable_and_no_formulas() -> None:
    assert as_label("$x$") == r"\$x\$"
    assert len(as_label("n" * 500)) <= MAX_NAME + 2
    assert as_label("a\x1b\u202eb\U0001f680") == "ab"


def test_the_same_picture_is_the_same_bytes_and_no_library_signs_it() -> None:
    def drawn() -> bytes:
        figure, axes = canvas(2.0, 1.0)
        axes.plot([0, 1])
        return png(figure)

    assert drawn() == drawn()
    assert drawn().startswith(b"\x89PNG\r\n\x1a\n")
    assert b"Software" not in drawn()


def test_a_figure_without_a_layout_is_laid_out_and_one_with_its_own_keeps_it() -> None:
    bare = Figure(figsize=(2, 1))
    label = bare.subplots().set_ylabel("a name that would be cut off at the edge")
    png(bare)
    assert label.get_window_extent().x0 >= 0
    own, _ = canvas(2.0, 1.0)
    layout = own.get_layout_engine()
    png(own)
    assert own.get_layout_engine() is layout


def test_outcomes_keep_their_colours_and_other_classes_get_others() -> None:
    assert colours_of(OUTCOMES) == [OUTCOME_COLOURS[outcome] for outcome in OUTCOMES]
    assert len(set(colours_of(["a", "b", "c"]))) == 3
