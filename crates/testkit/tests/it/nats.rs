use std::os::unix::fs::PermissionsExt as _;

use plimsoll_testkit::nats::{self, NatsCluster, NatsError, NatsOptions, NatsServer};
use plimsoll_testkit::wait::until;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::BOUND;
use crate::process::running;

/// Just enough of the NATS protocol to ask JetStream something.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(port: u16) -> Self {
        let mut client = Self(BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap()));
        assert!(client.line().await.starts_with("INFO "));
        let hello = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB _INBOX.t.* 1\r\nPING\r\n";
        client.0.get_mut().write_all(hello).await.unwrap();
        assert_eq!(client.line().await, "PONG\r\n");
        client
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::time::timeout(BOUND, self.0.read_line(&mut line)).await.unwrap().unwrap();
        line
    }

    async fn ask(&mut self, subject: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let message = format!("PUB {subject} _INBOX.t.1 {}\r\n{body}\r\n", body.len());
        self.0.get_mut().write_all(message.as_bytes()).await.unwrap();
        loop {
            let line = self.line().await;
            if let Some(rest) = line.strip_prefix("MSG ") {
                let length: usize = rest.split_whitespace().last().unwrap().parse().unwrap();
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).await.unwrap();
                return serde_json::from_slice(&bytes).unwrap();
            }
            assert!(!line.starts_with("-ERR"), "{line}");
            if line.starts_with("PING") {
                self.0.get_mut().write_all(b"PONG\r\n").await.unwrap();
            }
        }
    }

    async fn stored(&mut self) -> Value {
        self.ask("$JS.API.STREAM.INFO.TEST", &Value::Null).await["state"]["messages"].clone()
    }
}

fn stream(replicas: u32) -> Value {
    json!({"name": "TEST", "subjects": ["test.>"], "storage": "file", "num_replicas": replicas})
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let mut server = NatsServer::start().await.unwrap();
    let (url, pid) = (server.url(), server.pid().unwrap());
    let mut client = Client::connect(server.port()).await;
    assert_eq!(client.ask("$JS.API.STREAM.CREATE.TEST", &stream(1)).await["error"], Value::Null);
    assert_eq!(client.ask("test.a", &json!({"n": 1})).await["seq"], 1);

    server.kill().unwrap();
    assert!(!running(pid) && server.pid().is_none());
    assert!(TcpStream::connect(("127.0.0.1", server.port())).await.is_err());

    server.restart().await.unwrap();
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), Some(pid));
    let mut client = Client::connect(server.port()).await;
    assert_eq!(client.stored().await, 1);

    server.stop().await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(Client::connect(server.port()).await.stored().await, 1);
}

#[tokio::test]
async fn options_reach_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let options = NatsOptions {
        dir: Some(dir.path().join("a \"quoted\" directory")),
        sync_always: true,
        extra_config: "max_payload: 123456".to_owned(),
        ..NatsOptions::default()
    };
    let server = NatsServer::start_with(options).await.unwrap();
    let varz = server.monitor("/varz").await.unwrap();
    assert_eq!(varz["jetstream"]["config"]["sync_always"], true);
    assert_eq!(varz["max_payload"], 123_456);
    assert!(server.dir().join("jetstream").is_dir());

    let (pid, port) = (server.pid().unwrap(), server.port());
    drop(server);
    until("the server to be gone", BOUND, || async { !running(pid) }).await.unwrap();

    let options = NatsOptions { port: Some(port), ..NatsOptions::default() };
    assert_eq!(NatsServer::start_with(options).await.unwrap().port(), port);
}

#[tokio::test]
async fn a_fixed_port_that_is_taken_is_an_error_with_the_log() {
    let server = NatsServer::start().await.unwrap();
    let options = NatsOptions { port: Some(server.port()), ..NatsOptions::default() };
    let error = NatsServer::start_with(options).await.unwrap_err();
    assert!(
        matches!(&error, NatsError::Exited { log, .. } if log.contains("address already in use")),
        "{error}"
    );
}

#[tokio::test]
async fn a_configuration_that_is_refused_is_an_error_with_the_log() {
    let options = NatsOptions { extra_config: "no_such_setting: 1".to_owned(), ..NatsOptions::default() };
    let error = NatsServer::start_with(options).await.unwrap_err();
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn old_and_strange_servers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (number, (said, old)) in
        [("nats-server: v2.9.10", true), ("nats-server: v2.13.9", true), ("hello", false)].iter().enumerate()
    {
        let path = dir.path().join(format!("nats-server-{number}"));
        std::fs::write(&path, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        match nats::check(&path).unwrap_err() {
            NatsError::TooOld { .. } => assert!(old, "{said}"),
            NatsError::Version { said: heard, .. } => assert!(!old && heard == *said, "{said}"),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_cluster_survives_its_leader() {
    let mut cluster = NatsCluster::start(3).await.unwrap();
    assert_eq!(cluster.url().split(',').count(), 3);
    let leader = cluster.leader().await.unwrap();
    let mut client = Client::connect(cluster.servers()[leader].port()).await;
    let made = client.ask("$JS.API.STREAM.CREATE.TEST", &stream(3)).await;
    assert_eq!(made["config"]["num_replicas"], 3, "{made}");
    assert_eq!(client.ask("test.a", &json!({"n": 1})).await["seq"], 1);

    cluster.server_mut(leader).unwrap().kill().unwrap();
    cluster.ready().await.unwrap();
    let next = cluster.leader().await.unwrap();
    assert_ne!(next, leader);

    cluster.server_mut(leader).unwrap().restart().await.unwrap();
    cluster.ready().await.unwrap();
    let mut client = Client::connect(cluster.servers()[leader].port()).await;
    assert_eq!(client.stored().await, 1);
    cluster.stop().await.unwrap();
}
