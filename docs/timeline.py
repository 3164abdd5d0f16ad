"""Draw docs/timeline.png: what is heard when in six of the demo's test clips, joined (``make notebooks``).

They are heard by the command, ``freesound-tagging``, with the networks that ``make demo`` leaves.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile as sf
from matplotlib.patches import Rectangle

from freesound_tagging import Ensemble, events
from freesound_tagging.__main__ import main
from freesound_tagging.clips import FSDKaggle2019
from freesound_tagging.images import load_clip, log_mel, to_image
from freesound_tagging.notebook import timeline_figure

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "build/demo"
SECONDS = 4  # of each clip


def six_clips(data, config):
    """The first test clip of each label that has no other and lasts so long: six of them, equally loud."""
    found, signals = set(), []
    for path, labels in zip(data.test["path"], data.test["labels"]):
        signal = load_clip(path, config)[:SECONDS * config.sample_rate]
        if len(labels) == 1 and labels[0] not in found and len(signal) == SECONDS * config.sample_rate:
            found.update(labels)
            signals.append(0.5 * signal / np.abs(signal).max())
    return np.concatenate(signals[:6])


def draw():
    """The sound, the command's output, and the picture."""
    networks = Ensemble.load(DEMO / "weights")
    sound = DEMO / "six-clips.wav"
    sf.write(sound, six_clips(FSDKaggle2019(DEMO / "input"), networks.mel), networks.mel.sample_rate)
    status = main(["--weights", str(DEMO / "weights"), "--timeline", str(sound.with_suffix(".txt")), str(sound)])
    print(sound.with_suffix(".txt").read_text(), end="")
    timeline = networks.timeline(sound)
    image = to_image(log_mel(load_clip(sound, networks.mel), networks.mel))
    figure = timeline_figure(timeline, image, networks.mel, sound.name)
    strips = figure.axes[1]
    rows = [label.get_text() for label in strips.get_yticklabels()]
    for event in events(timeline).itertuples():
        strips.add_patch(Rectangle((event.start, rows.index(event.label)), event.end - event.start, 1, fill=False,
                                   ec="tab:orange", lw=1.5))
    figure.savefig(HERE / "timeline.png", dpi=90)
    return status


if __name__ == "__main__":
    sys.exit(draw())
