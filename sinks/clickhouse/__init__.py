"""ClickHouse: tables, rows, and the store that the stream processors land in."""
