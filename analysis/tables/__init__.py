"""Numbers: tables for one purpose each, computed from the two tables of `analysis.results`; no words, no drawing."""
