"""A node of the ring as students write it: python3 classic.py CONFIG UUID READS END LEAVES

READS: lines (makefile), one (json.loads of each recv), scan (raw_decode).
END: newline or nothing. LEAVES: at-once, or when-home."""

import json
import socket
import sys
import threading
import time
import uuid

config, me, reads, end, leaves = sys.argv[1:]
me = uuid.UUID(me)
(own_ip, own_port), (next_ip, next_port) = (line.strip().split(",") for line in open(config).readlines()[:2])

server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((own_ip, int(own_port)))
server.listen(1)
accepted = []
accepting = threading.Thread(target=lambda: accepted.append(server.accept()[0]))
accepting.start()

time.sleep(0.3)
while True:
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        client.connect((next_ip, int(next_port)))
        if client.getsockname() != client.getpeername():
            break
    except ConnectionRefusedError:
        pass
    client.close()
    time.sleep(0.05)
accepting.join()
connection = accepted[0]


def messages():
    if reads == "lines":
        for line in connection.makefile():
            yield json.loads(line)
    elif reads == "one":
        while data := connection.recv(1024):
            yield json.loads(data)
    else:
        text, decoder = "", json.JSONDecoder()
        while data := connection.recv(1024):
            text += data.decode()
            while text := text.lstrip():
                try:
                    message, position = decoder.raw_decode(text)
                except ValueError:
                    break
                text = text[position:]
                yield message


def send(which, flag):
    message = json.dumps({"uuid": str(which), "flag": flag})
    try:
        client.sendall((message + ("\n" if end == "newline" else "")).encode())
    except OSError:
        if leader is None:
            raise


leader = None
send(me, 0)
for message in messages():
    theirs = uuid.UUID(message["uuid"])
    if message["flag"] == 1:
        if theirs != me:
            leader = theirs
            send(theirs, 1)
        break
    if theirs > me:
        send(theirs, 0)
    elif theirs == me:
        leader = me
        send(me, 1)
        if leaves == "at-once":
            break
print(f"leader is {leader}", flush=True)
