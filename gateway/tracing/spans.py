"""The spans of a call, after OpenTelemetry's conventions for generative AI and for HTTP.

A call is one span, which continues the caller's trace; each attempt at a provider is a span beneath it, which
the provider's own spans can continue. Spans say who, what and how much. They never hold a word of a prompt or
an answer, nor the message of an error, as providers quote requests in theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Timer
from time import perf_counter, time_ns

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from gateway.exchange import Exchange
from gateway.upstream.attempts import UNREACHABLE
from gateway.upstream.provider import ProviderError
from spendstream import __version__
from spendstream.events import TokenUsage
from spendstream.money import dollars

__all__ = ["Trace", "Tracing"]

_OK = 200
_CLOSE_S = 2.0
_context = TraceContextTextMapPropagator()
_failed = Status(StatusCode.ERROR)


class Tracing:
    """Sends spans to the collector at `endpoint`, in batches, from a thread of its own.

    The standard variables hold: `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_…`. Spans that
    the collector does not take in time are dropped: they are no record of spend.
    """

    def __init__(self, endpoint: str, instance: str) -> None:
        names = {"service.name": "spendstream-gateway", "service.version": __version__}
        self._provider = TracerProvider(
            resource=Resource.create({**names, "service.instance.id": instance}), shutdown_on_exit=False
        )
        self._exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
        self._batches = BatchSpanProcessor(self._exporter)
        self._provider.add_span_processor(self._batches)
        self._tracer = self._provider.get_tracer("spendstream.gateway", __version__)

    def begin(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> Trace:
        """Return the trace of a call that is admitted; it continues the one in the request's headers."""
        return Trace(self._tracer, exchange, _given(headers))

    def flush(self) -> None:
        """Send what there is, and wait for it."""
        self._batches.force_flush()

    def close(self) -> None:
        """Send what is left. For a collector that is away it waits two seconds."""
        patience = Timer(_CLOSE_S, self._exporter.shutdown)
        patience.start()
        self._provider.shutdown()
        patience.cancel()


class Trace:
    """The spans of one call. `trace_id` and `span_id` are in hex."""

    __slots__ = ("_attempt", "_inside", "_span", "_tracer")

    def __init__(self, tracer: Tracer, exchange: Exchange, context: Context) -> None:
        ask = exchange.ask
        operation = exchange.dialect.operation
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": exchange.provider,
            "gen_ai.request.model": ask.model,
            "spendstream.request_id": exchange.request_id,
        }
        if ask.stream:
            attributes["gen_ai.request.stream"] = True
        if ask.max_output_tokens is not None:
            attributes["gen_ai.request.max_tokens"] = ask.max_output_tokens
        self._tracer = tracer
        self._span = tracer.start_span(
            f"{operation} {ask.model}",
            context,
            SpanKind.SERVER,
            attributes,
            start_time=time_ns() - round((perf_counter() - exchange.arrived) * 1e9),
        )
        self._inside = set_span_in_context(self._span, context)
        self._attempt: Span | None = None

    @property
    def trace_id(self) -> str:
        """The trace's."""
        return f"{self._span.get_span_context().trace_id:032x}"

    @property
    def span_id(self) -> str:
        """The call's."""
        return f"{self._span.get_span_context().span_id:016x}"

    def tried(self, exchange: Exchange) -> bytes:
        """Begin a span for an attempt; return the lines of headers by which the provider continues it."""
        assert exchange.candidate is not None  # noqa: S101 - it is tried
        candidate, path = exchange.candidate, exchange.dialect.path
        address = candidate.provider.address
        attributes: dict[str, AttributeValue] = {
            "http.request.method": "POST",
            "server.address": address.host,
            "server.port": address.port,
            "gen_ai.provider.name": candidate.provider.name,
            "gen_ai.request.model": candidate.model,
        }
        if exchange.retries:
            attributes["http.request.resend_count"] = exchange.retries
        self._attempt = span = self._tracer.start_span(
            f"POST {path}", self._inside, SpanKind.CLIENT, attributes
        )
        return _lines(span)

    def failed(self, error: ProviderError) -> None:
        """End the span of an attempt that failed."""
        answered = error.error_type != UNREACHABLE
        self._end_attempt(error.status if answered else None, error.error_type)

    def end(self, exchange: Exchange) -> None:
        """End what is open of a call that is settled."""
        answered = exchange.reader is not None or exchange.complete
        self._end_attempt(_OK if answered else None, exchange.error_type)
        if exchange.event is not None and self._span.is_recording():
            self._span.set_attributes(_outcome(exchange, exchange.event))
            if exchange.error_type:
                self._span.set_status(_failed)
        self._span.end()

    def _end_attempt(self, status: int | None, error_type: str) -> None:
        span, self._attempt = self._attempt, None
        if span is None:
            return
        if error_type:
            span.set_attribute("error.type", error_type)
            span.set_status(_failed)
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        span.end()


def _outcome(exchange: Exchange, event: TokenUsage) -> dict[str, AttributeValue]:
    """Return what is known once the call is over. Only what there is of a kind is said."""
    found: dict[str, AttributeValue] = {
        "gen_ai.provider.name": event.provider,
        "gen_ai.response.model": event.model,
        "gen_ai.usage.input_tokens": event.input_tokens,
        "gen_ai.usage.output_tokens": event.output_tokens,
        "http.response.status_code": event.status,
        "spendstream.usage_source": event.usage_source,
        "spendstream.overhead_us": round(exchange.overhead(perf_counter()) * 1e6),
    }
    sometimes: dict[str, AttributeValue] = {
        "spendstream.cache_outcome": "" if exchange.hit is None else event.cache_outcome,
        "error.type": event.error_type,
        "gen_ai.usage.cache_read.input_tokens": event.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": event.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": event.reasoning_tokens,
        "spendstream.team": event.team,
        "spendstream.route": event.route,
        "spendstream.retries": event.retries,
    }
    found.update((name, value) for name, value in sometimes.items() if value)
    if exchange.finish_reason:
        found["gen_ai.response.finish_reasons"] = [exchange.finish_reason]
    if exchange.ask.stream and event.time_to_first_token is not None:
        found["gen_ai.response.time_to_first_chunk"] = event.time_to_first_token / 1e6
    if event.cost is not None:
        found["spendstream.cost"] = f"{dollars(event.cost):f}"
    return found


def _given(headers: Mapping[bytes, bytes]) -> Context:
    """Return the trace that the caller is in; nothing for a header that is none."""
    parent = headers.get(b"traceparent")
    if parent is None:
        return Context()
    state = headers.get(b"tracestate", b"")
    carrier = {"traceparent": parent.decode("latin-1"), "tracestate": state.decode("latin-1")}
    return _context.extract(carrier, Context())


def _lines(span: Span) -> bytes:
    carrier: dict[str, str] = {}
    _context.inject(carrier, set_span_in_context(span, Context()))
    return "".join(f"{name}: {value}\r\n" for name, value in carrier.items()).encode("latin-1")
