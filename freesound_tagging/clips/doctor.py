"""What state audio files are in, before anything is trained on them."""

import os
import sys
import warnings
from contextlib import closing

import joblib
import pandas as pd
from tqdm import tqdm

from ..machine.commands import printable
from .audio import digest_of, read_audio
from .dataset import FAULTY_CLIPS, FSDKaggle2019
from .folders import unlisted_files
from .tables import few
from .twins import find_twins, name_twins


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
        A row a file: `fname`, `problem` (``""``, ``"missing"``, ``"unreadable: ..."``, ``"truncated: ..."``,
        ``"silent"``, ``"opposite: ..."`` of channels or ``"unread: ..."`` of bytes), `seconds`, `rate` (Hz), `channels`
        (0 where it cannot be read) and `digest` of the bytes (``""`` where there is no sound).
    """
    paths = list(paths)
    results = joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator", batch_size=8)(
        joblib.delayed(_examine)(path) for path in paths)
    with closing(results):
        rows = list(tqdm(results, "reading audio", len(paths), unit="clip", file=sys.stdout, disable=not progress))
    return pd.DataFrame(rows, columns=["fname", "problem", "seconds", "rate", "channels", "digest"])


def _examine(path):
    if not os.path.isfile(path):
        return path.name, "missing", 0.0, 0, 0, ""
    try:
        audio, digest = read_audio(path), digest_of(path)
    except OSError as error:
        return path.name, f"unreadable: {error}", 0.0, 0, 0, ""
    read = len(audio.signal)
    problem = next((f"{kind}: {remark}" for kind, remark in audio.remarks.items()), "")
    if "silent" in audio.remarks:
        problem = "silent"
    if read < audio.promised:
        problem = f"truncated: {read} of {audio.promised} samples"
    return path.name, problem, read / audio.rate, audio.rate, audio.channels, digest if read else ""


def report(name, table, examined, folder):
    """One set in a few figures, and what is wrong with it by name.

    Parameters
    ----------
    name : str
    table : pandas.DataFrame
        The set's clips, with `fname` and `path`.
    examined : pandas.DataFrame
        Of the same clips, from `examine`.
    folder : pathlib.Path
        Where the clips are.

    Returns
    -------
    figures : dict of str to object
        A row of the table that `freesound_tagging.clips check` prints.
    problems : dict of str to list of str
        Names of clips by what is wrong: ``"missing"``, ``"unreadable"``, ``"truncated"``, ``"silent"``,
        ``"not in the table"``; of those of ``"opposite"`` channels or ``"unread"`` bytes what is to be said of them.
    """
    good = examined[examined["rate"] > 0]
    kinds = examined["problem"].str.split(":").str[0]
    problems = {kind: examined["fname"][kinds == kind].tolist()
                for kind in ("missing", "unreadable", "truncated", "silent")}
    problems |= {kind: examined["problem"][kinds == kind].str.removeprefix(f"{kind}: ").tolist()
                 for kind in ("opposite", "unread")}
    problems["not in the table"] = unlisted_files(folder, {path.name for path in table["path"]})
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


def check(root):
    """Examine a data set and print what was found.

    Parameters
    ----------
    root : path

    Returns
    -------
    bool
        Whether all clips that are listed are there and can be read, and training on them would work.
    """
    try:
        with warnings.catch_warnings(record=True) as odd:
            warnings.simplefilter("always")
            data = FSDKaggle2019(root, drop_faulty=False, missing="list")
    except (OSError, ValueError) as error:
        print(printable(error))
        return False
    for warning in odd:
        print(printable(warning.message))
    print(data)
    figures, every, clips = [], {}, {}
    for name in ("curated", "noisy", "test"):
        table = getattr(data, name)
        examined = examine(table["path"])
        row, problems = report(name, table, examined, data.folder(name))
        figures.append(row)
        every |= {(name, kind): names for kind, names in problems.items() if names}
        clips[name] = list(zip(table["fname"], examined["digest"]))
    print(pd.DataFrame(figures).set_index("set").T.to_string())
    counts = pd.DataFrame({name: data.targets(table).sum(0).astype(int) for name in clips
                           if "labels" in (table := getattr(data, name)) and len(table)},
                          map(printable, data.vocabulary))
    print("\nclips of each label:", counts.to_string(), "", sep="\n")
    for words, chosen in (("no clip at all", (counts == 0).all(axis=1)), *(
            (f"{name} clips only", (counts.drop(columns=name) == 0).all(axis=1) & (counts[name] > 0))
            for name in counts if len(counts.columns) > 1)):
        if chosen.any():
            print(f"labels of {words}: {few(counts.index[chosen])}")
    if twins := find_twins(clips):
        print(printable(name_twins(twins, clips)))
    for (name, kind), names in every.items():
        print(printable(f"{name}, {kind}: {few(names)}"))
    faulty = sorted(set(data.curated["fname"]) & FAULTY_CLIPS.keys())
    if faulty:
        print(f"curated, known to be faulty and left out by default: {few(faulty, 6)}")
    missing, unreadable = ({name: len(every.get((name, kind), [])) for name in clips}
                           for kind in ("missing", "unreadable"))
    lacking = {name: lack for name in clips if (lack := data.lack(name))}
    lacking |= {name: f"none of the {number} {name} clips is in {data.folder(name)}"
                for name, number in missing.items() if number and number == len(clips[name])}
    if "test" in lacking:
        print(f"{lacking.pop('test')}: there is no submission to make")
    elif missing["test"]:
        print(f"{missing['test']} missing test clips would stop the submission")
    stops = [f"{lacking[name]}: training needs some" if name in lacking else
             f"{missing[name]} missing {name} clips would stop training"
             for name in ("curated", "noisy") if name in lacking or missing[name]]
    print(*(stops or ["nothing here would stop training"]), sep="\n")
    if any(unreadable.values()):
        print(f"{sum(unreadable.values())} unreadable clips would be left out of training and count as silence")
    return not (stops or any(missing.values()) or any(unreadable.values()))
