"""Training in sessions of some hours each: what earlier ones have left, how far it is, and how it goes on."""

from ..machine.files import as_path
from .runfolder import is_finished


def earlier_runs(inputs, name):
    """What earlier sessions have left of a run, in a folder such as Kaggle's of inputs and those below it.

    Parameters
    ----------
    inputs : path or None
        None: there is no such folder.
    name : str
        The run's, as `Profile.name`: its folders are ``work/<name>`` and, beside ``work``, ``weights/<name>``.

    Returns
    -------
    list of (pathlib.Path, pathlib.Path)
        Its folders `work` and `weights`, for `WarmupPipeline`.
    """
    found = [] if inputs is None else sorted(as_path(inputs).glob(f"**/work/{name}/run.json"))
    return [(path.parent, path.parents[2] / "weights" / name) for path in found]


def how_far(profile, work, weights, earlier=()):
    """How many folds of a run are finished, before anything of it is opened.

    Parameters
    ----------
    profile : Profile
    work, weights : path
        The run's folders, which need not be there.
    earlier : sequence of (path, path)
        Those of earlier sessions.

    Returns
    -------
    str
        A line.
    """
    folders = [(as_path(here), as_path(networks)) for here, networks in ((work, weights), *earlier)]
    done = {config.stage: sum(any(is_finished(*where, config.stage, fold) for where in folders)
                              for fold in range(profile.n_folds)) for config in profile.stages}
    whole = profile.n_folds * len(done)
    if sum(done.values()) == whole:
        return f"{profile.name}: all {whole} folds are finished, nothing is left to train."
    stages = ", ".join(f"stage {stage}: {count} of {profile.n_folds}" for stage, count in done.items())
    return f"{profile.name}: {sum(done.values())} of {whole} folds are finished ({stages})."


def how_to_go_on(pipeline):
    """What is done of a run, what is left, and what to do next.

    Parameters
    ----------
    pipeline : WarmupPipeline

    Returns
    -------
    str
        Some lines.
    """
    lines = [how_far(pipeline.profile, pipeline.work, pipeline.weights)]
    if left := pipeline.unfinished():
        stage, fold = left[0]
        lines += [f"{len(left)} are left, from fold {fold} of stage {stage} on. Run this notebook again, and it goes "
                  "on.",
                  "On Kaggle: save this version, add its output as an input (Add Input, Notebook Output), and save "
                  "another version."]
    else:
        lines += [f"The networks are in {pipeline.weights}.",
                  "On Kaggle: the inference kernel takes this notebook's output as an input."]
    return "\n".join(lines)
