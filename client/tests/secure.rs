//! Tokens and TLS, as a client uses them: against a server of this test's own, which
//! shows certificates of its own making and keeps what it is asked.

// What these tests unwrap, they check.
#![allow(clippy::unwrap_used)]

#[path = "secure/server.rs"]
mod server;
#[allow(dead_code, reason = "cli.rs has more uses for it")]
#[path = "cli/world.rs"]
mod world;

use std::time::Duration;

use ringleader_client::transport::hub::{HubUrl, Link, Purpose};
use server::{Answer, Authority, Server, file, of_years};
use tokio::time::timeout;
use world::{Hub, PATIENCE, Run};

const TOKEN: &str = "a-token.of_24~characters";

/// What is said when there is no link.
async fn refusal(hub: &HubUrl) -> String {
    match timeout(PATIENCE, Link::connect(hub, Purpose::Join)).await.unwrap() {
        Ok(_) => panic!("{hub} was let through"),
        Err(error) => error.to_string(),
    }
}

async fn assert_refusal(hub: &HubUrl, expected: &[&str]) {
    let error = refusal(hub).await;
    assert!(expected.iter().all(|part| error.contains(part)), "{hub}: {error}, and not {expected:?}");
}

mod certificates {
    use super::*;

    #[tokio::test]
    async fn a_hub_that_proves_its_name_or_address_is_let_through() {
        let lab = Authority::new("lab");
        let hub =
            Server::with_tls(lab.certify(&["localhost", "127.0.0.1"], of_years(2020, 2100)), Answer::Welcome).await;
        for host in ["localhost", "127.0.0.1"] {
            let link = Link::connect(&hub.at("wss", host).with_ca(lab.file()), Purpose::Join).await;
            assert!(link.is_ok(), "{host}: {:?}", link.err());
        }
    }

    #[tokio::test]
    async fn what_proves_nothing_is_refused_and_the_reason_said() {
        let (lab, other) = (Authority::new("lab"), Authority::new("other"));
        let good = of_years(2020, 2100);
        let table = [
            (
                "of another authority",
                other.certify(&["localhost"], good),
                "localhost",
                "nobody that is trusted here",
                "--ca FILE",
            ),
            (
                "of one of the same name",
                Authority::new("lab").certify(&["localhost"], good),
                "localhost",
                "nobody that is trusted here",
                "--ca FILE",
            ),
            ("of another name", lab.certify(&["hub.example"], good), "localhost", "hub.example", "not for localhost"),
            ("of a name only", lab.certify(&["localhost"], good), "127.0.0.1", "localhost", "not for 127.0.0.1"),
            ("of another address", lab.certify(&["127.0.0.2"], good), "127.0.0.1", "127.0.0.2", "not for 127.0.0.1"),
            ("expired", lab.certify(&["localhost"], of_years(2020, 2021)), "localhost", "expired 2021-01-01", "clock"),
            (
                "not yet valid",
                lab.certify(&["localhost"], of_years(2099, 2100)),
                "localhost",
                "before 2099-01-01",
                "clock",
            ),
            ("an authority's own", lab.own(), "localhost", "CA:TRUE", "CA:FALSE"),
        ];
        for (what, identity, host, first, second) in table {
            let mut hub = Server::with_tls(identity, Answer::Welcome).await;
            // A token must not get to whoever only claims to be the hub.
            let url = hub.at("wss", host).with_ca(lab.file()).with_token_file(file("token", TOKEN));
            let error = refusal(&url).await;
            assert!(error.contains("not to be trusted"), "{what}: {error}");
            assert!(error.contains(first) && error.contains(second), "{what}: {error}");
            assert_eq!(hub.asked_so_far(), 0, "{what}");
        }
    }

    #[tokio::test]
    async fn only_the_authorities_given_are_trusted_and_all_of_them() {
        let (lab, other) = (Authority::new("lab"), Authority::new("other"));
        let hub = Server::with_tls(lab.certify(&["localhost"], of_years(2020, 2100)), Answer::Welcome).await;
        let both = file("both.pem", &(other.pem() + &lab.pem()));
        assert!(Link::connect(&hub.at("wss", "localhost").with_ca(both), Purpose::Watch).await.is_ok());
        assert_refusal(&hub.at("wss", "localhost").with_ca(other.file()), &["nobody that is trusted here"]).await;
        assert_refusal(&hub.at("wss", "localhost"), &["nobody that is trusted here"]).await;
    }

    #[tokio::test]
    async fn with_ca_the_systems_list_does_not_count() {
        let (lab, system) = (Authority::new("lab"), Authority::new("system"));
        let hub = Server::with_tls(system.certify(&["localhost"], of_years(2020, 2100)), Answer::Welcome).await;
        let (url, ca, list) = (hub.at("wss", "localhost").to_string(), lab.file(), system.file());
        let variables = [("RINGLEADER_CA", ca.to_str().unwrap()), ("SSL_CERT_FILE", list.to_str().unwrap())];
        Run::start_with(&["join", "--hub", &url], &variables).err("nobody that is trusted here").await;
    }

    /// The shortest way for a lab: one certificate that is the authority, too.
    #[tokio::test]
    async fn a_certificate_that_vouches_for_itself_will_do() {
        let identity = server::self_signed(&["localhost"]);
        let pem = file("self.pem", &identity.pem);
        let hub = Server::with_tls(identity, Answer::Welcome).await;
        assert!(Link::connect(&hub.at("wss", "localhost").with_ca(pem), Purpose::Join).await.is_ok());
    }

    #[tokio::test]
    async fn without_ca_the_systems_list_counts() {
        let lab = Authority::new("lab");
        let hub = Server::with_tls(lab.certify(&["localhost"], of_years(2020, 2100)), Answer::Welcome).await;
        let url = hub.at("wss", "localhost").to_string();
        let with_list = |list: &str| {
            Run::start_with(&["watch", "--hub", &url], &[("SSL_CERT_FILE", list), ("SSL_CERT_DIR", "/nowhere")])
        };
        // As in an image made from scratch.
        with_list("/dev/null")
            .err("knows no authority that could vouch for a hub: give the certificate of one with --ca FILE")
            .await;
        with_list(lab.file().to_str().unwrap()).err("the hub closed the connection").await;
    }

    #[tokio::test]
    async fn a_file_without_certificates_is_named() {
        let table = [
            ("empty.pem", ""),
            ("words.pem", "no PEM"),
            ("key.pem", server::KEY_PEM),
            ("broken.pem", server::BROKEN_PEM),
        ];
        for (name, text) in table {
            let file = file(name, text);
            let url: HubUrl = "wss://127.0.0.1:9".parse().unwrap();
            assert_refusal(&url.with_ca(&file), &["expected certificates in PEM", file.to_str().unwrap()]).await;
        }
        let url: HubUrl = "wss://127.0.0.1:9".parse().unwrap();
        assert_refusal(&url.with_ca("/nowhere.pem"), &["No such file", "--ca /nowhere.pem"]).await;
    }
}

mod tokens {
    use super::*;

    #[tokio::test]
    async fn a_token_is_sent_in_the_header_and_nowhere_else() {
        let mut hub = Server::plain(Answer::Welcome).await;
        for purpose in [Purpose::Join, Purpose::Watch] {
            let url = hub.at("ws", "127.0.0.1");
            Link::connect(&url, purpose).await.unwrap();
            assert_eq!(hub.asked().await.authorization, None);
            let url = url.with_token_file(file("token", &format!("\n {TOKEN} \r\n")));
            Link::connect(&url, purpose).await.unwrap();
            let asked = hub.asked().await;
            assert_eq!(asked.authorization, Some(format!("Bearer {TOKEN}")));
            assert!(!asked.target.contains("token"), "{}", asked.target);
        }
    }

    #[tokio::test]
    async fn a_file_that_holds_no_token_is_named_and_its_content_kept() {
        let url: HubUrl = "ws://127.0.0.1:9".parse().unwrap();
        let long = "secret".repeat(1000);
        let table = [
            ("", "expected one token"),
            ("a secret", "expected one token"),
            ("secret\u{1}", "expected one token"),
            ("sécret", "expected one token"),
            (&long, "at most 4 KiB"),
        ];
        for (text, expected) in table {
            let file = file("token", text);
            let error = refusal(&url.clone().with_token_file(&file)).await;
            assert!(error.contains(expected) && error.contains(file.to_str().unwrap()), "{error}");
            assert!(!error.contains("cret"), "{error}");
        }
        assert_refusal(&url.with_token_file("/nowhere"), &["No such file", "--token-file /nowhere"]).await;
    }

    #[tokio::test]
    async fn who_is_turned_away_is_told_which_flag_helps() {
        let hub = Server::plain(Answer::Unauthorized).await;
        let url = hub.at("ws", "127.0.0.1");
        assert_refusal(
            &url,
            &["it lets in only who shows a token", "--token-file FILE (RINGLEADER_TOKEN_FILE)", "401"],
        )
        .await;
        let file = file("token", TOKEN);
        assert_refusal(&url.with_token_file(&file), &["will not do", file.to_str().unwrap(), "401"]).await;
    }

    #[tokio::test]
    async fn a_token_that_is_replaced_counts_from_the_next_attempt() {
        let mut hub = Server::plain(Answer::Unauthorized).await;
        let (token, url) = (file("token", TOKEN), hub.at("ws", "127.0.0.1").to_string());
        let _watcher = Run::start(&["watch", "--hub", &url, "--token-file", token.to_str().unwrap()]);
        assert_eq!(hub.asked().await.authorization, Some(format!("Bearer {TOKEN}")));
        std::fs::write(&token, "another-token-of-26-letters").unwrap();
        let replaced =
            async { while hub.asked().await.authorization.unwrap() != "Bearer another-token-of-26-letters" {} };
        timeout(PATIENCE, replaced).await.unwrap();
    }

    /// With everything logged that can be, and a server that repeats what it was sent.
    #[tokio::test]
    async fn no_log_line_has_the_token_in_it() {
        for (answer, expected) in [(Answer::Welcome, "TRACE"), (Answer::Unauthorized, "you said: Bearer")] {
            for command in ["join", "watch"] {
                for format in ["text", "json"] {
                    let mut hub = Server::plain(answer).await;
                    let (token, url) = (file("token", TOKEN), hub.at("ws", "127.0.0.1").to_string());
                    let variables = [("RINGLEADER_TOKEN_FILE", token.to_str().unwrap()), ("RINGLEADER_LOG", "trace")];
                    let mut run = Run::start_with(&[command, "--hub", &url, "--log-format", format], &variables);
                    // Twice: so what there is to say about the first time has been said.
                    for _ in 0..2 {
                        assert_eq!(hub.asked().await.authorization, Some(format!("Bearer {TOKEN}")));
                    }
                    run.signal(nix::sys::signal::Signal::SIGTERM);
                    run.end().await;
                    let (out, err) = run.rest().await;
                    let said = [out, err].concat().join("\n");
                    assert!(said.contains(expected), "{said}");
                    assert!(!said.contains(TOKEN), "{said}");
                    // It is on this machine.
                    assert!(!said.contains("in the clear"), "{said}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_url_with_a_secret_in_it_is_refused_and_not_repeated() {
        for url in ["ws://127.0.0.1:9/?token=secret", "ws://me:secret@127.0.0.1:9"] {
            for variables in [vec![], vec![("RINGLEADER_HUB", url)]] {
                let arguments: &[&str] = if variables.is_empty() { &["join", "--hub", url] } else { &["join"] };
                let mut run = Run::start_with(arguments, &variables);
                assert_eq!(run.end().await.code(), Some(2));
                let (_, err) = run.rest().await;
                let err = err.concat();
                assert!(err.contains("--hub") && err.contains("do") && err.contains("belong in it"), "{err}");
                assert!(!err.contains("secret"), "{err}");
            }
        }
    }
}

mod mix_ups {
    use super::*;

    #[tokio::test]
    async fn tls_at_a_plain_port_is_called_so() {
        let hub = Hub::start().await;
        let url: HubUrl = format!("wss://{}", hub.address).parse().unwrap();
        assert_refusal(&url.with_ca(Authority::new("lab").file()), &["a hub without TLS is at ws://"]).await;
    }

    #[tokio::test]
    async fn plain_at_a_tls_port_is_called_so() {
        let lab = Authority::new("lab");
        let hub = Server::with_tls(lab.certify(&["127.0.0.1"], of_years(2020, 2100)), Answer::Welcome).await;
        assert_refusal(&hub.at("ws", "127.0.0.1"), &["a hub with TLS is at wss://"]).await;
    }

    #[tokio::test]
    async fn who_hangs_up_at_once_may_be_of_the_other_kind() {
        let hub = Server::plain(Answer::HangUp).await;
        assert_refusal(&hub.at("ws", "127.0.0.1"), &["a hub with TLS is at wss://"]).await;
        let ca = Authority::new("lab").file();
        assert_refusal(&hub.at("wss", "127.0.0.1").with_ca(ca), &["a hub without TLS is at ws://"]).await;
    }
}

/// Members of one ring, elected and led, each frame of it through TLS.
#[tokio::test]
async fn a_ring_elects_through_tls() {
    let lab = Authority::new("lab");
    let hub = Hub::start().await;
    let door = Server::in_front_of(hub.address, lab.certify(&["localhost"], of_years(2020, 2100))).await;
    let (url, ca) = (door.at("wss", "localhost").to_string(), lab.file());
    let member = |name: &str| {
        let place = ["join", "--json", "--hub", &url, "--ca", ca.to_str().unwrap()];
        Run::start(&[&place[..], &["--name", name, "--rank", "7", "--check-interval", "100ms"]].concat())
    };
    let mut red = member("red");
    red.role("leader").await;
    let mut blue = member("blue");
    assert_eq!(blue.role("follower").await["term"], 1);
    let mut watcher = Run::start(&["watch", "--hub", &url, "--ca", ca.to_str().unwrap()]);
    watcher.out("answerLeader").await;
    let submit = ["job", "submit", "--factorial", "10", "--wait", "--hub", &url, "--ca", ca.to_str().unwrap()];
    assert_eq!(Run::start(&submit).out("!=").await, "10!=3628800");
    red.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(timeout(Duration::from_secs(10), blue.role("leader")).await.unwrap()["term"], 2);
}
