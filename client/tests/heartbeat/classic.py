"""A peer as somebody may write it for the exercise: blocking sockets, threads, and
an urgent message that is the id sent out of band and read with recv(…, MSG_OOB).

    python3 classic.py ID PORT ENTRY [INTERVAL TIMEOUT]

Prints `leader is ID` and `urgent from ID`.
"""

import select
import socket
import sys
import threading
import time

me, port, entry = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
interval, silence = (float(arg) for arg in (sys.argv[4:] or [2, 5]))
with open(entry) as lines:
    count = int(next(lines))
    peers = {int(id): ip for id, ip in (next(lines).split() for _ in range(count))}
lock = threading.Lock()
heard, ever, leader = {}, {me}, None


def say(line):
    print(line, flush=True)


def elect():
    global leader
    lowest = min([me, *heard])
    if ever == set(peers) and lowest != leader:
        leader = lowest
        say(f"leader is {leader}")


def send(to, flags):
    try:
        with socket.create_connection((peers[to], port), timeout=interval / 2) as peer:
            peer.send(str(me).encode(), flags)
    except OSError:
        pass


def receive(connection):
    with connection:
        urgent = connection in select.select([connection], [], [connection], silence)[2]
        id = int(connection.recv(16, socket.MSG_OOB if urgent else 0))
    with lock:
        heard[id] = time.monotonic()
        ever.add(id)
        if urgent:
            say(f"urgent from {id}")
        elect()


def listen():
    while True:
        connection, _ = server.accept()
        threading.Thread(target=receive, args=[connection], daemon=True).start()


server = socket.create_server((peers[me], port), backlog=64)
threading.Thread(target=listen, daemon=True).start()
while True:
    for peer in peers:
        if peer != me:
            send(peer, 0)
    with lock:
        gone = [peer for peer, at in heard.items() if time.monotonic() - at > silence]
        for peer in gone:
            del heard[peer]
        missed = leader in gone
        elect()
    if missed:
        for peer in list(heard):
            send(peer, socket.MSG_OOB)
    time.sleep(interval)
