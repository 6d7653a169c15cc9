'use strict';
// A stand-in for the clients of the older system, written from what is known of how they
// behave on the wire:
//
// - it greets with a text as soon as the connection is open, before it was welcomed;
// - the id that it is given stands at the top level of `welcome` or `response`;
// - it counts no terms;
// - it passes on elections, and never an announcement, a check or an answer;
// - it answers every check that it is handed, be it the leader or not;
// - of equal ranks it announces the one that it met first;
// - it checks its leader every 10 s and starts an election after 5 s without an answer;
// - a method that it does not know is worth a warning.
//
// What it knows of a leader it knows from announcements alone, and it believes the last one.
//
//   node client.js --url URL --rank N [--elect] [--hold election|home]
//                  [--check-interval MS] [--check-timeout MS]
//
// --elect starts an election as soon as it has an id. --hold makes it keep the first election
// frame that it should pass on (election), or that came home to it (home).
//
// On stdout it says, in lines of JSON, what it receives, sends and believes. On stdin it takes
// `elect` and `release`, line by line, and ends when stdin is closed.

const readline = require('readline');
const { parseArgs } = require('util');
const WebSocket = require('ws');

const { values: flags } = parseArgs({
  options: {
    url: { type: 'string' },
    rank: { type: 'string' },
    elect: { type: 'boolean', default: false },
    hold: { type: 'string', default: 'nothing' },
    'check-interval': { type: 'string', default: '10000' },
    'check-timeout': { type: 'string', default: '5000' },
  },
});
const rank = Number(flags.rank);
const checkInterval = Number(flags['check-interval']);
const checkTimeout = Number(flags['check-timeout']);

let me = null;
let leader = null;
let holds = flags.hold;
let held = null;
let suspicion = null;

const socket = new WebSocket(flags.url);

function tell(event, more) {
  console.log(JSON.stringify({ event, ...more }));
}

function send(method, data) {
  const frame = { method, data, senderId: me };
  tell('sent', { frame });
  socket.send(JSON.stringify(frame));
}

function elect() {
  send('election', { ranks: [{ rank, clientId: me }] });
}

function check() {
  if (leader === null || leader === me) return;
  send('checkLeader', { leaderId: leader });
  if (suspicion !== null) return;
  suspicion = setTimeout(() => {
    suspicion = null;
    tell('unanswered', { leaderId: leader });
    elect();
  }, checkTimeout);
}

function calm() {
  clearTimeout(suspicion);
  suspicion = null;
}

function identify(frame) {
  if (me !== null || frame.clientId === undefined) return;
  me = frame.clientId;
  tell('identified', { clientId: me });
  setInterval(check, checkInterval);
  if (flags.elect) elect();
}

// Does it now, or when it is told to release what it holds.
function unlessHeld(what, then) {
  if (holds !== what) return then();
  holds = 'nothing';
  held = then;
  tell('holding', { what });
}

const receive = {
  welcome: identify,
  response: identify,

  election({ data: { ranks } }) {
    if (ranks.every((entry) => entry.clientId !== me)) {
      ranks.push({ rank, clientId: me });
      return unlessHeld('election', () => send('election', { ranks }));
    }
    const best = ranks.reduce((best, entry) => (entry.rank > best.rank ? entry : best));
    unlessHeld('home', () => send('newLeader', { leaderId: best.clientId }));
  },

  newLeader({ data: { leaderId } }) {
    leader = leaderId;
    calm();
    tell('believes', { leaderId });
  },

  checkLeader({ senderId }) {
    send('answerLeader', { destinationId: senderId });
  },

  answerLeader: calm,
};

socket.on('open', () => send('greeting', 'hello'));

// A Buffer, whether it came as text or as binary.
socket.on('message', (bytes) => {
  const frame = JSON.parse(bytes.toString());
  tell('received', { frame });
  if (Object.hasOwn(receive, frame.method)) receive[frame.method](frame);
  else console.error(`warning: unknown method ${frame.method}`);
});

socket.on('close', (code, reason) => {
  tell('closed', { code, reason: reason.toString() });
  process.exit();
});

socket.on('error', (error) => console.error(`error: ${error.message}`));

const orders = {
  elect,
  release() {
    const then = held;
    held = null;
    then();
  },
};
readline
  .createInterface({ input: process.stdin })
  .on('line', (order) => orders[order]())
  .on('close', () => process.exit());
