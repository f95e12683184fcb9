"""The embedded ClickHouse endpoint: the engine in this process, behind ClickHouse's HTTP protocol.

Start it with `python -m infra.local.clickhouse --data-dir DIR`; `docs/embedded-clickhouse.md` says what
it does and does not do. Bytes go through the modules in this order::

    server       HTTP in and out, one task for each request
    request      what a client asked for, as a frozen value          (pure)
    access       who may ask                                         (pure)
    statements   which kind of statement, where its data begins      (pure; reads `lexer`)
    fence        no files and no network from a client's SQL         (pure)
    sessions     handles that outlive a request
    execution    one statement on one handle of the engine
    engine       the engine itself, owned by one process (`ownership`)
    native       the Native format for a client's protocol version   (pure)
    compression  request and response bodies
    wire         statuses, headers and error bodies                  (pure)
"""
