"""Sections as LaTeX: paragraphs and plain tabulars, no package needed."""

import re
from typing import Final

from analysis.sections.document import Section, Table


def latex(sections: list[Section]) -> str:
    """Paragraphs and plain tabulars, no package needed."""
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
    """Escaped; a minus before a number is a minus, not a hyphen."""
    escaped = re.sub(r"[&%$#_{}\\~^<>|]", lambda found: _LATEX[found.group()], text)
    return re.sub(r"(?<!\S)-(?=\d)", "$-$", escaped)
