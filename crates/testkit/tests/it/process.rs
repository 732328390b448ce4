use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use plimsoll_testkit::process::{Guarded, ProcessError};
use plimsoll_testkit::wait::{until, until_some};

use crate::BOUND;

/// Whether a process runs; a zombie does not.
pub(crate) fn running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with(['Z', 'X']))
}

fn shell(script: &str, dir: &Path) -> Guarded {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script);
    Guarded::spawn(command, &dir.join("log")).unwrap()
}

#[tokio::test]
async fn drop_kills_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let child = shell("sleep 600 & echo $!; wait", dir.path());
    let log = child.log().to_owned();
    let grandchild = until_some("the grandchild's id", BOUND, || async {
        std::fs::read_to_string(&log).ok()?.trim().parse::<u32>().ok()
    })
    .await
    .unwrap();
    let leader = child.pid();
    assert!(running(leader) && running(grandchild));
    drop(child);
    until("both to be gone", BOUND, || async { !running(leader) && !running(grandchild) }).await.unwrap();
}

#[tokio::test]
async fn stop_asks_first_and_kills_the_stubborn() {
    let dir = tempfile::tempdir().unwrap();
    let mut polite = shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done", dir.path());
    let log = dir.path().join("log");
    let up = || async { std::fs::read_to_string(&log).is_ok_and(|text| text.contains("up")) };
    until("the trap", BOUND, up).await.unwrap();
    assert_eq!(polite.stop(BOUND).await.unwrap().code(), Some(3));
    assert!(polite.log_tail().contains("bye"));

    let mut stubborn = shell("trap '' TERM; echo up; while :; do sleep 0.05; done", dir.path());
    until("the trap", BOUND, up).await.unwrap();
    let pid = stubborn.pid();
    let error = stubborn.stop(Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, ProcessError::Stubborn { .. }), "{error}");
    assert!(!running(pid));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Guarded::spawn(Command::new("/nonexistent/server"), &dir.path().join("log")).unwrap_err();
    assert_eq!(error.to_string(), "start /nonexistent/server");
}

/// Run by the test below in a process of its own, which is then killed.
#[test]
#[ignore = "a part of an_owner_that_is_killed_takes_its_child_along"]
fn owner() {
    let Some(dir) = std::env::var_os("TESTKIT_OWNER_DIR") else { return };
    let dir = Path::new(&dir);
    let child = shell("sleep 600", dir);
    std::fs::write(dir.join("pid.tmp"), child.pid().to_string()).unwrap();
    std::fs::rename(dir.join("pid.tmp"), dir.join("pid")).unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

#[tokio::test]
async fn an_owner_that_is_killed_takes_its_child_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "process::owner"])
        .env("TESTKIT_OWNER_DIR", dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let file = dir.path().join("pid");
    let pid: u32 = until_some("the owner's child", BOUND, || async {
        std::fs::read_to_string(&file).ok()?.parse().ok()
    })
    .await
    .unwrap();
    assert!(running(pid));
    owner.kill().unwrap();
    owner.wait().unwrap();
    until("the child to be gone", BOUND, || async { !running(pid) }).await.unwrap();
}
