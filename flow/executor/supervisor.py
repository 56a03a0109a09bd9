"""The supervisor: starts workers, opens links between them, watches them, and starts them again when they die."""

from __future__ import annotations

import json
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import zmq

from flow.executor.alarm import Alarm
from flow.executor.blame import Blame
from flow.executor.directory import RunDirectory
from flow.executor.memory import SharedMemory
from flow.executor.nursery import Nursery
from flow.executor.results import Arrival, ResultsInbox
from flow.executor.shadow import Shadow
from flow.executor.workers import Worker
from flow.ledger import TOGETHER
from flow.link.rows import SHAPE
from flow.plan.codec import encode_plan
from flow.plan.value import Node, Plan
from flow.pool import PoolError
from flow.wiring import LinkId, Seat, Wiring
from flow.worker.setup import ORDER, SETUP, LinkOrder, ResultsOrder, Setup, as_json

TICKS_A_DEADLINE = 5
LEAST_TICK_MS, MOST_TICK_MS = 20, 200
STOP_TIMEOUT_S = 5.0
END_TIMEOUT_S = 60.0
START_TIMEOUT_S = 120.0
MOST_RESTARTS = 8
RESULTS = "results:"

Event = Callable[[dict[str, Any]], None]


class Supervisor:
    """Runs a plan's workers from one thread. `poke` wakes it from another."""

    def __init__(self, plan: Plan, *, frames: int | None, on_event: Event) -> None:
        self.plan, self.frames, self.on_event = plan, frames, on_event
        self.wiring = Wiring(plan)
        self.directory = RunDirectory()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.LINGER, 0)
        self.router.bind(self.directory.address("control"))
        self.workers = {
            seat: Worker(seat, self.wiring.layout(lane), threads=lane.threads, device=lane.device)
            for seat in self.wiring.seats()
            for lane in (self.wiring.lanes[seat.lane],)
        }
        self.arrived: queue.SimpleQueue[Arrival | None] = queue.SimpleQueue()
        self.inboxes: dict[int, ResultsInbox] = {}
        self.problems: list[str] = []
        self.blame = Blame()
        self.poison = self.blame.poison
        self.stopped: set[str] = set()
        self.running = False
        self.failed = False
        self.shadow = Shadow(self)
        self.opened: Counter[LinkId] = Counter()
        from flow.switch.change import PlanChange  # it stands on parts of this package

        self.change = PlanChange(self)
        self.nursery = Nursery(encode_plan(plan).decode()) if plan.workers == "processes" else None
        self.nodes: dict[str, Node] = {node.address: node for node in plan.nodes}
        self.alarm = Alarm()
        self._lock = threading.Lock()
        self._orders: list[tuple[str, Any]] = []
        self._accepts = True
        deadline_ms = min((node.deadline_ms for node in plan.nodes), default=MOST_TICK_MS * TICKS_A_DEADLINE)
        self._tick_ms = int(max(LEAST_TICK_MS, min(MOST_TICK_MS, deadline_ms / TICKS_A_DEADLINE)))
        self._look_at = 0.0
        """When workers are looked at though none has said anything."""
        self.lost: set[Seat] = set()
        self._closed: set[int] = set()
        self._stop = False
        self._draining = False
        self.leaked = 0
        """Slots that were still held at the end; 0 after an orderly one."""
        try:
            self.memory = SharedMemory(self.wiring, self.workers)
            for sink in plan.sinks:
                if sink.target == RESULTS:
                    self.inboxes[sink.id] = ResultsInbox(sink, self.arrived, self.workers[self.wiring.writer(sink.id)].bell)
        except BaseException:
            self._free_the_rest()
            raise

    # ---- asked from other threads

    def shared_bytes(self) -> int:
        """Shared memory of pools, links and results."""
        return self.memory.nbytes() + len(self.inboxes) * SHAPE.nbytes

    def order(self, do: str, **fields: Any) -> bool:
        """`drain`, `stop`, `change`, `shadow`; False once the run is over."""
        with self._lock:
            if self._accepts:
                self._orders.append((do, fields))
        self.poke()
        return self._accepts

    def poke(self) -> None:
        """Wakes the supervisor; nothing once the run is over."""
        self.alarm.poke()

    # ---- starting

    def start(self, worker: Worker) -> None:
        """Starts a worker's next incarnation."""
        seat = worker.seat
        worker.start(self.nursery)
        terms = self.change.terms(worker)
        worker.plan = terms.plan
        wiring = Wiring(terms.plan)
        own = {sink for chain in wiring.lanes[seat.lane].chains for sink in wiring.chains[chain].sinks} & self.inboxes.keys()
        results = {sink: self._begin(worker, sink) for sink in sorted(own - {*terms.waiting})}
        setup = Setup(
            seat.lane, seat.replica, worker.incarnation, self.directory.address("control"), self.frames, self.blame.poisoned(terms.plan),
            self.blame.alone(terms.plan), tuple(sorted(self.stopped)), tuple(results.values()), worker.block.layout.names,
            tuple(self.change.streams), terms.epoch, terms.passage, terms.held, terms.waiting, terms.farewell, seat in self.change.staged,
        )  # fmt: skip
        fds = [worker.fd, worker.bell.bell, worker.bell.word]
        message = {"kind": "setup", "setup": as_json(SETUP, setup), "plan": terms.plan_json, "digest": terms.digest}
        worker.send(message, fds)
        epoch = terms.epoch if terms.passage is None else terms.passage.epoch
        self.memory.hand_over(worker, wiring=wiring, epoch=epoch)
        for sink in results:
            self._give_ring(worker, sink)
        worker.send({"kind": "build"})

    def give_inbox(self, worker: Worker, sink: int) -> ResultsOrder:
        """From now on this worker writes the results of a sink."""
        order = self._begin(worker, sink)
        self._give_ring(worker, sink)
        return order

    def _begin(self, worker: Worker, sink: int) -> ResultsOrder:
        inbox = self.inboxes[sink]
        inbox.begin(worker.bell)
        return ResultsOrder(sink, dict(inbox.seen), inbox.arrived_rows)

    def _give_ring(self, worker: Worker, sink: int) -> None:
        executor = self.alarm.bell
        worker.send({"kind": "results", "sink": sink}, [self.inboxes[sink].ring, executor.bell, executor.word_read_only])

    def open_links(self, seat: Seat) -> None:
        """Opens every ZeroMQ link between this worker and those that are ready, at new addresses."""
        for link in self.wiring.links():
            ends = self.wiring.ends(link)
            if self.wiring.carrier(link) != "zmq" or seat not in ends or not all(self.workers[end].ready for end in ends):
                continue
            self.opened[link] += 1
            address = self.directory.address(f"{link.name}.{self.opened[link]}")
            for end, sending in ((ends[1], False), (ends[0], True)):
                self.command(self.workers[end], do="open", links=[as_json(ORDER, LinkOrder(link, address, sending))])

    def command(self, worker: Worker, **fields: Any) -> None:
        self.router.send_multipart([worker.name.encode(), json.dumps(fields).encode()])

    # ---- the loop

    def run(self) -> None:
        """Until every worker has ended, or stop is asked for. Frees everything."""
        try:
            for worker in self.workers.values():
                self.start(worker)
            while not self._stop and (self.change.active or not self._over()):
                self._turn()
        finally:
            with self._lock:
                self._accepts, orders = False, self._orders
            self.change.end(fields["future"] for do, fields in orders if do == "change")
            try:
                self._end_workers()
            finally:
                self._free()

    def _over(self) -> bool:
        return all(worker.ended or worker.seat in self.lost for worker in self.workers.values())

    def _turn(self) -> None:
        speakers = [self.router, None if self.nursery is None else self.nursery.sock]
        told = self.alarm.sleep(speakers, self.inboxes.values(), max(0, math.ceil((self._look_at - time.monotonic()) * 1e3)))
        if told and self.nursery is not None:
            self.nursery.take()
        for inbox in self.inboxes.values():
            inbox.poll(freely=self.change.switching)
        self._take_orders()
        if told or time.monotonic() >= self._look_at:
            self._take_events()
            for worker in list(self.workers.values()):
                if worker.seat not in self.lost and worker.seat not in self.change.staged:
                    self._watch(worker)
            self._look_at = self._next_look()
        self.change.turn()

    def _next_look(self) -> float:
        """Until when nobody need look at deadlines, and threads that may have ended; a worker that is due is started in time."""
        due = [worker.due for worker in self.workers.values() if worker.due is not None]
        return min([time.monotonic() + self._tick_ms / 1e3, *due])

    def _take_orders(self) -> None:
        with self._lock:
            orders, self._orders = self._orders, []
        for do, fields in orders:
            if do == "stop":
                self._stop = True
            elif do == "change":
                self.change.take(**fields)
            elif do == "shadow":
                self.shadow.take(**fields)
            elif do == "drain":
                self._draining = True
                for worker in self.workers.values():
                    if worker.ready:
                        self.command(worker, do="drain")

    def _take_events(self) -> None:
        while True:
            try:
                name, data = self.router.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            except ValueError:
                continue
            worker = next((one for one in (*self.workers.values(), *self.change.staged.values()) if one.name.encode() == name), None)
            if worker is not None and not (self.change.handle(worker, event := json.loads(data)) or self.shadow.handle(worker, event)):
                self._handle(worker, event)

    def _handle(self, worker: Worker, event: dict[str, Any]) -> None:
        match event["event"]:
            case "ready":
                worker.ready = True
                lane = self.wiring.lanes[worker.seat.lane]
                self.blame.forgive(address for chain in lane.chains for address in self.wiring.chains[chain].nodes)
                self.open_links(worker.seat)
                self._detach(worker)
                for business in sorted(self.stopped):
                    self.command(worker, do="stop_business", business=business)
                if self._draining:
                    self.command(worker, do="drain")
                if self.running:
                    self.command(worker, do="go")
                self._go()
            case "error":
                node = self.nodes[event["address"]]
                rest = " (more of these are counted, not shown)" if event["last"] else ""
                self._note(f"{', '.join(node.names)} ({node.where[0]}): {event['message']}{rest}", "error")
            case "business_failed":
                self._note(event["message"], "business_failed")
                self.failed = True
                for business in event["businesses"]:
                    self._stop_business(business)
            case "sink_closed":
                self._closed.add(event["sink"])
                if self._closed >= {sink.id for sink in self.plan.sinks}:
                    self.order("drain")
            case "stream_failed" | "stream_lost":
                self.failed |= event["event"] == "stream_failed"
                self._note(f"stream {event['stream']}: {event['message']}", event["event"])
            case "grow":
                try:
                    self.memory.grow(worker, event)
                except PoolError as error:
                    self._note(str(error), "error")
                    worker.send({"kind": "refused", "message": str(error)})

    def _go(self) -> None:
        """Lets the sources start once every worker is ready."""
        if not self.running and all(one.ready or one.seat in self.lost for one in self.workers.values()):
            self.running = True
            for worker in self.workers.values():
                if worker.ready:
                    self.command(worker, do="go")
            self.on_event({"event": "running"})

    def _note(self, message: str, event: str) -> None:
        self.problems.append(message)
        self.on_event({"event": event, "message": message})

    def _title(self, worker: Worker) -> str:
        return f"worker {next(lane.name for lane in worker.plan.lanes if lane.id == worker.seat.lane)}"

    # ---- death and life

    def _watch(self, worker: Worker) -> None:
        now = time.monotonic()
        if worker.due is not None and now >= worker.due:
            worker.restarts += 1
            self.start(worker)
            return
        cause = worker.dead()
        if cause is not None:
            self._died(worker, worker.stalled or cause)
        elif not worker.gone and not worker.ready and now - worker.started > START_TIMEOUT_S:
            worker.stalled = f"not ready after {START_TIMEOUT_S:.0f} s"
            worker.kill()
        elif worker.ready:
            self._check_deadline(worker)

    def _check_deadline(self, worker: Worker) -> None:
        status = worker.block.status()
        if status["node"] < 0 or worker.stalled:
            return
        node = worker.plan.nodes[status["node"]]
        took_ms = (time.monotonic_ns() - status["since_ns"]) / 1e6
        several = status["stream"] == TOGETHER
        deadline_ms = node.deadline_ms * (status["seq"] if several else 1)
        if took_ms <= deadline_ms or worker.block.status() != status:
            return
        what = f"{status['seq']} frames" if several else f"frame {status['seq']}"
        cause = f"{node.names[0]} ran for {took_ms:.0f} ms on {what}, its deadline is {deadline_ms:.0f} ms"
        if worker.process is None:
            self.give_up(worker, f"{cause}; a thread cannot be ended: run with --workers processes")
        else:
            worker.stalled = cause
            worker.kill()

    def _died(self, worker: Worker, cause: str) -> None:
        if self.change.over(worker) or (worker.ended and worker.process is not None and worker.process.returncode == 0):
            worker.gone = True
            return
        status, last_words = worker.block.status(), worker.last_words()
        worker.bury()
        self.memory.let_go(worker.seat, returns=True)
        if last_words is not None:
            self.give_up(worker, f"{self._title(worker)} cannot start: {last_words}")
            return
        if self.shadow.has(worker):
            self.give_up(worker, f"{self._title(worker)} died: {cause}")
            return
        where = ""
        if status["node"] >= 0:
            node = worker.plan.nodes[status["node"]]
            if status["stream"] == TOGETHER:
                when = f"on {status['seq']} frames at once, each of which is tried alone now"
                self.blame.suspect((worker.plan.nodes[number], stream, seq) for number, stream, seq in worker.block.entered())
            else:
                when = "as it was opened" if status["stream"] < 0 else f"on frame {status['seq']}"
                self._blame(node, status["stream"], status["seq"])
            where = f" in {node.names[0]} {when}"
        self._note(f"{self._title(worker)} died{where}: {cause}", "died")
        if len(worker.deaths) > MOST_RESTARTS:
            self.give_up(worker, f"{self._title(worker)} died {len(worker.deaths)} times in a minute and is not started again")
        else:
            worker.due = time.monotonic() + worker.backoff_s()

    def _blame(self, node: Node, stream: int, seq: int) -> None:
        match self.blame.died(node, stream, seq):
            case "stop":
                self.failed = True
                for business in node.businesses:
                    self._stop_business(business)
            case "poison":
                where = self.wiring.streams[stream]
                self.poison.append(
                    {"node": node.names[0], "address": node.address, "stream": where, "seq": seq, "plan": self.plan.digest}
                )  # fmt: skip
                self._note(f"frame {seq} of {where} is set aside: {node.names[0]} died on it", "poison")

    def give_up(self, worker: Worker, message: str) -> None:
        """This lane is not coming back: its businesses stop, the others go on without its edges."""
        if worker.seat in self.lost:
            return
        self.lost.add(worker.seat)
        if not self.shadow.gives_up(worker, message):
            self.failed = True
            self._note(message, "lost")
        self.change.lost(worker, message)
        worker.kill()
        if worker.process is None or worker.join(STOP_TIMEOUT_S):  # a thread is left to itself: nothing leads to it or from it any more
            self.memory.let_go(worker.seat, returns=False)  # or others would wait for its slots
        for other in self.workers.values():
            if other.ready:
                self._detach(other)
        chains = set(self.wiring.lanes[worker.seat.lane].chains)
        starving = {self.wiring.lane_of[edge.consumer].id for edge in self.wiring.plan.edges if edge.producer in chains}
        for seat, other in self.workers.items():
            if seat.lane in starving or seat.lane == worker.seat.lane:
                self.give_up(other, f"{self._title(other)} ends, for it gets no more frames")
        if not any(seat not in self.lost for seat in self.workers) and not self.change.active:
            self._stop = True
        self._go()

    def _detach(self, worker: Worker) -> None:
        """Tells a worker which of its edges lead to lanes that are lost."""
        lost = {seat.lane for seat in self.lost}
        for edge in self.wiring.plan.edges:
            if self.wiring.lane_of[edge.producer].id == worker.seat.lane and self.wiring.lane_of[edge.consumer].id in lost:
                self.command(worker, do="detach", edge=edge.id)

    def _stop_business(self, name: str) -> None:
        if name in self.stopped:
            return
        self.stopped.add(name)
        for worker in self.workers.values():
            if worker.ready:
                self.command(worker, do="stop_business", business=name)
        if self.stopped >= {business for node in self.plan.nodes for business in node.businesses}:
            self._stop = True

    # ---- the end

    def _end_workers(self) -> None:
        for worker in self.workers.values():
            if worker.ready and not worker.gone:
                self.command(worker, do="stop")
        give_up = time.monotonic() + (STOP_TIMEOUT_S if self._stop else END_TIMEOUT_S)  # a video is completed at the end
        for worker in self.workers.values():
            if worker.seat in self.lost or not worker.ready:
                worker.kill()
            given_up = worker.process is None and worker.seat in self.lost  # a thread that may never end: it has been let go of
            if not worker.gone and not given_up and not worker.join(max(0.1, give_up - time.monotonic())):
                worker.kill()
                worker.join(2.0)
        self._take_events()  # what workers said of their sinks as they closed them
        for inbox in self.inboxes.values():
            inbox.poll()

    def _free(self) -> None:
        self.leaked = self.memory.held()
        self.memory.close()
        self._free_the_rest()

    def _free_the_rest(self) -> None:
        for inbox in self.inboxes.values():
            inbox.close()
        self.change.close()
        self.arrived.put(None)
        self.router.close()
        self.context.destroy(linger=0)
        for worker in self.workers.values():
            worker.close()
        if self.nursery is not None:
            self.nursery.close()
        self.directory.remove()
        self.alarm.close()
