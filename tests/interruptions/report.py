"""What the rounds hit, as a table. Pure."""

from __future__ import annotations

from tests.interruptions.moments import Victim
from tests.interruptions.soak import ORDER, Findings


def table(findings: Findings) -> str:
    """Rounds by phase and victim."""
    rows = [["", *(victim.value for victim in Victim), "all"]]
    hits = findings.hits
    for phase in ORDER:
        counts = [
            sum(n for (_, at, whom), n in hits.items() if (at, whom) == (phase, victim))
            for victim in Victim
        ]
        rows.append([phase.value, *map(str, counts), str(sum(counts))])
    sums = [sum(n for (_, _, whom), n in hits.items() if whom == victim) for victim in Victim]
    rows.append(["all", *map(str, sums), str(sum(sums))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{it:>{width}}" for it, width in zip(row, widths, strict=True)) for row in rows
    ]
    ends = ", ".join(
        f"{victim.value} {code}: {n}" for (victim, code), n in sorted(findings.ends.items())
    )
    lines.append(f"{findings.rounds} rounds; exit codes by victim: {ends}")
    lines.append(
        f"{findings.trials} trials were left to their end, {findings.collections} collections "
        "left nothing unneeded"
    )
    return "\n".join(lines)
