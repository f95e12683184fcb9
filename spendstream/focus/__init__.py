"""FOCUS, the FinOps Open Cost and Usage Specification: spend as the rows that other tools read."""
