"""What a node says of itself is found again under the names that a machine serves it by."""

from __future__ import annotations

from deploy.supervisor.measures import parse, read
from dora.compile.measures import document
from dora.protocol.traffic import InputTraffic, OperatorTraffic, Traffic

OPERATOR = OperatorTraffic("running", 1, 90, 80, 7, 2, 3, 4, 5, 1500, 2500, 9_000_000, 40_000)


def test_every_measure_finds_its_number_in_a_status() -> None:
    """Of nodes and of runtimes with operators, in base units."""
    traffic = Traffic(
        received=10,
        sent=9,
        dropped=8,
        inputs={"image": InputTraffic(10, 8)},
        outputs={"boxes": 9},
        operators={"filter": OPERATOR},
        operator_states={"running": 1},
    )
    status = read(traffic.to_text())
    found = {measure.name: list(measure.find(status)) for measure in parse(document())}

    filter = (("operator", "filter"),)
    assert {
        "dora_node_received_total": [((), 10)],
        "dora_node_sent_total": [((), 9)],
        "dora_node_dropped_total": [((), 8)],
        "dora_input_received_total": [((("input", "image"),), 10)],
        "dora_input_dropped_total": [((("input", "image"),), 8)],
        "dora_output_sent_total": [((("output", "boxes"),), 9)],
        "dora_node_operators": [((("state", "running"),), 1)],
        "dora_operator_received_total": [(filter, 90)],
        "dora_operator_runs_total": [(filter, 80)],
        "dora_operator_restarts_total": [(filter, 1)],
        "dora_operator_deadline_misses_total": [(filter, 7)],
        "dora_operator_skipped_total": [(filter, 2)],
        "dora_operator_dropped_total": [(filter, 3)],
        "dora_operator_overruns_total": [(filter, 4)],
        "dora_operator_queue_messages": [(filter, 5)],
        "dora_operator_lateness_mean_seconds": [(filter, 1500 * 1e-6)],
        "dora_operator_lateness_max_seconds": [(filter, 2500 * 1e-6)],
        "dora_operator_run_seconds_total": [(filter, 9.0)],
        "dora_operator_run_max_seconds": [(filter, 40_000 * 1e-6)],
    } == found
