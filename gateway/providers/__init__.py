"""Those who run the models."""
