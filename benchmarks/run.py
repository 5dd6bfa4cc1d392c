"""Measures speed side by side with what a user would take instead; prints tables and writes JSON.

    .venv/bin/python benchmarks/run.py                          every section (about an hour and a half on 2
    cores) .venv/bin/python benchmarks/run.py train features --rounds 7 .venv/bin/python benchmarks/run.py
    --quick                  tiny sizes, one round: does everything run?

Leave the machine alone meanwhile: contenders take turns, but other work is shared unevenly among them.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

from rounds import say  # noqa: E402
from sections import SECTIONS, SIZES, Bench, Report  # noqa: E402
from summary import SectionResult, processor_kind, write_result  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 where all sections ran and every contender could; 1 where one failed."""
    args = _parse(arguments)
    import torch

    from headstart.runtime.cores import instructions, processor_name, usable_cores
    from headstart.runtime.precision import resolve_precision

    native = resolve_precision("auto", torch.device("cpu"))
    sizes = SIZES["quick" if args.quick else "real"]
    if args.images:
        sizes = sizes | {"memory_images": [max(args.images // 10, 300), args.images]}
    if args.pixels:
        sizes = sizes | {"pixels": args.pixels, "memory_pixels": args.pixels}
    failed = False
    with tempfile.TemporaryDirectory(
        prefix="headstart-bench-", dir=args.work, ignore_cleanup_errors=True
    ) as work:
        bench = Bench(
            pythons={"ours": Path(sys.executable), "peers": args.peers},
            work=Path(work),
            sizes=sizes,
            native=native,
            rounds=args.rounds or (1 if args.quick else None),
        )
        for number, name in enumerate(args.sections or SECTIONS):
            load = os.getloadavg()[0]
            if load > 0.5 and not number:  # later sections see the load of those before them
                say(f"the machine is busy (load {load:.1f}): numbers will be low, ratios uneven")
            environment = {
                "processor": processor_name(),
                "kind": processor_kind(instructions()),
                "cores": usable_cores(),
                "platform": f"{platform.system()} {platform.machine()}",
                "python": platform.python_version(),
                "load_before": load,
                "sizes": dict(sizes),
                "command": " ".join(
                    ["benchmarks/run.py", *(arguments if arguments is not None else sys.argv[1:])]
                ),
                "native_precision": native,
                "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            }
            report = SECTIONS[name](bench)
            print(f"\n{report.text()}\n", flush=True)
            failed |= any((entry.problem or "").startswith("failed") for entry in report.measured.values())
            if args.quick and args.out is None:
                continue  # numbers of tiny runs mean nothing: they are not kept
            folder = args.out or HERE / "results"
            path = _write(report, folder, name, environment)
            say(f"written to {path}")
    return int(failed)


def _write(report: Report, folder: Path, name: str, environment: dict[str, Any]) -> Path:
    raw = {
        key: {"about": entry.about, "runs": entry.runs, "problem": entry.problem}
        for key, entry in report.measured.items()
    }
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    result = SectionResult(
        what=name,
        date=date,
        rows=report.rows,
        targets=report.targets,
        raw=raw,
        environment=environment,
        text=report.text(),
    )
    return write_result(folder, result)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; none: all")
    parser.add_argument(
        "--rounds",
        type=int,
        help="rounds of a section; default 5 (train, features: 15; linear, tutorial: 1; memory is always 1)",
    )
    parser.add_argument(
        "--peers",
        type=Path,
        default=HERE.parent / ".venv-bench" / "bin" / "python",
        help="Python of the environment with the peers (`make bench` makes it)",
    )
    parser.add_argument(
        "--images", type=int, help="images of the memory section's large trial; default 100,000"
    )
    parser.add_argument("--pixels", type=int, help="input size of ResNet-50; default 128 (memory: 96)")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, one round, nothing kept: does everything run?"
    )
    parser.add_argument("--out", type=Path, help="folder of the JSON files; default benchmarks/results")
    parser.add_argument("--work", type=Path, help="where the temporary folder goes; memory needs 4 GB there")
    args = parser.parse_args(arguments)
    for name in args.sections:
        if name not in SECTIONS:
            parser.error(f"unknown section {name!r}; choose from {', '.join(SECTIONS)}")
    if args.rounds is not None and args.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {args.rounds}")
    if not args.peers.exists():
        parser.error(f"{args.peers} is not there; `make bench` makes the environment with the peers")
    return args


if __name__ == "__main__":
    sys.exit(main())
