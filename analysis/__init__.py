"""Results folder -> pandas -> tables, figures, summary; imports neither ray nor torch."""
