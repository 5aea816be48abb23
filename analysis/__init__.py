"""Results to tables, words, pictures and pages; neither Ray nor torch.

A command (`python -m analysis.summary`, `.report`, `.curves`, `.kfold_table`, `.schedule_report`, `.asha_replay`,
`.published_runs`) reads a run folder with `results`, works out numbers in `tables/`, and shows them: in words with
`sections/`, as pictures with `figures/`, as one HTML page with `page/`. Each imports only from those before it.
"""
