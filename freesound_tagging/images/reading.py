"""From files to images: what of each is seen, and what is known of it and wrong with it."""

import contextlib
import functools

import numpy as np

from ..clips.audio import digest_of, first_bytes
from ..machine.processes import in_order
from .mel import load_clip, log_mel, to_image
from .sections import sections

TRIES = 3  # to read a file that is replaced meanwhile


def images_of_files(paths, config, n_jobs, executor, timed):
    """Of each file its images and what is known of it. Files go to workers a few at a time and come back in order.

    What is known of a sound that is too long for a worker is whole once its images have been taken, one by one.
    """
    if hasattr(executor, "map"):
        made = executor.map(_image_of, ((path, config, path in timed, *_content(path)) for path in paths))
    else:
        made = in_order(_image_of, [(path, config, path in timed) for path in paths], n_jobs)
    with contextlib.closing(made):
        for path, of_it in zip(paths, made):
            if of_it is None:
                known = {}
                yield _of_sections(path, config, known), known
            else:
                yield [of_it[0]], of_it[1]


def stat_of(path):
    """By what a file is known to be the one that was read: its size, and when its content and itself last changed.

    Who copies a file or puts another in its place can keep the first of the times (``cp -p``, an archive, one constant
    for all), and not the second. Its inode would say no more, and is another at each mounting of many network disks.
    """
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _while_unchanged(path, read):
    """What is read of a file, its `stat_of`, and whether it is known that it was not replaced meanwhile."""
    for _ in range(TRIES):
        before = stat_of(path)
        result = read()
        if stat_of(path) == before:
            return result, before, True
    return result, before, False


def _content(path):
    """What is sent of a file: its content, or why it cannot be read, with the rest of `_while_unchanged`."""
    def read():
        try:
            return first_bytes(path)
        except OSError as error:
            return error
    return _while_unchanged(path, read)


def _image_of(path, config, timed=False, content=None, stat=None, unchanged=True):
    """A file's image, and what is known of it. Another machine is sent what `_content` gave.

    If it is `timed`, that is also where in the sound the image lies; and None is the answer for a long sound.
    """
    read = functools.partial(_read_timed if timed else _read, path, config, content)
    found, stat, unchanged = _while_unchanged(path, read) if stat is None else (read(), stat, unchanged)
    if found is None:
        return None
    image, known = found
    if not unchanged:  # by its digest it would count as current
        known |= _written_to(path)
    return image, known | {"stat": stat}


def _read(path, config, content):
    """A file's image, and what it is and what is wrong with it."""
    remarks, problem = {}, ""
    try:
        _check_content(path, content)
        signal = load_clip(path, config, content, remarks)
    except OSError as error:
        signal, problem = np.zeros(config.min_samples, np.float32), str(error)
    return to_image(log_mel(signal, config)), _known(path, content, problem, "; ".join(remarks.values()))


def _read_timed(path, config, content):
    """As `_read`, and where the image lies in the sound; None if that is too long for one image."""
    try:
        _check_content(path, content)
        with contextlib.closing(sections(path, config, content)) as found:
            section = next(found)
            if next(found, None):
                return None
    except OSError as error:
        return _silence(config), _known(path, content, str(error)) | {"sections": [_place_of_silence(config)]}
    return section.image, _known(path, content, "", section.remark) | {
        "sections": [[section.begin, section.end, section.image.shape[1]]]}


def _check_content(path, content):
    if isinstance(content, OSError):
        raise OSError(f"{path} cannot be read ({content}); replace the file or leave it out")


def _known(path, content, problem, remark=""):
    digest = "" if isinstance(content, OSError) else digest_of(path, content)
    return {"digest": digest, "problem": problem, "remark": remark * (not problem)}


def _silence(config):
    return np.zeros((config.n_mels, config.min_frames), np.uint8)


def _place_of_silence(config):
    return [0.0, config.min_seconds, config.min_frames]


def _of_sections(path, config, known):
    """The images of a long sound, one by one; what is then `known` of it comes in at the end."""
    before, pieces, remark, problem = stat_of(path), [], "", ""
    try:
        for section in sections(path, config):
            pieces.append([section.begin, section.end, 0 if section.image is None else section.image.shape[1]])
            remark = section.remark
            if section.image is not None:
                yield section.image
    except OSError as error:
        problem = str(error)
    if not pieces:
        pieces.append(_place_of_silence(config))
        yield _silence(config)
    known |= {"digest": digest_of(path), "problem": problem, "remark": remark, "sections": pieces, "stat": before}
    if stat_of(path) != before:
        known |= _written_to(path)


def _written_to(path):
    return {"digest": "", "remark": f"{path} was written to while it was read; build the store again"}
