"""Token blocks to a teacher: counts, smoothing, the table, the guidance of a step, and the schedule of its weight."""
