#!/usr/bin/env python3
"""A whole node of a Ringleader ring: joins, takes part, follows or leads.

    pip install websockets
    python3 node.py ws://localhost:8080 --rank 7 --name py

It prints a line whenever it comes to believe something else: its name and id,
its role, whom it holds for the leader, and in which term; on stderr, whether it
may act as the leader. Times are in seconds.
"""
import argparse, asyncio, json, random, sys, time
import websockets

# Renamed in version 14.
HEADERS = "extra_headers" if int(websockets.__version__.split(".")[0]) < 14 else "additional_headers"


class Node:
    def __init__(self, rank, name):
        self.rank, self.name, self.told = rank, name, (None, False)
        self.resigned = 0  # the newest term in which it stood down
        self.term = 0  # of the newest leader it adopted; never falls, not even when it reconnects
        self.leave()

    def leave(self):
        self.me, self.leader, self.may_act = None, None, False
        self.timers, self.out = {}, []  # name: when it is due; frames to send

    def hear(self, frame):
        """What a frame means. `sender` is the member that it started from."""
        method, data, sender = frame["method"], frame.get("data"), frame.get("senderId")
        match method:
            case "welcome":
                self.me, self.ring = frame["clientId"], data["relay"] == "ring"
                self.lease = (data.get("leaseMs") or 0) / 1000  # 0: this hub grants none; to lead is enough
                greeting = {"rank": self.rank, "name": self.name, "forwards": True, "term": self.term}
                self.out.append({"method": "greeting", "data": greeting, "senderId": None})
                self.arm("elect", 0, 0.5)  # by chance, so that not everybody starts at once
                self.adopt(data)
            case "response":
                self.adopt(data)
            case "election" if all(entry["clientId"] != self.me for entry in data["ranks"]):
                data["ranks"].append({"rank": self.rank, "clientId": self.me})
                self.out.append(frame)  # passed on: senderId and all else as they came
            case "election":  # we are in it already, so it is home: announce the best
                best = max(data["ranks"], key=lambda entry: (entry["rank"], entry["clientId"]))
                self.say("newLeader", leaderId=best["clientId"], term=data["term"])
            case "newLeader":
                if self.ring and sender != self.me:
                    self.out.append(frame)
                self.adopt(data)
            case "checkLeader" if data["leaderId"] == self.me:
                # Asked about a newer term than ours: our announcement is on its way.
                if data["term"] > self.term or (data["term"] == self.term and self.leader == self.me):
                    self.say("answerLeader", destinationId=sender, term=data["term"])
            case "answerLeader" if data["destinationId"] == self.me:
                if (sender, data["term"]) == (self.leader, self.term):
                    self.timers.pop("suspect", None)
            case "checkLeader" | "answerLeader":  # between others
                self.out.append(frame)
                about = data.get("leaderId", sender)
                if about != self.me and (about, data["term"]) == (self.leader, self.term):
                    self.arm("check", 2, 2.2)  # theirs serves us too; ours that is out already still counts
            case "leaderLeft" if data["resigned"] and (data["leaderId"], data["term"]) == (self.leader, self.term):
                self.elect()  # where it did not resign, our check finds out
            case "lease" if (self.leader, self.term) == (self.me, data["term"]):
                if data["leaseMs"] >= 1000 * self.lease:  # it may not be less than was promised
                    self.may_act = True
                    self.timers["stand down"] = self.asked + 0.8 * self.lease  # from when we asked, not from now
                    self.arm("ask", self.lease / 4, self.lease / 4)
            case "error":
                print("the hub says:", data["message"], file=sys.stderr)
                if (data["code"], data["about"]) == ("not-leader", "lease") and self.leader == self.me:
                    self.stand_down()

    def due(self, timer):
        if timer == "check":
            self.say("checkLeader", leaderId=self.leader, term=self.term)
            self.arm("check", 2, 2.2)
            if "suspect" not in self.timers:  # a later check does not put this off
                self.arm("suspect", 5, 5)
        elif timer == "ask":
            self.ask()
        elif timer == "stand down":  # the lease is over
            self.say("leaderLeft", leaderId=self.me, term=self.term, resigned=True)
            self.stand_down()
        else:  # "suspect": no answer came; "elect": no announcement
            self.elect()

    def elect(self):
        self.leader, self.timers = None, {}
        self.say("election", ranks=[{"rank": self.rank, "clientId": self.me}], term=self.term)
        self.arm("elect", 5, 7.5)  # without a leader this is always armed

    def ask(self):
        self.asked = time.monotonic()
        # No answer is no lease; one that runs already ends when it does.
        self.timers.setdefault("stand down", self.asked + 0.8 * self.lease)
        self.say("lease", term=self.term)

    def stand_down(self):
        self.leader, self.timers, self.may_act, self.resigned = None, {}, False, self.term
        self.arm("elect", 5, 7.5)

    def adopt(self, data):
        leader, term = data["leaderId"], data["term"]
        if leader is None or term < self.term or (leader, term) == (self.leader, self.term):
            return  # nobody, one that was, or the one that is
        if leader == self.me and term <= self.resigned:
            return  # a late copy of our announcement
        self.leader, self.term, self.timers = leader, term, {}
        self.may_act = leader == self.me and not self.lease
        wait = (data.get("actAfterMs") or 0) / 1000  # an older leader's lease may run for so long
        if leader != self.me:
            self.arm("check", 2, 2.2)
        elif self.lease and wait:
            self.arm("ask", wait, wait)
        elif self.lease:
            self.ask()

    def say(self, method, **data):
        self.out.append({"method": method, "data": data, "senderId": self.me})

    def arm(self, timer, least, most):
        self.timers[timer] = time.monotonic() + random.uniform(least, most)

    def tell(self):
        roles = {None: "candidate", self.me: "leader"}
        role = roles.get(self.leader, "follower") if self.me else "disconnected"
        line = f"{self.name} {self.me or '-'}: {role}, leader {self.leader or '-'}, term {self.term}"
        if line != self.told[0]:
            print(line, flush=True)
        if self.may_act != self.told[1]:
            print(f"{self.name} may", "act" if self.may_act else "not act", f"in term {self.term}", file=sys.stderr)
        self.told = line, self.may_act

    async def step(self, hub):
        timer = min(self.timers, key=self.timers.get, default=None)
        wait = None if timer is None else max(0, self.timers[timer] - time.monotonic())
        try:
            self.hear(json.loads(await asyncio.wait_for(hub.recv(), wait)))
        except asyncio.TimeoutError:
            del self.timers[timer]
            self.due(timer)
        while self.out:
            await hub.send(json.dumps(self.out.pop(0), separators=(",", ":")))

    async def run(self, url, token_file):
        while True:
            try:
                # Read each time, so that a new token counts. Never in the URL, which gets into logs.
                token = open(token_file).read().strip() if token_file else None
                options = {HEADERS: {"Authorization": f"Bearer {token}"}} if token else {}
                # `?join`: we are going to greet, so show us no spectators' frames.
                async with websockets.connect(url + "?join", ping_interval=1, ping_timeout=3, **options) as hub:
                    while True:
                        await self.step(hub)
                        self.tell()
            except (OSError, websockets.WebSocketException) as problem:
                print(f"no hub at {url}: {problem}", file=sys.stderr)
            self.leave()
            self.tell()
            await asyncio.sleep(random.uniform(0.5, 1.5))


if __name__ == "__main__":
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("url", help="a hub, such as ws://localhost:8080 or ws://localhost:8080/rings/blue")
    flags.add_argument("--rank", type=float, default=random.randrange(1000), help="the highest leads")
    flags.add_argument("--name", default="py", help="what people call it")
    flags.add_argument("--token-file", metavar="FILE", help="holds the token that the hub asks for")
    flags = flags.parse_args()
    try:
        asyncio.run(Node(flags.rank, flags.name).run(flags.url, flags.token_file))
    except KeyboardInterrupt:
        pass
