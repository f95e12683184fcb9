"""The doors to the outside: Kafka, ClickHouse and the disk spool, for all shells to share."""
