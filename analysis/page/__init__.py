"""The HTML page of a run: its report, and while the run goes a live page; plots as data for plotly.js."""

import analysis.own_matplotlib  # noqa: F401  (before all that imports matplotlib)
