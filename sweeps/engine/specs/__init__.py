"""A run as data: a search or a comparison, its space of settings, and the names of its trials."""
