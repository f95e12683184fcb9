"""The cache of answers: what makes two requests the same, what is worth keeping, and where it is kept."""
