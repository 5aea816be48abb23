"""Numbers: tables for one purpose each, computed from the two tables of `analysis.results`, without words or drawing."""
