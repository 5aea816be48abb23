"""Plots as data: curves and points with their looks and names, apart from any drawing.

`analysis.figures.draw` draws a plot with matplotlib, `analysis.page.plotly` with plotly.js; neither knows what a plot
shows. To add a plot, write a function that makes its `PlotData` in the module of its kind of run (`arm_plots` for
comparisons, `group_plots` for searches in groups, `search_plots` for older searches) and list it there. Picture,
summary and page then show it.
"""
