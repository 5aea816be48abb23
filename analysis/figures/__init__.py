"""Pictures (matplotlib): they draw plots and tables, and work out nothing."""

import analysis.own_matplotlib  # noqa: F401  (before all that imports matplotlib)
