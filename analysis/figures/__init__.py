"""Pictures (matplotlib): they draw tables and work out nothing."""
