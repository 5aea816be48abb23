"""The data of a report (sections of lines and tables) and its three forms: Markdown, LaTeX and terminal output.

Sections hold plain text. Names that a user chose may contain any character, so each form escapes what it would read as
markup. Commands are kept apart from the lines and written unchanged, so that a reader can paste them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from trainable.record.lines import paragraph

Subject = Literal["question", "verdict", "setting", "finding", "leak", "failed", "not controlled", "files"]


@dataclass(frozen=True)
class Table:
    """A table of text: headings and rows.

    brief: headings of the columns that carry the answer, which the end of a run shows alone; none: it leaves the table
    out.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    brief: tuple[str, ...] = ()

    def of_brief(self) -> "Table":
        """The table with the columns of `brief` alone."""
        kept = [i for i, heading in enumerate(self.headings) if heading in self.brief]
        return Table(tuple(self.headings[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in self.rows))


@dataclass(frozen=True)
class Section:
    """A title, lines of text (items of a list), commands with their purpose, and tables below them.

    subject: the topic, which decides the place of the section on a page; "finding" for all sections without a topic of
    their own.
    """

    title: str
    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    subject: Subject = "finding"
    is_warning: bool = False
    commands: tuple[tuple[str, str], ...] = ()  # pairs of purpose and command


def markdown(title: str, sections: Iterable[Section], pictures: Iterable[str]) -> str:
    """A report as Markdown. pictures: their paths, relative to the file of the report."""
    parts = [f"# {as_markdown(title)}\n", *map(_section_markdown, sections)]
    return "\n".join([*parts, *(f"![{path.split('/')[-1]}]({path})\n" for path in pictures)])


def print_sections(sections: Iterable[Section], console: Console) -> None:
    """Print sections in the terminal."""
    for section in sections:
        console.print(Text.assemble("\n", (section.title, "bold")))
        for line in section.lines:
            console.print(Text(paragraph(line, console.width, "  ")), soft_wrap=True)
        for what, command in section.commands:
            console.print(Text(f"  {what}: {command}"), soft_wrap=True)  # one line, so that it can be pasted
        for table in section.tables:
            console.print(_rich_table(table))


def as_markdown(text: str) -> str:
    """Text escaped for Markdown: no emphasis, code, link, tag, formula or reference is read in it."""
    escaped = _MARKDOWN.sub(lambda found: f"\\{found.group()}", " ".join(text.splitlines()))
    return re.sub(r"&(?=#?\w+;)", "&amp;", escaped)


_MARKDOWN: Final = re.compile(
    r"""[\\`*<$|]
    | (?<![0-9A-Za-z])_ | _(?![0-9A-Za-z])   # inside a word an underscore is no markup
    | ~(?=~)
    | \[(?=[^\]]*\][(\[:]) | ^\[(?=[ xX]\])   # start of a link, or of a tick box
    | ^(?:\#+|[-+])(?=\ ) | (?<=^\d)[.)](?=\ )   # start of a title or of a list item
    """,
    re.VERBOSE,
)


def _code_markdown(text: str) -> str:
    """A code span around the text, with a fence that is longer than any run of backticks in it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    room = " " if len(fence) > 1 else ""
    return f"{fence}{room}{text}{room}{fence}"


def _section_markdown(section: Section) -> str:
    lines = "".join(f"- {as_markdown(line)}\n" for line in section.lines)
    lines += "".join(f"- {as_markdown(what)}: {_code_markdown(command)}\n" for what, command in section.commands)
    tables = "".join(f"\n{_table_markdown(table)}" for table in section.tables)
    return f"## {as_markdown(section.title)}\n\n{lines}{tables}"


def _table_markdown(table: Table) -> str:
    rows = [map(as_markdown, row) for row in (table.headings, *table.rows)]
    head, *body = ["| " + " | ".join(row) + " |\n" for row in rows]
    return "".join([head, "| " + " | ".join(["---"] * len(table.headings)) + " |\n", *body])


def _rich_table(table: Table) -> RichTable:
    drawn = RichTable(header_style="bold", box=None, collapse_padding=True)
    for heading in table.headings:
        drawn.add_column(Text(heading))
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    return drawn


def latex(sections: list[Section]) -> str:
    """Sections as LaTeX paragraphs and plain tabulars, which need no package."""
    return "\n".join(map(_latex_section, sections))


def _latex_section(section: Section) -> str:
    commands = (f"{what}: {command}" for what, command in section.commands)
    notes = "".join(f"  \\item {_latex_text(line)}\n" for line in (*section.lines, *commands))
    tables = "".join(f"\n{_latex_table(table)}" for table in section.tables)
    return f"\\paragraph{{{_latex_text(section.title)}}}\n\\begin{{itemize}}\n{notes}\\end{{itemize}}\n{tables}"


def _latex_table(table: Table) -> str:
    head, *body = [" & ".join(map(_latex_text, row)) + " \\\\\n" for row in (table.headings, *table.rows)]
    columns = "l" + "r" * (len(table.headings) - 1)
    return f"\\begin{{tabular}}{{{columns}}}\n\\hline\n{head}\\hline\n{''.join(body)}\\hline\n\\end{{tabular}}\n"


_LATEX: Final = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    # After \item and \\ brackets and a star would be arguments; two hyphens would become a dash.
    **{"[": "{[}", "]": "{]}", "*": "{*}", "--": "-{}-"},
}


def _latex_text(text: str) -> str:
    """Text escaped for LaTeX, with a minus sign before numbers instead of a hyphen."""
    escaped = re.sub(r"[&%$#_{}\\~^<>|\[\]*]|--", lambda found: _LATEX[found.group()], text)
    return re.sub(r"(?<!\S)-(?=\d)", "$-$", escaped)
