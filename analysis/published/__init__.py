"""The runs of the published study: TensorBoard folders read as the tables of `analysis.results`."""
