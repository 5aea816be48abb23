"""Results to tables, words, pictures and pages; imports neither Ray nor torch.

A command (`python -m analysis.summary`, `.report`, `.curves`, `.kfold_table`, `.schedule_report`, `.asha_replay`,
`.published_runs`) reads a run folder with `results`, works out numbers in `tables/`, and shows them: in words with
`sections/`, as plots with `plots/`, which `figures/` draws as pictures and `page/` on one HTML page. `kinds` says which
of them a search has and which a comparison.
"""
