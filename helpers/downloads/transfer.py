"""Bring an item of the registry into a folder: whole and verified, or not at all, and with one sentence that says why not.

Nothing gets its name before its hash is right. What a killed transfer left is continued, or thrown away when it does not fit.
"""
from __future__ import annotations

import errno
import os
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from helpers import config
from helpers.downloads import registry, store
from helpers.errors import CourseError

HUB = "https://huggingface.co"
SECONDS = 30  # without any data, after which a transfer has failed
ATTEMPTS = 2  # at each file; the second goes on where the first broke off
PAUSE = 1.0  # seconds between them
SPARE = 50e6  # bytes that stay free on the disk
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that there is
SMALL = (".json", ".txt", ".spm", ".model")


class Wanted(NamedTuple):
    """A file to bring. digest: as in `registry.File`, or "git:…". size: in bytes, None when unknown."""

    name: str
    url: str
    digest: str
    size: int | None


def hub() -> str:
    """The address of the models' hub (`HF_ENDPOINT` names a mirror)."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def patience() -> float:
    """Seconds to wait for a connection: 1.5, or `COURSE_NETWORK_SECONDS`. Raises ValueError when that is no number above 0."""
    text = os.environ.get("COURSE_NETWORK_SECONDS", "1.5")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:
        raise ValueError(f"COURSE_NETWORK_SECONDS is {text!r}: set it to a number of seconds above 0")
    return seconds


def need_network(url: str) -> None:
    """Do nothing when the host of an address, or the proxy on the way there, takes a connection within `patience`.

    Libraries try for a minute before they give up; and looking up a name can hang without a limit, so it is done in a thread.
    Raises CourseError when nobody answers.
    """
    from requests.utils import select_proxy, get_environ_proxies  # isort: skip

    address = urlsplit(select_proxy(url, get_environ_proxies(url)) or url)
    port = address.port or (80 if address.scheme == "http" else 443)
    failed: list[str] = [f"no answer within {patience():g} s; on a slow line set COURSE_NETWORK_SECONDS=10"]

    def connect() -> None:
        try:
            socket.create_connection((address.hostname, port), timeout=patience()).close()
            failed.clear()
        except TimeoutError:
            pass
        except OSError as error:
            failed[0] = error.strerror or type(error).__name__

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(patience() + 0.2)
    if failed:
        raise CourseError(f"is there a network connection? {urlsplit(url).hostname} cannot be reached ({failed[0]})")


def hub_files(name: str, entry: registry.HubModel, locked: store.Locked | None) -> tuple[str, list[Wanted]]:
    """The commit of a model, and its files as the hub's own client states them: the one of the registry, or, where that says "main",
    the one that was locked before. Raises CourseError when the hub states another hash than the registry."""
    from huggingface_hub import HfApi

    revision = entry.revision if entry.revision != "main" or locked is None else locked.revision
    info = HfApi(endpoint=hub()).model_info(entry.repository, revision=revision, files_metadata=True, timeout=SECONDS)
    listed = {file.rfilename: file for file in info.siblings or [] if "/" not in file.rfilename}
    weights = next((file for file in WEIGHTS if file in listed), None)
    if weights is None:
        raise CourseError(f"{entry.repository} holds no weights in a format that is known here ({' or '.join(WEIGHTS)})")
    wanted = []
    for file, about in sorted(listed.items()):
        if file == weights or file.endswith(SMALL):
            digest = f"sha256:{about.lfs.sha256}" if about.lfs else f"git:{about.blob_id}"
            wanted.append(Wanted(file, f"{hub()}/{entry.repository}/resolve/{info.sha}/{quote(file)}", digest, about.size))
            if file == weights and entry.sha256 and digest != f"sha256:{entry.sha256}":
                raise CourseError(f"{hub()} states another hash for {file} than this course: it is not the file that was asked for")
    return info.sha, wanted


def bring(wanted: Wanted, target: Path, partial: Path, bar) -> None:
    """Download a file to `partial`, compare it, and move it to `target`. bar: a progress bar of bytes.

    A partial file that is there is continued, if the server knows how. Raises what the network and the disk raise, CourseError when
    the file is another one, and then keeps nothing.
    """
    import requests

    kind, _, known = wanted.digest.partition(":")
    for attempt in range(ATTEMPTS):
        have = partial.stat().st_size if partial.is_file() else 0
        if wanted.size is not None and have >= wanted.size:
            partial.unlink()
            have = 0
        try:
            asked = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
            with requests.get(wanted.url, stream=True, timeout=(SECONDS, SECONDS), headers=asked) as answer:
                if have and answer.status_code == 416:  # the partial file is longer than the real one
                    partial.unlink()
                    continue
                answer.raise_for_status()
                continued = answer.status_code == 206
                bar.update(have if continued else 0)
                with partial.open("ab" if continued else "wb") as file:
                    for block in answer.iter_content(1 << 18):
                        file.write(block)
                        bar.update(len(block))
            if store.digest(partial, kind) == known:
                target.parent.mkdir(parents=True, exist_ok=True)
                partial.replace(target)
                return
            partial.unlink()
            if not continued:  # the beginning of an older version may have spoiled it
                break
        except requests.HTTPError as error:
            if error.response.status_code < 500 or attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE)
    raise CourseError(f"what arrived as {wanted.name} is not the file that was asked for (its hash differs), and was not kept: try again "
                      "later, or from another network")


def reason(error: Exception, wanted: str) -> str:
    """A clause for a person: what happened, what to do. wanted: the file or the server that was asked."""
    import requests

    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(error, CourseError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "there is no space left on the disk: free some, or set COURSE_CACHE to a folder on another one"
    if isinstance(error, PermissionError):
        return f"{error.filename} cannot be written: choose another folder"
    if status in (401, 403, 404, 410):
        return f"{wanted} is not there any more (status {status}): it may have moved, look for a newer version of the course"
    if isinstance(error, ValueError) and not isinstance(error, requests.RequestException):
        return f"{wanted} answers with something else than what was asked: does this network want you to log in first? Do so and try again"
    if status is not None:
        return f"{wanted} answers with an error (status {status}): wait some minutes and try again"
    first = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
    if "timed out" in str(error).lower() or isinstance(error, requests.Timeout):
        return f"{wanted} sent nothing for {SECONDS:g} s: is there a network connection? Check it and try again"
    return f"the connection broke off: is there a network connection? Check it and try again ({first})"


def fetch(name: str, place: Path | None = None, like: store.Locked | None = None) -> str:
    """Make sure that a place holds an item, whole; returns "here" when it already did, else "downloaded".

    place: None for `store.own`. like: a lock whose version and hashes the item must have (of a classroom's folder). Two processes that
    want the same item wait for each other. Raises ValueError for an unknown name, CourseError with one sentence when it cannot be had;
    files that arrived whole before that are kept.
    """
    from filelock import FileLock, Timeout

    registry.item(name)
    place = store.own() if place is None else place
    try:
        if store.whole(place, name):
            return "here"
        partial = place / store.PARTIAL / name
        partial.mkdir(parents=True, exist_ok=True)
        with FileLock(place / store.PARTIAL / f"{name}.busy", timeout=600):
            if not store.whole(place, name):
                partial.mkdir(parents=True, exist_ok=True)
                _fetch(name, place, partial, like)
        shutil.rmtree(partial, ignore_errors=True)
        return "downloaded"
    except Timeout:
        why = "another process has been downloading it for ten minutes: wait for it, or end it"
    except Exception as error:  # of the network, the hub, the disk: each library has its own
        why = reason(error, getattr(error, "asked", "the server"))
    raise CourseError(f"{registry.title(name)} ({registry.item(name).megabytes} MB) could not be downloaded: {why}")


def _fetch(name: str, place: Path, partial: Path, like: store.Locked | None) -> None:
    entry, locked = registry.item(name), like or store.read_lock(place, name)
    if locked and store.outdated(name, locked):
        locked = None
    if isinstance(entry, registry.HubModel):
        need_network(hub())
        try:
            revision, wanted = hub_files(name, entry, locked)
        except Exception as error:
            error.asked = urlsplit(hub()).hostname
            raise
    else:
        revision, wanted = "", [Wanted(*file, size=None) for file in entry.files]
    missing = []
    for file in wanted:
        path = place / name / file.name
        kind, _, known = file.digest.partition(":")
        if not path.is_file() or store.digest(path, kind) != known:
            missing.append(file)
    if missing and not isinstance(entry, registry.HubModel):
        need_network(missing[0].url)
    _need_space(place, sum(file.size for file in missing) if all(file.size for file in missing) else entry.megabytes * 1e6)
    for stray in set(partial.iterdir()) - {partial / file.name for file in missing}:
        stray.unlink()
    with _bar(name, missing, entry) as bar:
        for file in missing:
            try:
                bring(file, place / name / file.name, partial / file.name, bar)
            except Exception as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    (partial / file.name).unlink(missing_ok=True)
                error.asked = f"{file.name} on {urlsplit(file.url).hostname}"
                raise
    found = {file.name: ((place / name / file.name).stat().st_size, store.sha256(place / name / file.name)) for file in wanted}
    for file in set(found) & set(locked.files if locked else ()):
        if found[file] != locked.files[file]:
            (place / name / file).unlink()
            raise CourseError(f"{file} is not the one that was locked when it was downloaded first: it was not kept; ask who manages "
                              f"the folder, or remove {store.lock_path(place, name).name} to accept the new version")
    for stray in {path.name for path in (place / name).iterdir()} - set(found):
        (place / name / stray).unlink(missing_ok=True)
    store.write_lock(place, name, store.Locked(revision, found))


def _need_space(place: Path, needed: float) -> None:
    """Raises OSError when the disk has less space than needed, before anything is downloaded."""
    if needed + SPARE > shutil.disk_usage(place).free:
        raise OSError(errno.ENOSPC, "no space left")


def _bar(name: str, missing: list[Wanted], entry: registry.HubModel | registry.Files):
    import sys

    from tqdm.auto import tqdm

    total = sum(file.size or 0 for file in missing) or entry.megabytes * 10**6
    hidden = os.environ.get("COURSE_PROGRESS") == "0"
    return tqdm(total=total, desc=name, unit="B", unit_scale=True, leave=False, delay=1, disable=hidden, file=sys.stdout)


def ensure(name: str) -> Path:
    """The folder of an item, every file compared with its hash; downloaded when it is nowhere. Needs COURSE_PROFILE=full.

    Looks into the classroom's folder first, and then asks no network. Raises ValueError for an unknown name, CourseError in the offline
    profile, or as `fetch`.
    """
    entry = registry.item(name)
    if config.profile() == "offline":
        raise CourseError(f"{registry.title(name)} must be downloaded ({entry.megabytes} MB), and this is the offline profile: set "
                          "COURSE_PROFILE=full before you start")
    for place in store.places():
        if store.whole(place, name):
            return place / name
    shared = store.read_lock(store.places()[0], name)
    fetch(name, like=shared if shared and not store.outdated(name, shared) else None)
    return store.own() / name
