"""Pictures of plots and tables, drawn with matplotlib; nothing is computed here."""

import analysis.own_matplotlib  # noqa: F401  (before every module that imports matplotlib)
