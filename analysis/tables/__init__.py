"""Numbers: from the two tables of `analysis.results` to tables that say or show one thing. No drawing, no words."""
