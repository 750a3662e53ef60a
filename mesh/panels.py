"""What the dashboard of a mesh shows: its rows, their panels, and the expressions behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

COLUMNS: Final = 24
"""Of a row, as Grafana counts."""

Kind = Literal["timeseries", "stat", "table"]


@dataclass(frozen=True)
class Panel:
    """One panel: a title, and expressions with what their series are called."""

    title: str
    unit: str
    targets: tuple[tuple[str, str], ...]
    kind: Kind = "timeseries"
    width: int = 8
    about: str = ""


def _rate(metric: str, by: str, matching: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{matching}}}[$__rate_interval]))"


def _share(part: str, whole: str) -> str:
    return f"({part}) / ({whole})"


def _quantile(metric: str, by: str, matching: str = "", quantile: float = 0.95) -> str:
    return f"histogram_quantile({quantile}, {_rate(f'{metric}_bucket', f'le, {by}', matching)})"


_EDGE: Final = 'envoy_http_conn_manager_prefix="edge"'
_HTTP: Final = "visionmesh_http_server_duration_seconds"
_RPC: Final = "visionmesh_rpc_server_duration_seconds"
_OPERATION: Final = "visionmesh_graphql_operation_duration_seconds"
_SUBGRAPH: Final = "visionmesh_graphql_subgraph_duration_seconds"
_INFERENCE: Final = "visionmesh_model_inference_seconds"
_HITS: Final = "visionmesh_result_cache_hits_total"
_MISSES: Final = "visionmesh_result_cache_misses_total"
_REST: Final = 'process="rest"'
_USED: Final = "visionmesh_graphql_fields_total"
_DEPRECATED: Final = "visionmesh_graphql_deprecated_fields_total"

ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "The mesh": (
        Panel("Processes that answer", "short", (('sum(up{job="visionmesh"})', ""),), "stat", 4),
        Panel(
            "Processes that do not",
            "short",
            (('count(up{job="visionmesh"} == 0) or vector(0)', ""),),
            "stat",
            4,
        ),
        Panel(
            "Requests at the edge",
            "reqps",
            (
                (
                    _rate("envoy_http_downstream_rq_xx", "envoy_response_code_class", _EDGE),
                    "{{envoy_response_code_class}}xx",
                ),
            ),
        ),
        Panel(
            "Time at the edge",
            "ms",
            tuple(
                (
                    _quantile("envoy_http_downstream_rq_time", "instance", _EDGE, quantile),
                    f"p{quantile * 100:g}",
                )
                for quantile in (0.5, 0.95, 0.99)
            ),
        ),
        Panel(
            "What does not work as it should",
            "short",
            (("sum by (process, component) (visionmesh_condition)", "{{process}} {{component}}"),),
            width=COLUMNS,
            about="1 while it lasts; `visionmesh status` says what it is.",
        ),
    ),
    "REST": (
        Panel("Requests", "reqps", ((_rate(f"{_HTTP}_count", "route", _REST), "{{route}}"),)),
        Panel(
            "Status",
            "reqps",
            ((_rate(f"{_HTTP}_count", "status", _REST), "{{status}}"),),
        ),
        Panel("Time, p95", "s", ((_quantile(_HTTP, "route", _REST), "{{route}}"),)),
    ),
    "GraphQL": (
        Panel(
            "Operations",
            "reqps",
            ((_rate("visionmesh_graphql_operations_total", "operation"), "{{operation}}"),),
        ),
        Panel(
            "Errors",
            "reqps",
            ((_rate("visionmesh_graphql_errors_total", "code"), "{{code}}"),),
        ),
        Panel("Time, p95", "s", ((_quantile(_OPERATION, "operation"), "{{operation}}"),)),
        Panel("Subgraphs, time, p95", "s", ((_quantile(_SUBGRAPH, "subgraph"), "{{subgraph}}"),)),
        Panel(
            "Subgraphs, what became of it",
            "reqps",
            ((_rate(f"{_SUBGRAPH}_count", "subgraph, outcome"), "{{subgraph}} {{outcome}}"),),
        ),
        Panel(
            "Answered by an equal operation's execution",
            "reqps",
            (("sum(rate(visionmesh_graphql_joined_total[$__rate_interval]))", "joined"),),
        ),
    ),
    "Services": (
        Panel("Calls", "reqps", ((_rate(f"{_RPC}_count", "process, method"), "{{method}}"),)),
        Panel(
            "Calls that do not end with OK",
            "reqps",
            ((_rate(f"{_RPC}_count", "process, code", 'code!="OK"'), "{{process}} {{code}}"),),
        ),
        Panel("Time, p95", "s", ((_quantile(_RPC, "method"), "{{method}}"),)),
        Panel(
            "Images of calls, by what became of them",
            "ops",
            ((_rate("visionmesh_outcomes_total", "process, code"), "{{process}} {{code}}"),),
        ),
        Panel(
            "Who found it on its way",
            "ops",
            ((_rate("visionmesh_flights_joined_total", "process"), "{{process}}"),),
        ),
        Panel(
            "Audit entries lost",
            "short",
            (("sum by (replica) (visionmesh_audit_entries_lost_total)", "{{replica}}"),),
        ),
    ),
    "Models": (
        Panel(
            "Images looked at",
            "ops",
            ((_rate("visionmesh_predictions_total", "process"), "{{process}}"),),
        ),
        Panel("Inference, p95", "s", ((_quantile(_INFERENCE, "model, file"), "{{file}}"),)),
        Panel(
            "Inputs of an inference",
            "short",
            (
                (
                    _share(
                        _rate("visionmesh_model_batch_size_sum", "model, file"),
                        _rate("visionmesh_model_batch_size_count", "model, file"),
                    ),
                    "{{file}}",
                ),
            ),
        ),
        Panel(
            "What waits",
            "short",
            (
                (
                    "sum by (model, queue) (visionmesh_model_queue_depth)",
                    "{{model}} {{queue}}",
                ),
                ("sum by (model) (visionmesh_model_queue_limit)", "{{model}} at most"),
            ),
        ),
        Panel(
            "Waiting for a turn, p95",
            "s",
            ((_quantile("visionmesh_model_queue_seconds", "model"), "{{model}}"),),
            about="Of those who had to wait.",
        ),
        Panel(
            "CPU of inference",
            "short",
            ((_rate("visionmesh_model_cpu_seconds_total", "model"), "{{model}}"),),
            about="Cores.",
        ),
        Panel(
            "Answers derived",
            "ops",
            ((_rate("visionmesh_derivations_total", "process"), "{{process}}"),),
        ),
    ),
    "Results": (
        Panel(
            "At the edge",
            "reqps",
            ((_rate("envoy_cache_event", "event_type"), "{{event_type}}"),),
            about="What Envoy's cache answered (hit), asked about (validate), or had not (miss).",
        ),
        Panel("Found, by layer", "ops", ((_rate(_HITS, "process, tier"), "{{process}} {{tier}}"),)),
        Panel(
            "Share found",
            "percentunit",
            (
                (
                    _share(
                        _rate(_HITS, "process"),
                        f"{_rate(_HITS, 'process')} + {_rate(_MISSES, 'process')}",
                    ),
                    "{{process}}",
                ),
            ),
        ),
        Panel(
            "Not stored",
            "ops",
            (
                (
                    _rate("visionmesh_results_not_stored_total", "process, reason"),
                    "{{process}} {{reason}}",
                ),
            ),
        ),
    ),
    "What is used": (
        Panel(
            "Fields of the graph",
            "short",
            ((f"topk(50, sum by (type, field) (increase({_USED}[$__range])))", ""),),
            "table",
        ),
        Panel(
            "Deprecated fields of the graph, by client",
            "short",
            ((f"sum by (client, type, field) (increase({_DEPRECATED}[$__range]))", ""),),
            "table",
        ),
        Panel(
            "Fields of REST",
            "short",
            (
                (
                    "topk(50, sum by (schema, field) "
                    "(increase(visionmesh_rest_fields_total[$__range])))",
                    "",
                ),
            ),
            "table",
        ),
        Panel(
            "Over-fetch that `fields` saves",
            "percentunit",
            (
                (
                    "1 - "
                    + _share(
                        _rate("visionmesh_rest_answer_bytes_total", "schema"),
                        _rate("visionmesh_rest_whole_answer_bytes_total", "schema"),
                    ),
                    "{{schema}}",
                ),
            ),
            about="Of the bytes of whole answers, the share that was not sent.",
        ),
    ),
    "Processes": (
        Panel("CPU", "short", ((_rate("process_cpu_seconds_total", "process"), "{{process}}"),)),
        Panel(
            "Memory",
            "bytes",
            (("sum by (process) (process_resident_memory_bytes)", "{{process}}"),),
        ),
        Panel(
            "The gateway's event loop, busy",
            "percentunit",
            ((_rate("nodejs_eventloop_active_seconds_total", "replica"), "{{replica}}"),),
        ),
    ),
}
