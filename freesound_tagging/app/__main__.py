"""``python -m freesound_tagging.app``: a page in the browser, on this machine."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from ..machine.commands import a_count, a_path, add_device, command


@command
def main(arguments=None):
    """Serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m freesound_tagging.app",
                                     description="A page on this machine that says what is heard in a sound.")
    parser.add_argument("--weights", type=a_path, default=Path("weights"), metavar="FOLDER",
                        help="the trained networks (default: weights)")
    parser.add_argument("--profile", metavar="FILE",
                        help="the profile by which networks of one's own were trained: what it names is imported")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                        help="listen on this address, such as 0.0.0.0 for all of this machine's; who reaches it may "
                             "use the page, unencrypted (default: 127.0.0.1, which only this machine reaches)")
    parser.add_argument("--port", type=a_count, metavar="N", help="(default: the first free one from 7860 on)")
    parser.add_argument("--max-minutes", type=a_count, default=90, metavar="N",
                        help="the longest sound, and session with a microphone, that is taken (default: 90)")
    add_device(parser)
    options = parser.parse_args(arguments)
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ImportError(f"the page needs Gradio ({error}): pip install gradio") from error
    from ..machine.device import device_named, prepare_device
    from ..prediction import Ensemble
    from .page import open_page

    if options.profile:
        from ..training.profile import load_profile

        load_profile(options.profile)
    device = device_named(options.device)
    prepare_device(device)
    networks = Ensemble.load(options.weights, device, options.precision)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # sounds are deleted then, too
    with open_page(networks, options.host, options.port, options.max_minutes) as address:
        print(f"The page is at {address} (Ctrl-C ends it).", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
