"""Names and text of a user are never read as markup, in any form of a report; commands can be pasted."""

import io
import re
import shlex

import pytest
from rich.console import Console

from analysis.sections.document import Section, Table, as_markdown, latex, markdown, print_sections
from analysis.sections.run_sections import again

NAMES = (
    "books [old]",
    "a[/b] with spaces",
    "[bold red]x[/]",
    ":smile:",
    "a|b",
    "`x` and ``y``",
    "*stars* and **more**",
    "_under_ a_b __c__",
    "<b>tag</b> & &amp; &lt;",
    "$x^2$ and $y$",
    "[text](http://x)",
    "![picture](x.png)",
    "~~gone~~ ~home",
    "# title",
    "- point",
    "1. one",
    "[x] done",
    "back\\slash \\[ \\(",
    'it\'s "quoted"',
)


def section(name: str) -> Section:
    """Make a section with a user's name in every place where a report may have one."""
    table = Table((name, "steps"), ((name, "1"), ("other", name)))
    return Section(name, (name, f"Corpus: {name}."), (table,), commands=(("Again", again(name)),))


def inline(text: str) -> str:
    """Return what Markdown shows for escaped text: no backslashes before punctuation (CommonMark 2.4)."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text).replace("&amp;", "&")


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_a_name_as_it_is(name: str) -> None:
    assert inline(as_markdown(name)) == name
    lines = markdown(name, [section(name)], []).splitlines()
    assert [inline(line) for line in lines[:6]] == [
        f"# {name}",
        "",
        f"## {name}",
        "",
        f"- {name}",
        f"- Corpus: {name}.",
    ]
    assert len({line.replace("\\|", "").count("|") for line in lines if line.startswith("|")}) == 1, (
        "rows differ in width"
    )


@pytest.mark.parametrize(
    "active",
    ["`x`", "*x*", "_x_", "__x__", "<b>", "$x$", "[a](b)", "~~a~~", "a|b", "&lt;", "# a", "- a", "1. a", "[ ] a"],
)
def test_text_that_markdown_would_interpret_is_escaped(active: str) -> None:
    assert as_markdown(active) != active and inline(as_markdown(active)) == active


@pytest.mark.parametrize(
    "plain", ["loop.batch_blocks = 8", "linear, T = 80, min weight 0.3", "[old] books", "a - b", "5 ~ 6"]
)
def test_text_that_markdown_does_not_interpret_is_unchanged(plain: str) -> None:
    assert as_markdown(plain) == plain


def code_span(text: str) -> str:
    """Return the code in the span after "Again: ", without its fences and the spaces beside them."""
    (line,) = (line for line in text.splitlines() if line.startswith("- Again: "))
    fence = line[len(line.rstrip("`")) :]
    code = line[line.index(fence) + len(fence) : -len(fence)]
    assert fence not in code
    return code[1:-1] if len(fence) > 1 else code


@pytest.mark.parametrize("name", NAMES)
def test_a_command_can_be_pasted_from_the_file_and_from_the_terminal(name: str) -> None:
    typed = ["python", "-m", "analysis.summary", name]
    assert shlex.split(code_span(markdown("x", [section(name)], []))) == typed
    shown = terminal(name)
    (line,) = (line for line in shown.splitlines() if line.startswith("  Again: "))
    assert shlex.split(line.removeprefix("  Again: ")) == typed


def terminal(name: str, *, markup: bool = True) -> str:
    stream = io.StringIO()
    print_sections([section(name)], Console(file=stream, width=200, markup=markup))
    return stream.getvalue()


@pytest.mark.parametrize("markup", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_terminal_shows_a_name_as_it_is(name: str, markup: bool) -> None:
    lines = [line.rstrip() for line in terminal(name, markup=markup).splitlines()]
    assert lines[:4] == ["", name, f"  {name}", f"  Corpus: {name}."]
    assert lines[5].split(" steps")[0].strip() == name


def test_latex_does_not_read_a_name_in_brackets_as_an_argument() -> None:
    text = latex([section("[old] *x* --resume $a_1$")])
    assert "\\item {[}old{]} {*}x{*} -{}-resume \\$a\\_1\\$" in text
    assert "\\\\\n{[}old{]}" in text or "\\hline\n{[}old{]}" in text
