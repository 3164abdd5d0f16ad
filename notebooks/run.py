"""Execute a copy of a notebook: ``python notebooks/run.py NAME FOLDER [parameter=text] [parameter:=JSON]``.

The copy, with its figures, is FOLDER/NAME.ipynb, as `execute.settled` leaves it. A mistake is one line; the copy shows
in which cell.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from freesound_tagging.machine.commands import a_path, command

HERE = Path(__file__).resolve().parent


@command
def main(arguments=None):
    """Execute it from this folder, by this environment's kernel."""
    import nbformat
    import papermill
    from execute import settled
    from papermill.exceptions import PapermillExecutionError

    parser = argparse.ArgumentParser(prog="python notebooks/run.py", description=__doc__.split("\n")[0])
    parser.add_argument("name")
    parser.add_argument("folder", type=a_path)
    parser.add_argument("parameters", nargs="*")
    options = parser.parse_args(arguments)
    parameters = {}
    for given in options.parameters:
        key, equals, value = given.partition("=")
        if not equals:
            parser.error(f"{given}: expected parameter=text or parameter:=JSON")
        parameters[key.removesuffix(":")] = json.loads(value) if key.endswith(":") else value
    os.environ["JUPYTER_PATH"] = f"{sys.prefix}/share/jupyter"
    os.environ.pop("MPLBACKEND", None)  # figures are drawn inline
    options.folder.mkdir(parents=True, exist_ok=True)
    copy = options.folder / f"{options.name}.ipynb"
    try:
        papermill.execute_notebook(
            HERE / f"{options.name}.ipynb", copy, parameters, cwd=HERE, kernel_name="python3",
            progress_bar={"desc": f"cells of {options.name}", "file": sys.stdout},
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"])  # what it says is of nothing that can be done here
    except PapermillExecutionError as error:
        raise RuntimeError(f"{error.evalue.strip() or error.ename} (in {copy}, cell {error.exec_count})") from error
    finally:
        if copy.exists():
            nbformat.write(settled(nbformat.read(copy, 4)), copy)


if __name__ == "__main__":
    sys.exit(main())
