"""Lines of text as a terminal shows them: of 80 columns where the output is none, broken between words."""

import textwrap

WIDTH = 80  # columns of what is printed to a file or a pipe


def paragraph(text: str, width: int = WIDTH, indent: str = "") -> str:
    """Return the text in lines of at most `width` columns, the further ones indented by two more.

    A word that is longer, such as a path, stays whole on a line of its own.
    """
    return textwrap.fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
