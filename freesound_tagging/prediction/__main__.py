"""The score of a submission, or of events: ``python -m freesound_tagging.prediction SUBMISSION TRUTH``."""

import argparse
import sys

from ..annotations.reading import is_empty_track, is_events
from ..clips.dataset import is_competitions
from ..clips.tables import read_table
from ..machine.commands import a_path, a_probability, command, printable
from .submission import LEADERBOARD, score_submission


@command
def main(arguments=None):
    """``python -m freesound_tagging.prediction SUBMISSION TRUTH``: score a submission, or events, offline."""
    parser = argparse.ArgumentParser(
        prog="python -m freesound_tagging.prediction",
        description="Score a submission where the labels of the test clips are known, or events where it is known what "
                    "is heard when.")
    parser.add_argument("submission", type=a_path,
                        help="submission.csv; or what was heard when, as --timeline writes it, or any labels with "
                             "times: a table, or a folder of tables")
    parser.add_argument("truth", type=a_path,
                        help="such as Zenodo's FSDKaggle2019.meta/test_post_competition.csv; of events, labels with "
                             "times as Audacity, Raven or DCASE have them")
    parser.add_argument("--threshold", type=a_probability, default=0.3, metavar="P",
                        help="of a timeline, from which probability on a label is an event (default: 0.3; where it "
                             "was made, that is 0.5 of calibrated probabilities)")
    parser.add_argument("--label-column", metavar="NAME", help="where the labels of the true events are")
    options = parser.parse_args(arguments)
    from .timed import is_timelines, score_timed

    timelines = is_timelines(options.submission)
    if timelines:
        print(f"events from a probability of {options.threshold:g} on (--threshold)")
    if timelines or options.submission.is_dir() or is_empty_track(options.submission) or (
            is_events(options.submission) and not _is_of_clips(options.truth)):
        return _print_timed(*score_timed(options.submission, options.truth, options.threshold, options.label_column))
    scores, per_class = score_submission(options.submission, options.truth)
    table = per_class[per_class["clips"] > 0].sort_values("lwlrap").rename(index=printable)
    print(table.to_string(float_format="{:.5f}".format))
    print()
    for name, value in scores.items():
        print(f"lwlrap {name:8}{value:.5f}")
    if is_competitions(per_class.index):
        print("published, public: " + ", ".join(f"{value} ({name})" for name, value in LEADERBOARD.items()))
    return 0


def _is_of_clips(truth):
    """Whether a table says what is heard in clips, and not when; a submission may have labels such as start and end."""
    try:
        read_table(truth, ["fname", "labels"])
    except (OSError, ValueError):
        return False
    return not is_events(truth)


def _print_timed(totals, per_label):
    print(per_label.sort_values("segment F1").rename(index=printable).to_string(float_format="{:.3f}".format))
    print()
    for name, value in totals.items():
        print(f"{name:28}{value:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
