//! Which keys are the user's: what a distribution's package brought is not.

use plimsoll_model::Extract;
use plimsoll_model::extract::EntryKind;
use plimsoll_sbom::{ImageMeta, build};

use crate::layers::layer;

const NOTE: &[u8] = br#"[{"line":0,"rule":"private-key","excerpt":"-----BEGIN RSA PRIVATE KEY----- ****"}]"#;
const STATUS: &str =
    "Package: libgnutls30\nStatus: install ok installed\nVersion: 3.7.9-2\nArchitecture: amd64\n\n";
const LIBRARY: &str = "usr/lib/x86_64-linux-gnu/libgnutls.so.30";

/// A layer of files, each with what a selector kept of it.
fn of(n: u8, files: &[(&str, &str, &[u8])]) -> Extract {
    let entries = files.iter().map(|(path, _, _)| ((*path).to_owned(), EntryKind::File)).collect();
    layer(n, entries, files.to_vec())
}

fn found(layers: &[Extract]) -> Vec<(String, bool)> {
    let sbom = build(ImageMeta::default(), layers);
    sbom.secrets.into_iter().map(|secret| (secret.path, secret.hidden)).collect()
}

/// The layer in which dpkg, apk or pacman installs the library and a key below `etc`.
fn installed(kind: &str, listed: &[&str]) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let lines = listed.join("\n");
    match kind {
        "dpkg" => vec![
            ("var/lib/dpkg/status", "dpkg", STATUS.into()),
            ("var/lib/dpkg/info/libgnutls30:amd64.list", "dpkg-files", lines.into()),
        ],
        "apk" => {
            let mut text = "P:gnutls\nV:3.8.8-r0\nA:x86_64\n".to_owned();
            for path in listed {
                let (folder, name) = path.rsplit_once('/').unwrap();
                text += &format!("F:{folder}\nR:{name}\n");
            }
            vec![("lib/apk/db/installed", "apk", text.into())]
        }
        _ => {
            let files: Vec<String> = listed.iter().map(|path| format!("{path:?}")).collect();
            let json = format!(
                r#"[{{"name":"gnutls","version":"3.8.3","release":"4.el9","arch":"x86_64","files":[{}]}}]"#,
                files.join(",")
            );
            vec![("var/lib/rpm/rpmdb.sqlite", "rpm", json.into())]
        }
    }
}

#[test]
fn keys_that_a_package_ships_are_not_reported() {
    for kind in ["dpkg", "apk", "rpm"] {
        let package = installed(kind, &[LIBRARY, "etc/gnutls/server.key"]);
        let mut files: Vec<(&str, &str, &[u8])> =
            package.iter().map(|(path, selector, bytes)| (*path, *selector, bytes.as_slice())).collect();
        files.push((LIBRARY, "secrets", NOTE));
        // Owned, but where people configure; not owned; and owned by nobody beside it.
        files.push(("etc/gnutls/server.key", "secrets", NOTE));
        files.push(("etc/ssl/private/ssl-cert-snakeoil.key", "secrets", NOTE));
        files.push(("usr/lib/x86_64-linux-gnu/libmine.so", "secrets", NOTE));
        let base = of(1, &files);
        let reported = [
            "etc/gnutls/server.key",
            "etc/ssl/private/ssl-cert-snakeoil.key",
            "usr/lib/x86_64-linux-gnu/libmine.so",
        ];
        let expected: Vec<(String, bool)> = reported.iter().map(|path| ((*path).to_owned(), false)).collect();
        assert_eq!(found(std::slice::from_ref(&base)), expected, "{kind}");

        // Somebody puts another file in its place: that one counts, the one below still does not.
        let changed = of(2, &[(LIBRARY, "secrets", NOTE)]);
        let mut all = expected.clone();
        all.push((LIBRARY.to_owned(), false));
        all.sort();
        assert_eq!(found(&[base.clone(), changed]), all, "{kind}");

        // An upgrade removes the file: what is hidden was shipped all the same.
        let gone = layer(3, vec![(LIBRARY.to_owned(), EntryKind::Whiteout)], vec![]);
        assert_eq!(found(&[base, gone]), expected, "{kind}");
    }
}

#[test]
fn paths_of_lists_lead_through_symlinks() {
    let below = layer(1, vec![("lib".to_owned(), EntryKind::Symlink("usr/lib".to_owned()))], vec![]);
    let list = "lib/x86_64-linux-gnu/libgnutls.so.30\n";
    let above = of(
        2,
        &[
            ("var/lib/dpkg/status", "dpkg", STATUS.as_bytes()),
            ("var/lib/dpkg/info/libgnutls30:amd64.list", "dpkg-files", list.as_bytes()),
            (LIBRARY, "secrets", NOTE),
        ],
    );
    assert_eq!(found(&[below, above.clone()]), []);
    assert_eq!(found(&[above]), [(LIBRARY.to_owned(), false)]);
}
