"""A simulated cluster and the AI traffic beside it, before and after optimisation."""
