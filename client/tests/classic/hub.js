'use strict';
// A stand-in for the hub of the older system, written from what is known of how it behaves on
// the wire:
//
// - a connection is in the ring from the moment it connects, whatever path it asks for;
// - ids are nine letters and digits, at the top level of `welcome` and `response`;
// - it counts no terms, stamps nothing, and says nothing of how it relays;
// - `election` goes to the successor, `newLeader` to everybody, `checkLeader` to the leader
//   named, `answerLeader` to the destination named;
// - what it relays it sends as a binary message at times: every other one here.
//
//   node hub.js
//
// It listens on a free port of 127.0.0.1. On stdout it says, in lines of JSON, where it listens,
// who comes and goes, and what it relays. It ends when stdin is closed.

const WebSocket = require('ws');

// In ring order.
const ring = [];
let relayed = 0;

function tell(event, more) {
  console.log(JSON.stringify({ event, ...more }));
}

function drawId() {
  const text = Math.random().toString(36).slice(2, 11);
  return text.length === 9 ? text : drawId();
}

// As it came, but as text or as binary by turns.
function relay(frame, bytes, to) {
  if (to === undefined) return;
  const binary = relayed++ % 2 === 1;
  tell('relayed', { to: to.id, binary, frame });
  to.socket.send(bytes, { binary });
}

function find(id) {
  return ring.find((member) => member.id === id);
}

const receive = {
  greeting(frame, bytes, member) {
    member.socket.send(JSON.stringify({ method: 'response', clientId: member.id, data: 'hello' }));
  },
  election(frame, bytes, member) {
    relay(frame, bytes, ring[(ring.indexOf(member) + 1) % ring.length]);
  },
  newLeader(frame, bytes) {
    for (const member of ring) relay(frame, bytes, member);
  },
  checkLeader(frame, bytes) {
    relay(frame, bytes, find(frame.data.leaderId));
  },
  answerLeader(frame, bytes) {
    relay(frame, bytes, find(frame.data.destinationId));
  },
};

const server = new WebSocket.WebSocketServer({ host: '127.0.0.1', port: 0 });

server.on('listening', () => tell('listening', { port: server.address().port }));

server.on('connection', (socket) => {
  const member = { id: drawId(), socket };
  ring.push(member);
  tell('joined', { clientId: member.id });
  socket.send(JSON.stringify({ method: 'welcome', clientId: member.id, data: 'welcome' }));

  socket.on('message', (bytes) => {
    const frame = JSON.parse(bytes.toString());
    if (Object.hasOwn(receive, frame.method)) receive[frame.method](frame, bytes, member);
    else tell('unknown', { method: frame.method });
  });
  socket.on('close', () => {
    ring.splice(ring.indexOf(member), 1);
    tell('left', { clientId: member.id });
  });
  socket.on('error', (error) => console.error(`error: ${error.message}`));
});

process.stdin.on('end', () => process.exit()).resume();
