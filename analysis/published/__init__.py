"""The published study's runs: from TensorBoard folders to the tables of `analysis.results`."""
