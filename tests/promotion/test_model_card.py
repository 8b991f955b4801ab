"""The model card says what it must, and no text from outside can break it."""

import re

import polars as pl
import pytest

from pipeline.promotion.markdown import cell, pairs, table
from pipeline.promotion.model_card import FIGURES_SHOWN, LIMITS, model_card

CLASSES = ("RUG", "MOON")
HOSTILE = (
    "a | b\n\n# A heading\n| x | y |", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[a](javascript:b)",
    "![i](https://evil.example/x.png)", "`code`", "***bold***", "\u202eright to left", "zero\u200bwidth", "\x1b[31mred",
    "https://evil.example", "www.evil.example", "me@evil.example",
    "$\\frac{1}{2}$", "~~gone~~", "\\| escaped", "&lt;b&gt;", "# first", "- item", "1. item", "> quote",
)  # fmt: skip


def figures(predictor: str, *, high: float | None = 0.9) -> pl.DataFrame:
    named = [*FIGURES_SHOWN, *((m, c) for m in ("precision", "roc_auc", "brier", "ece") for c in CLASSES)]
    return pl.DataFrame(
        [{"predictor": predictor, "metric": m, "outcome": o, "value": 0.5, "low": None if high is None else 0.1,
          "high": high} for m, o in named],
        schema_overrides={"low": pl.Float64, "high": pl.Float64},
    )  # fmt: skip


def slices(name: str = "eth") -> pl.DataFrame:
    return figures("model").select(
        pl.lit("network").alias("by"), pl.lit(name).alias("slice"), pl.exclude("predictor"), n_rows=1200, n_pools=40
    )


def card(text: str = "plain", **changed: object) -> str:
    told: dict[str, object] = {
        "identity": {"model_sha256": "ab" * 32, text: text}, "data": {"source": text},
        "figures": pl.concat([figures("model"), figures("class_prior", high=None)]), "classes": CLASSES,
        "feature_names": ("age_hours", text), "n_last_block_reads": 2, "n_trials": 41, "slices": slices(text),
        "abstention": {text: text}, "params": {text: text}, "limits": (text,),
    }  # fmt: skip
    return model_card("pool-outcome", text, **(told | changed))  # type: ignore[arg-type]


def test_the_card_says_what_a_reader_must_know():
    said = card()
    titles = re.findall(r"^## (.*)$", said, re.MULTILINE)
    assert titles == [
        "What it is for", "Data", "What it is worth", "How calibrated it is", "How honest the figures are",
        "How to check it",
    ]  # fmt: skip
    assert "| log loss | 0.500 (0.100 to 0.900) | 0.500 |" in said
    assert "| figure | model | class_prior |" in said
    assert "| network | plain | 40 | 1,200 | 0.500 (0.100 to 0.900) |" in said
    assert "evaluated on 2 time(s)" in said
    assert "is 41." in said
    assert "ab" * 32 in said
    assert "poolcast evaluate" in said
    assert all(limit in said for limit in LIMITS)


def test_what_was_not_counted_or_measured_is_said_to_be_so():
    said = card(n_last_block_reads=None, n_trials=None, slices=None, abstention=None)
    assert said.count("not on record") == 2
    assert "| MOON | 0.500 (0.100 to 0.900) | - | - | 0.500 (0.100 to 0.900) | - |" in said
    assert "When it says nothing" not in said


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_from_outside_can_break_the_card(text: str):
    plain, hostile = card(), card(text)
    shape = [(line[:2], len(re.findall(r"(?<!\\)\|", line))) for line in plain.splitlines()]
    assert [n for _, n in shape] == [len(re.findall(r"(?<!\\)\|", line)) for line in hostile.splitlines()]
    assert re.findall(r"^#.*$", plain, re.MULTILINE) == re.findall(r"^#.*$", hostile, re.MULTILINE)
    assert not re.search(r"(?<!\\)<|(?<!\\)\[|://|(?<![\\w])www\.|(?<!\\)[@$~]", hostile)
    assert all(ch.isprintable() or ch == "\n" for ch in hostile)


def test_a_digest_that_is_none_is_not_quoted():
    assert "It must be" not in card(identity={"model_sha256": "` <b>"})


def test_tables_escape_each_cell_and_say_nothing_of_nothing():
    assert table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |"
    assert pairs("t", {}) == ""
    assert cell("a\tb\r\nc") == "a b c"
