"""The HTML page: plots as data for plotly.js, and the page around them."""

import analysis.own_matplotlib  # noqa: F401  (before all that imports matplotlib)
