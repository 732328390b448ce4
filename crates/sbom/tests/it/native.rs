//! The same roots, asked of the tools that own them: `dpkg-query`, `rpm`, `pip`, `npm`. A tool that is not here, or has
//! nothing to say, is passed over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plimsoll_cpu::Cancel;
use plimsoll_image::layer::Limits;
use plimsoll_image::select::Table;
use plimsoll_image::source::directory;
use plimsoll_model::{Component, Ecosystem};
use plimsoll_sbom::{ImageMeta, build};
use tempfile::TempDir;

fn output(program: &str, arguments: &[&str], directory: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok()?;
    String::from_utf8(output.stdout).ok()
}

fn components(root: &Path, ecosystem: Ecosystem) -> Vec<Component> {
    let extract = directory::extract(root, &Limits::default(), Table::all(), &Cancel::new()).unwrap();
    assert_eq!(extract.partial, [], "{root:?}");
    let sbom = build(ImageMeta::default(), &[extract]);
    sbom.components.into_iter().filter(|component| component.key.package.ecosystem == ecosystem).collect()
}

/// A root with these files.
fn root(files: &[(&Path, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (from, to) in files {
        let to = root.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    }
    root
}

#[test]
fn dpkg_query() {
    let status = Path::new("/var/lib/dpkg/status");
    let format = "-f=${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n";
    let Some(listed) = output("dpkg-query", &["-W", format], Path::new("/")).filter(|_| status.exists())
    else {
        return;
    };
    let theirs: BTreeSet<String> =
        listed.lines().filter_map(|line| line.strip_prefix("installed\t")).map(str::to_owned).collect();
    let root = root(&[(status, "var/lib/dpkg/status")]);
    let line = |component: &Component| {
        let key = &component.key;
        let source = key.source.as_ref().unwrap();
        format!("{}\t{}\t{}\t{}\t{}", key.package.name, key.version, key.arch, source.name, source.version)
    };
    let ours: BTreeSet<String> = components(root.path(), Ecosystem::Deb).iter().map(line).collect();
    assert_eq!(ours, theirs);
}

/// Debian's package golang-github-knqyf263-go-rpmdb-dev has databases of real installations.
const DATABASES: &str = "/usr/share/gocode/src/github.com/knqyf263/go-rpmdb/pkg/testdata";

/// One database in each form, packed.
const FORMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../image/tests/data/rpm");

/// A tool of rpm: of the folder that `PLIMSOLL_RPM` names, where distributions' own cannot read all forms (Debian's has
/// no NDB).
fn rpm_tool(name: &str) -> String {
    match std::env::var("PLIMSOLL_RPM") {
        Ok(folder) => format!("{folder}/{name}"),
        Err(_) => name.to_owned(),
    }
}

/// The backend that a database of rpm is of, by its file.
fn backend(database: &Path) -> &'static str {
    match database.file_name().unwrap().to_str().unwrap() {
        "Packages" => "_db_backend bdb_ro",
        "Packages.db" => "_db_backend ndb",
        _ => "_db_backend sqlite",
    }
}

/// The same packages in another form, as `rpm --rebuilddb` writes it; none where this rpm has no such form.
fn rebuilt(database: &Path, file: &str) -> Option<TempDir> {
    let folder = root(&[(database, database.file_name()?.to_str()?)]);
    let made = folder.path().join(file);
    let arguments = ["--define", backend(&made), "--dbpath", folder.path().to_str()?, "--rebuilddb"];
    output(&rpm_tool("rpmdb"), &arguments, folder.path())?;
    made.is_file().then_some(folder)
}

/// What `rpm -qa` says of a database, and what we say of it, a line for each package. Theirs is empty where rpm is not
/// here or cannot read the form.
fn rpm_lists(database: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let format = "%{NAME}\t%|EPOCH?{%{EPOCH}}:{0}|\t%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\t%{VENDOR}\t%{MODULARITYLABEL}\n";
    let name = database.file_name().unwrap().to_str().unwrap();
    let root = root(&[(database, &format!("var/lib/rpm/{name}"))]);
    let path = root.path().join("var/lib/rpm");
    let arguments =
        ["--define", backend(database), "--dbpath", path.to_str().unwrap(), "-qa", "--qf", format];
    // rpm leaves indices beside a database; ours is read first.
    let ours = components(root.path(), Ecosystem::Rpm);
    let listed = output(&rpm_tool("rpm"), &arguments, root.path()).unwrap_or_default();
    let theirs = listed.lines().map(|line| line.replace("(none)", "")).collect();
    let line = |component: &Component| {
        let (epoch, version) = component.key.version.split_once(':').unwrap_or(("0", &component.key.version));
        let purl: plimsoll_sbom::purl::Purl = component.purl.parse().unwrap();
        let source = component.key.source.as_ref().unwrap();
        let stated = source.version.split_once(':').map_or(source.version.as_str(), |(_, version)| version);
        // A package without a source package is its own: keys of repositories.
        let source = if component.key.package.name == "gpg-pubkey" {
            String::new()
        } else {
            format!("{}-{stated}.src.rpm", source.name)
        };
        let name = &component.key.package.name;
        let (arch, vendor, module) = (&component.key.arch, &component.supplier, purl.qualifier("rpmmod"));
        format!("{name}\t{epoch}\t{version}\t{arch}\t{source}\t{vendor}\t{module}")
    };
    (theirs, ours.iter().map(line).collect())
}

#[test]
fn rpm_query_all() {
    let unpacked = tempfile::tempdir().unwrap();
    let mut databases: Vec<PathBuf> = Vec::new();
    for form in std::fs::read_dir(FORMS).unwrap().flatten() {
        let name = form.file_name().into_string().unwrap();
        let (form_name, file) = name.strip_suffix(".zst").unwrap().split_once('-').unwrap();
        let path = unpacked.path().join(form_name).join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, zstd::decode_all(&std::fs::read(form.path()).unwrap()[..]).unwrap()).unwrap();
        databases.push(path);
    }
    let real = std::fs::read_dir(DATABASES).into_iter().flatten().flatten();
    databases.extend(real.map(|entry| entry.path().join("Packages")).filter(|path| path.is_file()));
    databases.sort();
    let mut compared = std::collections::BTreeMap::new();
    for database in databases {
        let (theirs, ours) = rpm_lists(&database);
        if theirs.is_empty() {
            continue;
        }
        assert_eq!(ours, theirs, "{database:?}");
        *compared.entry(backend(&database)).or_insert(0) += ours.len();
        // Rebuilding takes seconds: of the real ones the oldest and the newest, but where a rpm is named all.
        let sample = ["centos6", "centos7"].iter().all(|not| !database.to_string_lossy().contains(not));
        let forms: &[&str] = if sample || std::env::var_os("PLIMSOLL_RPM").is_some() {
            &["Packages.db", "rpmdb.sqlite"]
        } else {
            &[]
        };
        for file in forms {
            if let Some(folder) = rebuilt(&database, file) {
                let made = folder.path().join(file);
                let (again, also_ours) = rpm_lists(&made);
                assert_eq!(again, theirs, "{database:?} as {file}");
                assert_eq!(also_ours, theirs, "{database:?} as {file}");
                *compared.entry(backend(&made)).or_insert(0) += ours.len();
            }
        }
    }
    eprintln!("packages that rpm lists too: {compared:?}");
}

#[test]
fn pip_list() {
    let here = Path::new("/");
    let where_is = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
    let Some(site) = output("python3", &["-c", where_is], here) else { return };
    let site = site.trim();
    let arguments = ["-m", "pip", "list", "--disable-pip-version-check", "--format=json", "--path", site];
    let Some(listed) = output("python3", &arguments, here).filter(|listed| listed.starts_with('[')) else {
        return;
    };
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    let normal = |name: &str| name.to_lowercase().replace(['_', '.'], "-");
    let theirs: BTreeSet<(String, String)> = listed
        .iter()
        .map(|one| (normal(one["name"].as_str().unwrap()), one["version"].as_str().unwrap().to_owned()))
        .collect();
    // Vendored copies lie deeper; what pip lists lies in the directory itself.
    let direct = |component: &&Component| {
        component.locations.iter().any(|location| location.path.split('/').count() <= 2)
    };
    let ours: BTreeSet<(String, String)> = components(Path::new(site), Ecosystem::Pypi)
        .iter()
        .filter(direct)
        .map(|component| (component.key.package.name.clone(), component.key.version.clone()))
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn npm_ls() {
    let root = tempfile::tempdir().unwrap();
    for (path, package) in [
        ("", r#"{"name":"app","version":"0.0.1","dependencies":{"a":"1","@s/c":"3","alias":"npm:real@1"}}"#),
        ("node_modules/a", r#"{"name":"a","version":"1.0.0","dependencies":{"b":"1"}}"#),
        ("node_modules/a/node_modules/b", r#"{"name":"b","version":"1.5.0"}"#),
        ("node_modules/b", r#"{"name":"b","version":"2.0.0-rc.1"}"#),
        ("node_modules/@s/c", r#"{"name":"@s/c","version":"3.0.0","dependencies":{"b":"2.0.0-rc.1"}}"#),
        (
            "node_modules/alias",
            r#"{"name":"real","version":"1.2.3","bundleDependencies":["d"],"dependencies":{"d":"4"}}"#,
        ),
        ("node_modules/alias/node_modules/d", r#"{"name":"d","version":"4.0.0"}"#),
    ] {
        let directory = root.path().join(path);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("package.json"), package).unwrap();
    }
    let Some(listed) = output("npm", &["ls", "--all", "--json", "--long", "--offline"], root.path()) else {
        return;
    };
    let Ok(tree) = serde_json::from_str::<serde_json::Value>(&listed) else { return };
    let mut theirs: BTreeSet<(String, String)> = BTreeSet::new();
    let mut open = vec![&tree];
    while let Some(node) = open.pop() {
        if let (Some(name), Some(version)) = (node["name"].as_str(), node["version"].as_str()) {
            theirs.insert((name.to_owned(), version.to_owned()));
        }
        open.extend(node["dependencies"].as_object().into_iter().flat_map(|map| map.values()));
    }
    let ours: BTreeSet<(String, String)> = components(root.path(), Ecosystem::Npm)
        .into_iter()
        .map(|component| (component.key.package.name, component.key.version))
        .collect();
    assert_eq!(ours, theirs);
}
