"""Pictures (matplotlib): they draw plots and tables, and work out nothing."""
