"""Report text: sections of lines and tables, written as Markdown, LaTeX or terminal output."""
