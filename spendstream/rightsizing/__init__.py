"""What containers should request: usage as histograms, recommenders, and whether they can be trusted."""
