"""What `make mutants` found: how many of the faults that mutmut puts in, one at a time, some test sees.

`tests/equivalent_mutants.txt` lists those that no test can see: a function, the line as the mutant has it, the reason.
Exits with 1 if a module's tests see fewer than 95 % of the others.
"""

import collections
import sys
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

LISTED = Path(__file__).with_name("equivalent_mutants.txt")
LEAST = 0.95


def listed():
    """The mutants that no test can see, as (function, line)."""
    rows = [line.split(" | ") for line in LISTED.read_text().splitlines() if line and not line.startswith("#")]
    return {(function, line) for function, line, _ in rows}


def function_of(mutant):
    """``images.mel.log_mel`` of ``freesound_tagging.images.mel.x_log_mel__mutmut_3``; a method after its class."""
    module, _, name = mutant.rpartition("__mutmut_")[0].rpartition(".")
    name = name.replace("ǁ", ".").strip(".") if "ǁ" in name else name.removeprefix("x_")
    return f"{module.removeprefix('freesound_tagging.')}.{name.removeprefix('x.')}"


def main():
    equivalent, unseen, poor, whole = listed(), set(), False, set()
    for meta in sorted(Path("mutants").rglob("*.py.meta")):
        path = meta.relative_to("mutants").with_suffix("")
        data = SourceFileMutationData(path=path)
        data.load()
        counts, survivors = collections.Counter(), []
        for mutant, code in data.exit_code_by_key.items():
            status = status_by_exit_code[code]
            if status in ("survived", "no tests"):
                diff = get_diff_for_mutant(mutant, path=path).splitlines()
                lines = [line[1:].strip() for line in diff if line[:1] == "+" and line[:3] != "+++"] or [""]
                if (function_of(mutant), lines[0]) in equivalent:
                    status = "equivalent"
                    unseen.add((function_of(mutant), lines[0]))
                else:
                    survivors.append(f"  {function_of(mutant)} | {lines[0]}")
            counts[status] += 1
        if not counts["not checked"]:
            whole.add(".".join(path.with_suffix("").parts[1:]))
        tried = sum(counts.values()) - counts["not checked"] - counts["equivalent"]
        if not tried:
            continue
        seen = tried - len(survivors)
        poor |= seen < LEAST * tried
        print(f"{path}: {seen} of {tried} seen, {seen / tried:.1%}; {counts['equivalent']} equivalent, "
              f"{counts['not checked']} not tried")
        print("\n".join(survivors) or "  none is left")
    for function, line in sorted(equivalent - unseen):
        if any(function.startswith(f"{module}.") for module in whole):
            print(f"listed, but not found among those that were not seen: {function} | {line}")
    sys.exit(poor)


if __name__ == "__main__":
    main()
