"""The model card: what a finished run's networks are, what they have learned from, and what not to expect of them."""

from .. import __version__
from ..machine.files import whole_file
from ..prediction.calibration import CALIBRATION, read_calibration
from .functions import name_of
from .voters import calibrate

CARD = "README.md"  # beside the networks, where people look first

TEXT = """# {network}: {n_labels} labels

{n_networks} networks, {n_folds} folds of {n_stages} stages, trained by freesound_tagging {version} with seed {seed}.
The ensemble is the mean of the {n_voting} that vote, those of stage {voting}. With this folder as `weights`:

    python -m freesound_tagging --weights weights sound.wav

## Labels

{labels}

## Data

{sets}

## Network

`{network}` ({options}) on images of {mel.n_mels} mel bands, {mel.f_min:g} to {mel.f_max:g} Hz, and \
{mel.excerpt_frames} frames, {seconds:.2f} s of sound at {mel.sample_rate} Hz.

## Training

Batches of {batch_size}, weight decay {weight_decay:g}. Augmentation: {augmentation}.

{stages}

## Scores

lwlrap (label-weighted label-ranking average precision, at best 1), cross-validated: each clip is scored by the network
that was not trained on it, one of each model. Labels that are wrong in the data count as right in it.

{scores}

{remarks}## Limits

{probabilities}
- **Only these labels are known.** A sound of anything else gets probabilities too, for what is most like it.
- **Silence** says nothing: before and after a sound, {mel.trim_db:g} dB below what is loudest, it is cut away, and a
  sound that is all silence has no labels, whatever its probabilities.
- **Short sounds** are padded with silence to {mel.min_seconds:g} s. A network sees {seconds:.2f} s at a time: when
  something is heard is known no better than that, and what is much shorter may not be seen.
- The scores are of clips like those trained on: other microphones, rooms and mixtures of sounds were not measured.
"""


RAW = """- **Probabilities are not calibrated.** They rank the labels of a sound, which is what lwlrap measures; 0.3
  does not mean that three of ten such sounds have the label. Training on mixed clips, and on labels some of which are
  wrong, makes them smaller. **A threshold** has to be chosen on sounds of yours whose labels you know, best one a
  label."""

CALIBRATED = """- **Probabilities are calibrated** where sounds are tagged: by two numbers, the same for all labels, in
  `calibration.json`, fitted on the predictions of {clips} {set} clips that were held out. There the most probable
  label's probability is off by {error_after:.3f} in the mean over ten bins (expected calibration error, of folds that
  were not fitted on), and without it by {error_before:.3f}. Sounds of another kind, and windows in which nothing of the
  labels is heard, were not fitted on. **A threshold** of 0.5 is even odds; one that costs you least is best chosen on
  sounds of yours whose labels you know. Submissions, and `--raw`, have what the networks give."""

STARTED = """The networks began with others that were trained before. If those have seen clips that are held out here,
these scores, and what was fitted on them, are too good.

"""


def card(pipeline, calibration=None):
    """The model card of a run.

    Parameters
    ----------
    pipeline : WarmupPipeline
        Finished.
    calibration : Calibration, optional
        As `calibrate` gives it.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    RuntimeError
        If a fold of it is not finished.
    """
    for stage, fold in pipeline.unfinished():
        pipeline.folder.check_finished(stage, fold)
    profile, clips, table = pipeline.profile, pipeline.clips, pipeline.table()
    voting = [config.stage for config in profile.stages if config.votes]
    sets = [(name, int(of.sum()), int((of & ~pipeline.known).sum())) for name in clips.sets
            for of in [clips.is_of(name)]]
    new = "networks trained before" if pipeline.start else "a new network"
    stages = [(config.stage, f"model {config.starts_from}" if config.starts_from else new,
               ", ".join([*config.trains_on, *([f"{config.selects_from} selected"] if config.selects_from else [])]),
               int(pipeline.trained_on(config.stage).sum()), _from_to(pipeline.n_steps(config.stage)),
               f"{config.lr:g}", "yes" if config.votes else "no") for config in profile.stages]
    scores = [(model, *(f"{score:.3f}" for score in row)) for model, row in zip(table.index, table.to_numpy())]
    return TEXT.format(
        network=profile.network, n_labels=len(clips.vocabulary), n_networks=len(profile.stages) * profile.n_folds,
        n_folds=profile.n_folds, n_stages=len(profile.stages), version=__version__, seed=pipeline.seed,
        n_voting=len(voting) * profile.n_folds, voting=", ".join(map(str, voting)), labels=", ".join(clips.vocabulary),
        sets=_rows(("set", "clips", "of these unreadable, and left out"), sets),
        options=", ".join(f"{name}={value!r}" for name, value in profile.options.items()), mel=profile.mel,
        seconds=profile.mel.excerpt_frames * profile.mel.hop_length / profile.mel.sample_rate,
        batch_size=profile.batch_size, weight_decay=profile.weight_decay,
        augmentation=", ".join(f"`{name_of(step)}`" for step in profile.augmentation) or "none",
        stages=_rows(("stage", "starts from", "trains on", "clips", "steps of a fold", "learning rate", "votes"),
                     stages),
        scores=_rows(("", *table.columns), scores),
        remarks=(f"{better}\n\n" if (better := pipeline.who_votes()) else "") + (STARTED if pipeline.start else ""),
        probabilities=CALIBRATED.format(**calibration.fitted) if calibration else RAW)


def write_card(pipeline):
    """Write the card and the calibration of a finished run beside its networks, unless they are there."""
    calibration, beside = calibrate(pipeline), pipeline.weights / CALIBRATION
    if calibration is None:
        beside.unlink(missing_ok=True)
    elif not _is_there(beside, calibration):
        calibration.write(pipeline.weights)
    path, text = pipeline.weights / CARD, card(pipeline, calibration)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")


def _is_there(path, calibration):
    try:
        return path.is_file() and read_calibration(path) == calibration
    except ValueError:  # it is damaged
        return False


def _rows(head, rows):
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows))


def _from_to(numbers):
    return " to ".join(map(str, dict.fromkeys((min(numbers), max(numbers)))))
