# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/performance.md from the results of the parts: every figure in it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench import targets
from tests.bench.figures import OURS, Job, Part, Timing


def _seconds(timing: Timing) -> str:
    if len(timing.seconds) == 1:
        return f"{timing.median:.1f} s"
    return f"{timing.median:.1f} s ({min(timing.seconds):.1f} to {max(timing.seconds):.1f})"


def _stored(timing: Timing) -> str:
    return f"{timing.bytes / 1e6:,.1f} MB" if any(timing.stored) else ""


def _rows(job: Job) -> Iterator[str]:
    ours = job.timings.get(OURS)
    for name, timing in job.timings.items():
        ratio = f"{ours.median / timing.median:.2f}" if ours and timing is not ours else ""
        yield f"| {job.title} | {name} | {_seconds(timing)} | {ratio} | {_stored(timing)} |"


def _ordered(job: Job) -> Job:
    """The collection first, the others always in one order."""
    return Job(job.title, dict(sorted(job.timings.items(), key=lambda item: (item[0] != OURS, item[0]))))


def section(part: Part) -> list[str]:
    lines = [f"### {part.title}", "", f"{part.data} Measured on {part.date} in {part.took:.0f} s by `{part.command}`"]
    lines += [f"on {part.machine}; {', '.join(part.versions)}.", ""]
    if part.name == "daily":
        lines += ["| what | contender | stored altogether | day2.ops is, of it |", "|---|---|---|---|"]
        for job in map(_ordered, part.jobs.values()):
            ours = job.timings[OURS]
            for name, timing in job.timings.items():
                ratio = f"{ours.bytes / timing.bytes:.2f}" if timing is not ours else ""
                lines.append(f"| {job.title} | {name} | {_stored(timing)} | {ratio} |")
    elif part.name == "many":
        lines += ["| what | seconds |", "|---|---|"]
        lines += [f"| {job.title} | {_seconds(job.timings[OURS])} |" for job in part.jobs.values()]
    else:
        lines += ["| job | contender | median (least to most) | day2.ops is, of it | stored |", "|---|---|---|---|---|"]
        for job in map(_ordered, part.jobs.values()):
            lines += _rows(job)
        lines += [
            "",
            f"Medians of {part.rounds}. Peak memory of the collection's own process: {part.peak / 1024:.0f} MiB.",
        ]
    return [*lines, ""]


def _losses(parts: Sequence[Part]) -> list[str]:
    """Every figure in which a rival was better, the worst first."""
    found = []
    for part in parts:
        for job in part.jobs.values():
            ours = job.timings.get(OURS)
            for name, timing in job.timings.items() if ours else ():
                if timing is ours or ours is None:
                    continue
                if part.name != "daily" and ours.median > timing.median:
                    plus = ours.median - timing.median
                    ratio = ours.median / timing.median
                    found.append((ratio, f"| {part.title} | {job.title} | {name} | {ratio:.2f} | +{plus:.1f} s |"))
                if any(timing.stored) and ours.bytes > timing.bytes:
                    plus, ratio = (ours.bytes - timing.bytes) / 1e6, ours.bytes / max(timing.bytes, 1)
                    found.append(
                        (ratio, f"| {part.title} | {job.title}, stored | {name} | {ratio:.2f} | +{plus:.2f} MB |")
                    )
    if not found:
        return ["Nowhere in these figures."]
    head = ["| part | job | against | ratio | difference |", "|---|---|---|---|---|"]
    return head + [line for _ratio, line in sorted(found, reverse=True)]


def _targets(parts: Mapping[str, Part]) -> list[str]:
    lines = ["| part | what | reached; wanted |", "|---|---|---|"]
    return lines + [f"| {one.target.part} | {one.target.what} | {one} |" for one in targets.verdicts(parts)]


def document(template: Path, parts: Sequence[Part]) -> str:
    named = {part.name: part for part in parts}
    text = template.read_text()
    for mark, lines in (
        ("@TARGETS@", _targets(named)),
        ("@PARTS@", [line for part in parts for line in section(part)]),
        ("@LOSSES@", _losses(parts)),
    ):
        text = text.replace(mark, "\n".join(lines).rstrip())
    return text
