"""The HTML page of a run: a live page during the run, then the report; plots as data for plotly.js."""

import analysis.own_matplotlib  # noqa: F401  (before every module that imports matplotlib)
