"""Every speed and accuracy figure that we quote, one script each, with peers beside us in the same run."""
