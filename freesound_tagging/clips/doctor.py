"""What state audio files are in, before anything is trained on them."""

import os
import sys
import warnings
from contextlib import closing

import joblib
import pandas as pd
from tqdm import tqdm

from ..machine.commands import printable
from .audio import digest_of, read_blocks
from .dataset import FAULTY_CLIPS, FSDKaggle2019
from .folders import unlisted_files
from .tables import few
from .twins import find_twins, name_twins

FEW_CLIPS = 10  # of a label: fewer are named
STOPS, SPOILS, DOUBTFUL, REMARK = range(4)  # how bad it is: stops training, spoils something, may be a mistake


def examine(paths, n_jobs=-1, progress=True, timed=()):
    """Open every file, measure it, and look whether it holds a signal.

    Parameters
    ----------
    paths : sequence of pathlib.Path
    n_jobs : int
        Threads; -1 for one a core.
    progress : bool
        Show a progress bar.
    timed : collection of pathlib.Path
        Those of which clips are stretches: they may be of any length.

    Returns
    -------
    pandas.DataFrame
        A row a file: `fname`, `problem` (``""``, ``"missing"``, ``"unreadable: ..."``, ``"truncated: ..."``,
        ``"silent"``, ``"opposite: ..."`` of channels or ``"unread: ..."`` of bytes), `seconds`, `rate` (Hz), `channels`
        (0 where it cannot be read) and `digest` of the bytes (``""`` where there is no sound).
    """
    paths = list(paths)
    results = joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator", batch_size=8)(
        joblib.delayed(_examine)(path, path not in timed) for path in paths)
    with closing(results):
        rows = list(tqdm(results, "reading audio", len(paths), unit="clip", file=sys.stdout, disable=not progress))
    return pd.DataFrame(rows, columns=["fname", "problem", "seconds", "rate", "channels", "digest"])


def _examine(path, a_clip):
    if not os.path.isfile(path):
        return path.name, "missing", 0.0, 0, 0, ""
    read, remarks = 0, {}
    try:
        for block in read_blocks(path, a_clip=a_clip, remarks=remarks):
            read += len(block.signal)
        digest = digest_of(path)
    except OSError as error:
        return path.name, f"unreadable: {error}", 0.0, 0, 0, ""
    problem = next((f"{kind}: {remark}" for kind, remark in remarks.items()), "")
    if "silent" in remarks:
        problem = "silent"
    if read < block.promised:
        problem = f"truncated: {read} of {block.promised} samples"
    return path.name, problem, read / block.rate, block.rate, block.channels, digest if read else ""


def report(name, table, examined, folder):
    """One set in a few figures, and what is wrong with it by name.

    Parameters
    ----------
    name : str
    table : pandas.DataFrame
        The set's clips, with `fname` and `path`.
    examined : pandas.DataFrame
        Of the same clips' files, from `examine`.
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
    print(data)
    said = []  # how bad it is, from 0 on, and a sentence

    def say(rank, text):
        print(printable(text))
        said.append((rank, printable(text)))
    for warning in odd:
        say(DOUBTFUL, warning.message)
    figures, every, clips = [], {}, {}
    for name in ("curated", "noisy", "test"):
        table = getattr(data, name)
        files = table.drop_duplicates("path")
        examined = examine(files["path"], timed=set(table["path"][table["start"].notna()]) if "start" in table else ())
        row, problems = report(name, table, examined, data.folder(name))
        figures.append(row)
        every |= {(name, kind): names for kind, names in problems.items() if names}
        clips[name] = list(zip(files["fname"], examined["digest"]))
    shown = [row for row in figures if row["clips"] or row["not in the table"]] or figures
    print(pd.DataFrame(shown).set_index("set").T.to_string())
    counts = pd.DataFrame({name: data.targets(table).sum(0).astype(int) for name in clips
                           if "labels" in (table := getattr(data, name)) and len(table)},
                          map(printable, data.vocabulary))
    print("\nclips of each label:", counts.to_string(), "", sep="\n")
    for words, chosen in (("no clip at all", (counts == 0).all(axis=1)), *(
            (f"{name} clips only", (counts.drop(columns=name) == 0).all(axis=1) & (counts[name] > 0))
            for name in counts if len(counts.columns) > 1)):
        if chosen.any():
            say(DOUBTFUL, f"labels of {words}: {few(counts.index[chosen])}")
    scarce = counts["curated"][counts["curated"].between(1, FEW_CLIPS - 1)].sort_values() if "curated" in counts else ()
    if len(scarce):
        say(DOUBTFUL, f"labels of fewer than {FEW_CLIPS} curated clips: "
                      + few(f"{label} ({count})" for label, count in scarce.items()))
    if twins := find_twins(clips):
        tested = any({name for name, _ in group} >= {"test", name} for group in twins for name in ("curated", "noisy"))
        say(SPOILS if tested else DOUBTFUL, name_twins(twins, clips))
    for (name, kind), names in every.items():
        say(SPOILS if kind in ("missing", "unreadable") else DOUBTFUL, f"{name}, {kind}: {few(names)}")
    faulty = sorted(set(data.curated["fname"]) & FAULTY_CLIPS.keys())
    if faulty:
        print(f"curated, known to be faulty and left out by default: {few(faulty, 6)}")
    missing, unreadable = ({name: len(every.get((name, kind), [])) for name in clips}
                           for kind in ("missing", "unreadable"))
    lacking = {name: lack for name in clips if (lack := data.lack(name))}
    empty = {name: f"none of the {number} {name} clips is in {data.folder(name)}"
             for name, number in missing.items() if number and number == len(clips[name])}
    for name in ("curated", "noisy"):
        if name in empty or (name in lacking and name == "curated"):
            say(STOPS, f"{(lacking | empty)[name]}: training needs some")
        elif name in lacking:
            say(SPOILS if "though" in lacking[name] else REMARK,
                f"{lacking[name]}: one stage is trained, on the curated clips alone")
        elif missing[name]:
            say(STOPS, f"{missing[name]} missing {name} clips would stop training")
    recordings = data.curated.get("group", pd.Series(dtype=str))
    if len(recordings) and recordings.nunique() == 1 and recordings.iloc[0]:
        say(STOPS, f"all curated clips are of one recording, {recordings.iloc[0]}: training holds recordings out whole "
                   "and needs two")
    if "test" in lacking | empty:
        say(SPOILS if "test" in empty or "though" in lacking["test"] else REMARK,
            f"{(lacking | empty)['test']}: there is no submission to make")
    elif missing["test"]:
        say(SPOILS, f"{missing['test']} missing test clips would stop the submission")
    if any(unreadable.values()):
        say(SPOILS, f"{sum(unreadable.values())} unreadable clips would be left out of training and count as silence")
    stops = [text for rank, text in said if rank == STOPS]
    _summarize(clips, data, said)
    return not (stops or any(missing.values()) or any(unreadable.values()))


def _summarize(clips, data, said):
    """What there is, and all that was said of it again, the worst first."""
    sizes = ", ".join(f"{len(getattr(data, name))} {name}" for name, files in clips.items() if files)
    print(f"\nin all: {sizes or 'no'} clips, {len(data.vocabulary)} labels")
    for rank, text in sorted(said, key=lambda one: one[0]):
        print(f"{('stops', 'spoils', 'doubtful', 'note')[rank]}: {text}")
    print({STOPS: "this would stop training", SPOILS: "training would begin, with what is said above"}.get(
        min((rank for rank, _ in said), default=REMARK), "nothing here would stop training"))
