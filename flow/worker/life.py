"""What a worker's process or thread does from its birth on: one life as a lane, or several with rests between."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import socket
from typing import Any

from devices.engine import Session
from flow import channel
from flow.courtesy import STEPS, courteously
from flow.plan.codec import decode_plan
from flow.plan.priority import niceness
from flow.plan.value import Plan
from flow.worker.fault import describe
from flow.worker.lane import LaneWorker
from flow.worker.setup import SETUP


def serve(sock: socket.socket, *, own_process: bool, plan: Plan | None = None) -> None:
    """A worker's life, or several with rests between: told what to do over `sock`, built, run, ended. Models stay loaded meanwhile.

    Failures to start are told to the executor. `plan`: what a parent has decoded already.
    """
    sessions: dict[tuple[Any, ...], Session] = {}
    born = os.getpriority(os.PRIO_PROCESS, 0) if own_process else None
    try:
        while _live(sock, sessions, born, plan):
            pass
    except channel.Closed:
        pass
    finally:
        for session in sessions.values():
            session.close()


def _live(sock: socket.socket, sessions: dict[tuple[Any, ...], Session], born: int | None, plan: Plan | None) -> bool:
    """One life; whether another may follow. Raises channel.Closed when the executor is gone."""
    message, fds = channel.receive(sock)
    while message.get("kind") != "setup":  # what was meant for an earlier life
        for fd in fds:
            os.close(fd)
        message, fds = channel.receive(sock)
    setup = SETUP.validate_python(message["setup"])
    if plan is None or plan.digest != message["digest"]:
        known = functools.partial(decode_plan, message["plan"])
        plan = courteously(known) if setup.beside and born is not None else known()
    if born is not None:
        _step_back(born, niceness(plan, next(lane for lane in plan.lanes if lane.id == setup.lane)))
    worker = LaneWorker(setup, plan, fds, sock, sessions)
    try:
        while worker.control.take().get("kind") != "build":
            pass
        try:
            if setup.beside and born is not None:
                courteously(worker.build, threads=worker.lane.threads)
            else:
                worker.build()
        except Exception as error:  # told to the executor, which decides; a traceback would say less
            channel.send(sock, {"kind": "failed", "message": describe(error, "") if not str(error) else str(error)})
            return False
        worker.control.tell("ready")
        if born is not None:
            gc.freeze()  # what has been built lives on: looking through it again and again would hold frames up
        worker.run()
    finally:
        if born is not None and worker.change.leaves and not worker.rests:
            os.setpriority(os.PRIO_PROCESS, 0, STEPS)  # others go on: they come before what is to be cleared away
        worker.close()
    return worker.rests


def _step_back(born: int, by: int) -> None:
    """Before there are threads, which inherit it. Who has stepped back further in an earlier life may not be allowed to come forward."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, born + by)
