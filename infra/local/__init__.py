"""The embedded stack: broker, ClickHouse endpoint and the supervisor that runs them all."""
