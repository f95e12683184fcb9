"""The way to whoever runs the models: connections, providers, and what is tried when one of them fails."""
