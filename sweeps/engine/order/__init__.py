"""Which trial comes next, and which is stopped early."""
