//! Everything in Ringleader that is true without a socket, a clock or a random
//! number. The hub, the clients, the simulator and the tests all run this code.
//!
//! Start with [`machine`]: every algorithm here is one [`machine::Machine`],
//! which takes an input and returns effects for a driver to perform.
//!
//! - [`id`]: who and which: client ids, ranks, terms, candidates.
//! - [`roster`]: the members in ring order, and who follows whom.
//! - [`machine`]: inputs, effects, and the trait between them.
//! - [`rule`]: the rules that the machines keep, by name.
//! - [`message`]: what members of a hub's ring say to each other.
//! - [`wire`]: those messages, and the hub's own, as JSON text frames.
//! - [`relay`]: what the hub decides: order, stamp, hand on, repair, refuse.
//! - [`session`]: a client's side of its connection to the hub.
//! - [`election`]: how the members elect: one file an algorithm.
//! - [`paxos`]: how nodes agree on a value, and never on two.
//! - [`factorial`]: what a leader is elected for here: work that it shares out.
//! - [`node`]: an election and that work, as one machine.

pub mod election;
pub mod factorial;
pub mod id;
pub mod machine;
pub mod message;
pub mod node;
pub mod paxos;
pub mod relay;
pub mod roster;
pub mod rule;
pub mod session;
pub mod wire;
