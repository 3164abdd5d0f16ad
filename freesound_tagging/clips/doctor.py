"""What state audio files are in, before anything is trained on them."""

import sys

import joblib
import pandas as pd
from tqdm import tqdm

from .audio import read_audio
from .tables import unlisted_files


def examine(paths, n_jobs=-1, progress=True):
    """Open every file, measure it, and look whether it holds a signal.

    Parameters
    ----------
    paths : sequence of pathlib.Path
    n_jobs : int
        Threads; -1 for one a core.
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        A row a file: `fname`, `problem` (``""``, ``"missing"``, ``"unreadable: ..."``, ``"truncated: ..."`` or
        ``"silent"``), `seconds`, `rate` (Hz) and `channels` (0 where it cannot be read).
    """
    paths = list(paths)
    results = joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator", batch_size=8)(
        joblib.delayed(_examine)(path) for path in paths)
    rows = list(tqdm(results, "reading audio", len(paths), unit="clip", file=sys.stdout, disable=not progress))
    return pd.DataFrame(rows, columns=["fname", "problem", "seconds", "rate", "channels"])


def _examine(path):
    if not path.is_file():
        return path.name, "missing", 0.0, 0, 0
    try:
        audio = read_audio(path)
    except OSError as error:
        return path.name, f"unreadable: {error}", 0.0, 0, 0
    read = len(audio.signal)
    problem = "" if audio.signal.any() else "silent"
    if read < audio.promised:
        problem = f"truncated: {read} of {audio.promised} samples"
    return path.name, problem, read / audio.rate, audio.rate, audio.channels


def report(name, table, examined, folder):
    """One set in a few figures, and what is wrong with it by name.

    Parameters
    ----------
    name : str
    table : pandas.DataFrame
        The set's clips, with `fname`.
    examined : pandas.DataFrame
        Of the same clips, from `examine`.
    folder : pathlib.Path
        Where the clips are.

    Returns
    -------
    figures : dict of str to object
        A row of the table that `freesound_tagging.dataset check` prints.
    problems : dict of str to list of str
        Names of clips by what is wrong: ``"missing"``, ``"unreadable"``, ``"truncated"``, ``"silent"``,
        ``"not in the table"``.
    """
    good = examined[examined["rate"] > 0]
    kinds = examined["problem"].str.split(":").str[0]
    problems = {kind: examined["fname"][kinds == kind].tolist()
                for kind in ("missing", "unreadable", "truncated", "silent")}
    problems["not in the table"] = unlisted_files(folder, table["fname"])
    seconds = good["seconds"]
    rates = " ".join(f"{rate}:{count}" for rate, count in good["rate"].value_counts().items())
    return {
        "set": name, "clips": len(table), "labels a clip": round(table["labels"].map(len).mean(), 2)
        if "labels" in table and len(table) else "-",
        "hours": round(seconds.sum() / 3600, 2),
        "seconds": f"{seconds.min():.1f} to {seconds.max():.1f}" if len(good) else "-",
        "rates": rates or "-", "not mono": int((good["channels"] != 1).sum()),
        **{kind: len(names) for kind, names in problems.items()},
    }, problems
