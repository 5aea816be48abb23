"""The HTML page: plots as data for plotly.js, and the page around them."""
