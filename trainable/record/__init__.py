"""What a run leaves on disk or behind a URI: files written whole, the cache, ledgers, TensorBoard."""
