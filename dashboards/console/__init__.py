"""The console: the same panels in a browser, for people without Grafana."""
