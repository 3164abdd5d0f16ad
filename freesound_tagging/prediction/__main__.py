"""The score of a submission: ``python -m freesound_tagging.prediction SUBMISSION TRUTH``."""

import argparse
import sys

from ..clips.dataset import is_competitions
from ..machine.commands import a_path, command, printable
from .submission import LEADERBOARD, score_submission


@command
def main(arguments=None):
    """``python -m freesound_tagging.prediction SUBMISSION TRUTH``: score a submission offline."""
    parser = argparse.ArgumentParser(prog="python -m freesound_tagging.prediction",
                                     description="Score a submission where the labels of the test clips are known.")
    parser.add_argument("submission", type=a_path)
    parser.add_argument("truth", type=a_path, help="such as Zenodo's FSDKaggle2019.meta/test_post_competition.csv")
    options = parser.parse_args(arguments)
    scores, per_class = score_submission(options.submission, options.truth)
    table = per_class[per_class["clips"] > 0].sort_values("lwlrap").rename(index=printable)
    print(table.to_string(float_format="{:.5f}".format))
    print()
    for name, value in scores.items():
        print(f"lwlrap {name:8}{value:.5f}")
    if is_competitions(per_class.index):
        print("published, public: " + ", ".join(f"{value} ({name})" for name, value in LEADERBOARD.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
