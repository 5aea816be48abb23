"""A report as data, apart from how it is shown: sections of lines and tables, as Markdown, LaTeX or in the terminal."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

Subject = Literal["question", "verdict", "setting", "finding", "leak", "not controlled", "files"]


@dataclass(frozen=True)
class Table:
    """Headings and rows of text, fit for Markdown and for the terminal."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A title, lines of text (points of a list), and tables below them.

    subject: what the section is about, where something depends on it; "finding" for all others.
    """

    title: str
    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    subject: Subject = "finding"
    is_warning: bool = False


def markdown(title: str, sections: Iterable[Section], pictures: Iterable[str]) -> str:
    """The text of a report; pictures are paths relative to it."""
    parts = [f"# {title}\n", *map(_section_markdown, sections)]
    return "\n".join([*parts, *(f"![{path.split('/')[-1]}]({path})\n" for path in pictures)])


def print_sections(sections: Iterable[Section], console: Console) -> None:
    """Print sections in the terminal."""
    for section in sections:
        console.print(f"\n[bold]{escape(section.title)}[/bold]")
        for line in section.lines:
            console.print(f"  {escape(line)}", highlight=False)
        for table in section.tables:
            console.print(_rich_table(table))


def _section_markdown(section: Section) -> str:
    lines = "".join(f"- {line}\n" for line in section.lines)
    tables = "".join(f"\n{_table_markdown(table)}" for table in section.tables)
    return f"## {section.title}\n\n{lines}{tables}"


def _table_markdown(table: Table) -> str:
    rows = [table.headings, ("---",) * len(table.headings), *table.rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def _rich_table(table: Table) -> RichTable:
    drawn = RichTable(*map(escape, table.headings), header_style="bold", box=None, collapse_padding=True)
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    return drawn


def latex(sections: list[Section]) -> str:
    """Sections as LaTeX paragraphs and plain tabulars, which need no package."""
    return "\n".join(map(_latex_section, sections))


def _latex_section(section: Section) -> str:
    notes = "".join(f"  \\item {_latex_text(line)}\n" for line in section.lines)
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
}


def _latex_text(text: str) -> str:
    """Text escaped for LaTeX, with a minus sign before numbers instead of a hyphen."""
    escaped = re.sub(r"[&%$#_{}\\~^<>|]", lambda found: _LATEX[found.group()], text)
    return re.sub(r"(?<!\S)-(?=\d)", "$-$", escaped)
