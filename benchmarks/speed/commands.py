"""What the commands take that a stranger begins with."""

import os
import shutil
import subprocess
import time

from benchmarks.speed.common import ROOT


def commands():
    """`make demo`, from nothing, and `make test`, in an environment that is there: seconds, and what each said last."""
    def took(target):
        start = time.perf_counter()
        done = subprocess.run(["make", target], cwd=ROOT, capture_output=True, text=True, check=True,
                              env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"})
        return {f"make {target}, s": time.perf_counter() - start, f"make {target} said": done.stdout.splitlines()[-1]}
    shutil.rmtree(ROOT / "build/demo", ignore_errors=True)  # else what was trained there is only read
    return took("demo") | took("test")
