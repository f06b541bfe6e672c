"""The documents: their Python blocks run, from top to bottom, and print what their comments say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scanlib.ops.base import TABLE

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/gallery.md", "docs/decisions.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A line of code that prints, and what it prints: `print(…)  # …`.
PRINTED = re.compile(r"^print\(.*\)  # (.*)$", re.MULTILINE)


def blocks(page: str, language: str) -> list[tuple[int, str]]:
    """(line number, text) of the blocks in a language."""
    text = (ROOT / page).read_text()
    found = BLOCK.finditer(text)
    return [(text.count("\n", 0, m.start()) + 2, m[2]) for m in found if m[1] == language]


@pytest.fixture
def table() -> Iterator[None]:
    """The table of operations, restored: a page may add a row."""
    before = dict(TABLE)
    yield
    TABLE.clear()
    TABLE.update(before)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_code_runs_and_prints_what_it_says(
    page: str, table: None, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, object] = {"__name__": page}
    for line, code in blocks(page, "python"):
        # Empty lines in front make tracebacks name the line of the page.
        exec(compile("\n" * (line - 1) + code, str(ROOT / page), "exec"), namespace)
        printed = re.sub(r"\s+", " ", capsys.readouterr().out)
        for said in PRINTED.findall(code):
            if not said.startswith("the "):
                assert said in printed.replace("[ ", "[").replace(" ]", "]"), (
                    f"{page}: {said!r}, printed {printed!r}"
                )


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"


def test_readme_has_one_command_for_the_tutorial_and_one_for_the_tests() -> None:
    commands = [text.strip() for _, text in blocks("README.md", "sh")]
    assert [c.rsplit(" && ", 1)[1] for c in commands] == [
        ".venv/bin/python -m scanlib.tutorial",
        ".venv/bin/pytest",
    ]
    assert all("\n" not in c for c in commands)


def test_one_license_everywhere() -> None:
    assert "BSD-3-Clause" in (ROOT / "README.md").read_text()
    assert (ROOT / "LICENSE").read_text().startswith("BSD 3-Clause License")
