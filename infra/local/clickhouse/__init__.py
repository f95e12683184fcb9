"""The embedded ClickHouse endpoint: the engine in this process, behind ClickHouse's HTTP protocol.

Start it with `python -m infra.local.clickhouse --data-dir DIR`; `docs/embedded-clickhouse.md` says what
it does and does not do. Bytes go through the modules in this order::

    server       HTTP in and out, one task for each request
    bodies       forms, and uploads that arrive while they are read
    request      what a client asked for, as a frozen value            (pure)
    access       who may ask                                           (pure)
    sessions     handles that outlive a request
    execution    one request on the engine: rows in, rows out
    statements   which kind of statement, where its data begins        (pure; reads `lexer`)
    fence        no files and no network from a client's SQL           (pure; reads `lexer`)
    preparation  a handle with the database and settings of a request
    engine       the engine itself, owned by one process (`ownership`)
    native       the Native format for a client's protocol version     (pure; reads `columns`)
    compression  request and response bodies
    wire         statuses, headers, an error amid rows                 (pure)
"""
