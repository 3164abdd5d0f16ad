"""The page itself, by Gradio: what is asked for, by whom, and where it is shown."""

import contextlib
import functools
import mimetypes
import os
import shutil
import tempfile
import threading
from pathlib import Path

from ..notebook.timelines import clock
from ..prediction.tagging import default_threshold
from .downloads import DOWNLOADS, write_download
from .hearing import Stopped, TooLong, hear, overview
from .live import Live, hear_chunk
from .turns import Turns
from .view import STYLE, events_view, said, sound_view, strip_view
from .visits import MOST, Visits

LIVE = 4  # microphones that are heard at a time, as each slows the others down; who comes later waits in a queue
WAITING = 32  # people in the queue; who comes later is told so
LEAST = 0.05  # probability from which on a label can be asked to be an event, and its distance from 1
MIB_A_MINUTE = 24  # of an upload: 48 kHz, two channels of 32 bits, and a little
# The browser asks no other machine for anything, whatever the libraries of the page would like to.
POLICY = ("default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
          "style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; form-action 'self'; base-uri 'self'")
HINT = "Drop a sound of at most {:g} minutes here, or click"


@contextlib.contextmanager
def open_page(networks, host="127.0.0.1", port=None, max_minutes=90):
    """Serve the page, from a thread of its own, until the end of the block.

    Parameters
    ----------
    networks : Ensemble
    host : str
        The address that is listened on: this machine's own, which no other one can reach.
    port : int, optional
        The first free one from 7860 on.
    max_minutes : float
        Of sound, and of a microphone; an upload may have 24 MiB for each.

    Yields
    ------
    str
        The page's address.

    Raises
    ------
    OSError
        If the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="freesound-tagging-") as folder, _settings(
            GRADIO_TEMP_DIR=f"{folder}/uploads", GRADIO_ANALYTICS_ENABLED="False",
            NO_PROXY=",".join(filter(None, [os.environ.get("NO_PROXY"), "localhost", host]))):
        from starlette.middleware import Middleware
        from starlette.routing import Route

        (uploads := Path(folder, "uploads")).mkdir()
        visits = Visits(f"{folder}/sounds", uploads)
        page = _page(networks, visits, max_minutes, Path(folder))
        page.queue(max_size=WAITING, default_concurrency_limit=MOST)
        closed = threading.Event()
        threading.Thread(target=visits.sweep_until, args=(closed,), daemon=True).start()
        try:
            _, address, _ = page.launch(
                server_name=host, server_port=port, prevent_thread_lock=True, quiet=True, share=False, inbrowser=False,
                allowed_paths=[], mcp_server=False, ssr_mode=False, pwa=False, enable_monitoring=False,
                run_history=False, footer_links=[], num_workers=0, max_threads=3 * MOST, css=STYLE,
                max_file_size=round(MIB_A_MINUTE * 2**20 * max_minutes), show_error=True,
                app_kwargs={"routes": [Route("/heard/{token}/{what}", functools.partial(_send, visits))],
                            "middleware": [Middleware(_Headers)], "docs_url": None, "openapi_url": None})
            yield address
        finally:
            closed.set()
            page.close(verbose=False)


@contextlib.contextmanager
def _settings(**wanted):
    """Variables of the environment, which is where Gradio looks, as they were at the end of the block."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Headers:
    """Adds `POLICY` to all that is sent."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def with_headers(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode()),
                                      (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
            await send(message)
        await self.app(scope, receive, with_headers)


def _send(visits, request):
    """A sound to play, or what can be taken home of it, to whom knows its token."""
    from starlette.background import BackgroundTask
    from starlette.responses import FileResponse, PlainTextResponse

    visit, what = visits.find(request.path_params["token"]), request.path_params["what"]
    try:
        if visit and what == "sound":
            kind = mimetypes.guess_type(visit.path)[0] or ""  # what else it may be is not shown, as it may be a page
            return FileResponse(visit.path, headers={"cache-control": "no-store"}, media_type=kind if kind.startswith(
                ("audio/", "video/")) else "application/octet-stream")
        if visit and what in DOWNLOADS:
            threshold = request.query_params.get("threshold")
            path = write_download(what, visit, None if threshold is None else float(threshold))
            return FileResponse(path, filename=path.name, headers={"cache-control": "no-store"},
                                background=BackgroundTask(shutil.rmtree, path.parent))
    except ValueError as error:
        return PlainTextResponse(str(error), 400)
    except FileNotFoundError:
        pass  # it went meanwhile
    return PlainTextResponse("There is no such sound any more: give it to the page again.", 404)


def _page(networks, visits, max_minutes, folder):
    """The components, and which functions they call."""
    import gradio as gr

    turns = Turns()

    def take(given, request: gr.Request):
        try:
            if given:
                visits.begin(request.session_hash, given["path"])
            return gr.Button(interactive=bool(given)), "", "", None, None
        except ValueError as error:
            return gr.Button(interactive=False), said(str(error)), "", None, None

    def listen(threshold, request: gr.Request, progress=gr.Progress()):
        def tell(heard, lasting):
            progress((round(min(heard, lasting or heard)), round(lasting) or None), unit="s of sound",
                     desc=f"heard {clock(round(heard), max(lasting, 120))}")

        visit, idle = visits.of(request.session_hash), gr.Button(interactive=False)
        if not visit or visit.heard:  # it was not taken
            return gr.skip(), gr.skip(), idle
        try:
            progress(0, desc="reading")
            return *_heard_views(networks, turns, visit, max_minutes, threshold, tell), idle
        except (Stopped, TooLong, OSError, RuntimeError, ValueError, ArithmeticError) as error:
            now = visits.of(request.session_hash)
            if now is None:
                return said("Stopped; the sound is deleted within 80 seconds."), "", idle
            if now is not visit:  # another sound has taken its place
                return gr.skip(), gr.skip(), gr.skip()
            visits.end(request.session_hash)
            return said(" ".join(str(error).split())), "", idle

    def events_of(threshold, request: gr.Request):
        visit = visits.of(request.session_hash)
        if not visit or not visit.heard:
            return ""
        is_one = isinstance(threshold, (int, float)) and LEAST <= threshold <= 1 - LEAST
        return events_view(visit, threshold) if is_one else gr.skip()  # on the way to a number that is typed

    def hear_microphone(given, live):
        live = live or Live()
        if not given:
            return "", live
        with tempfile.TemporaryDirectory(dir=folder) as own:
            try:
                live = hear_chunk(networks, turns, live, visits.upload(given["path"]), Path(own))
            except (OSError, RuntimeError, ValueError) as error:
                return said(str(error)), live
        return strip_view(live.columns, networks.vocabulary) if live.columns else said("Listening …"), live

    def leave(request: gr.Request):
        visits.end(request.session_hash)

    with gr.Blocks(title="What is to be heard?", analytics_enabled=False) as page:
        gr.Markdown(f"# What is to be heard?\n{_described(networks)} Sounds stay on the machine that shows this page, "
                    "and are deleted within 80 seconds when it is closed.")
        with gr.Tab("A sound"):
            with gr.Row():
                file = _only_uploads(gr.File(label=HINT.format(max_minutes), height=150, min_width=260))
                microphone = _only_uploads(gr.Audio(
                    sources=["microphone"], type="filepath", label="Record", editable=False, buttons=[], min_width=260))
            stop = gr.Button("Stop listening", interactive=False, size="sm")
            view = gr.HTML(elem_id="view", apply_default_css=False, min_height=100)  # room for progress
            threshold = gr.Slider(LEAST, 1 - LEAST, default_threshold(networks.calibration), step=0.05,
                                  label="An event from which probability on?")
            table = gr.HTML(elem_id="events", apply_default_css=False)
        with gr.Tab("Live"):
            stream = _only_uploads(gr.Audio(sources=["microphone"], streaming=True, type="filepath", buttons=[],
                                            label="Microphone"))
            strip = gr.HTML(elem_id="strip", apply_default_css=False)
            live = gr.State(None)
    with page:
        for source, given in ((file, file.upload), (microphone, microphone.stop_recording)):
            taken = given(take, source, [stop, view, table, file, microphone], queue=False, preprocess=False,
                          api_visibility="private")
            taken.then(listen, threshold, [view, table, stop], show_progress_on=view, concurrency_limit=MOST,
                       concurrency_id="listening", api_visibility="private")
        stop.click(leave, queue=False, api_visibility="private")
        # Whichever way it is changed: by the arrow keys, a slider is not released.
        threshold.change(events_of, threshold, table, show_progress="hidden", preprocess=False,
                         api_visibility="private")
        stream.start_recording(lambda: (None, ""), None, [live, strip], queue=False, api_visibility="private")
        stream.stream(hear_microphone, [stream, live], [strip, live], stream_every=networks.mel.hop_seconds,
                      time_limit=60 * max_minutes, show_progress="hidden", preprocess=False,
                      concurrency_limit=LIVE, concurrency_id="live", api_visibility="private")
        page.unload(leave)
    return page


def _only_uploads(component):
    """Have a component take what a browser uploads, not an address elsewhere, which Gradio would fetch."""
    move = component.async_move_resource_to_block_cache

    async def of_uploads(path):
        if str(path).lower().startswith(("http:", "https:")):
            raise ValueError(f"{path} is an address; expected a file that was uploaded here")
        return await move(path)

    component.async_move_resource_to_block_cache = of_uploads
    return component


def _heard_views(networks, turns, visit, max_minutes, threshold, tell):
    """Listen to a sound, and show it."""
    heard = hear(networks, turns, visit, max_minutes, tell)
    if heard.problem:
        raise OSError(heard.problem)
    visit.heard = heard
    return sound_view(visit, *overview(visit, networks.mel)), events_view(visit, threshold)


def _described(networks):
    count = len(networks.taggers)
    return (f"{count} network{'s' * (count > 1)} for {len(networks.vocabulary)} labels, on {networks.device}. "
            "Probabilities are those of whole sounds, and of windows of "
            f"{networks.mel.excerpt_seconds:.0f} s{', calibrated' if networks.calibration else ''}.")
