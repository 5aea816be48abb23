"""Plots as data: which curves and points there are, how they look and what they are called, apart from any drawing.

`analysis.figures.draw` draws a plot with matplotlib, `analysis.page.plotly` with plotly.js; neither knows what a plot
is about. To add a plot, write a function that makes its `PlotData` in the module of its kind of run (`arm_plots` for
comparisons, `search_plots` for searches) and list it there; picture, summary and page follow.
"""
