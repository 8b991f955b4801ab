"""Every installed package may be used in a business: its licence is on the list, or its name is, with the reason."""

import re
from importlib.metadata import Distribution, distributions

import pytest

ALLOWED = {
    "0bsd", "apache 2.0", "apache software", "apache-2.0", "apache", "bsd", "bsd-2-clause", "bsd-3-clause",
    "3-clause bsd", "cnri-python", "dfsg approved", "isc", "isc (iscl)", "mit", "mit-0", "mit-cmu", "psf-2.0",
    "python software foundation", "tcl", "unlicense", "zlib", "cc0-1.0", "hpnd",
    # Changes to its own files must be published, which we do not make.
    "mpl-2.0", "mozilla public 2.0 (mpl 2.0)",
}  # fmt: skip
"""As the packages write it, in lower case and without the word licence."""
BY_NAME = {
    "huey": "MIT in its LICENSE",
    "pandas-ta": "MIT in its LICENSE",
    "poolcast": "ours",
    "polars-talib": "MIT in its LICENSE",
    "psycopg2-binary": "LGPL with exceptions: linked as it comes, replaceable, unchanged",
    "skops": "MIT in its LICENSE",
    "ta-lib": "BSD-2-Clause in its LICENSE",
    # Only with the extra `torch`.
    "triton": "MIT in its LICENSE",
    "torch": "BSD-3-Clause in its LICENSE",
}
OF_ITS_MAKER = re.compile(r"nvidia-.*|cuda-.*")
"""CUDA's own packages, redistributable, which come with PyTorch where somebody asks for it; never by default."""


def words(distribution: Distribution) -> set[str]:
    """The licences that a package names, each by itself; a choice counts as all of them."""
    told = distribution.metadata
    expression = told.get("License-Expression")
    classifiers = [line.split("::")[-1] for line in told.get_all("Classifier") or [] if line.startswith("License ::")]
    short = (told.get("License") or "").strip().splitlines()[:1]
    named = [expression] if expression else classifiers or short
    parts = [part for text in named for part in re.split(r"\s+(?:AND|OR|WITH)\s+|[()]?;\s*", text)]
    return {re.sub(r"\s*licen[cs]e\b|^the\s+", "", part.strip().lower()).strip("() ") for part in parts}


def name_of(distribution: Distribution) -> str:
    return re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()


def test_every_installed_package_has_a_licence_that_a_business_can_live_with() -> None:
    allowed = {word.strip("() ") for word in ALLOWED}
    strange = {
        name: sorted(words(each) - allowed) or ["none is named"]
        for each in distributions()
        if (name := name_of(each)) not in BY_NAME
        and not OF_ITS_MAKER.fullmatch(name)
        and not (words(each) and words(each) <= allowed)
    }
    assert not strange, "look at their licences; where they will do, name them in ALLOWED or in BY_NAME with the reason"


@pytest.mark.parametrize(
    "text", ["GPL-3.0-or-later", "AGPL-3.0", "BUSL-1.1", "CC-BY-NC-4.0", "Proprietary", "SSPL-1.0"]
)
def test_a_licence_that_takes_more_is_noticed(text: str) -> None:
    class Package(Distribution):
        def read_text(self, filename: str) -> str | None:
            return (
                f"Metadata-Version: 2.4\nName: x\nLicense-Expression: MIT AND {text}\n"
                if "METADATA" in filename
                else None
            )

        def locate_file(self, path: object) -> None:  # type: ignore[override]
            """It has no files."""

    assert words(Package()) - ALLOWED == {text.lower()}
