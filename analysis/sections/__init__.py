"""Words: tables as sections of text, and sections as Markdown, LaTeX or terminal output."""
