//! npm (versions 1 to 3), Yarn (classic and berry), pnpm, bun.

use plimsoll_model::Ecosystem;
use serde_json::Value;

use super::{Packages, members, text};

/// `package-lock.json`: `packages` by path (versions 2 and 3), else `dependencies`, nested (version 1).
pub(super) fn npm(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: Value = serde_json::from_str(lock).map_err(|why| why.to_string())?;
    if lock.get("packages").is_some() {
        for (path, package) in members(&lock, "packages") {
            let Some(at) = path.rfind("node_modules/") else { continue }; // the project itself and its workspaces
            let name = match text(package, "name") {
                "" => path.get(at + "node_modules/".len()..).unwrap_or(""),
                alias_of => alias_of,
            };
            let depends = members(package, "dependencies").map(|(name, _)| name.clone()).collect();
            packages.add(Ecosystem::Npm, name, text(package, "version"), depends);
        }
        return Ok(());
    }
    let mut open: Vec<&Value> = vec![&lock];
    while let Some(holder) = open.pop() {
        for (name, package) in members(holder, "dependencies") {
            let version = text(package, "version");
            // `npm:real@1.0.0` is an alias; a path or an address is no version.
            let (name, version) = version
                .strip_prefix("npm:")
                .and_then(|real| real.rsplit_once('@'))
                .unwrap_or((name, version));
            if version.starts_with(|c: char| c.is_ascii_digit()) {
                let depends = members(package, "requires").map(|(name, _)| name.clone()).collect();
                packages.add(Ecosystem::Npm, name, version, depends);
            }
            open.push(package);
        }
    }
    Ok(())
}

/// `yarn.lock`: a paragraph for each package; in berry's, `resolution` has its name.
pub(super) fn yarn(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let unquoted = |text: &str| text.trim().trim_matches('"').to_owned();
    let mut paragraph: (String, String, Vec<String>) = Default::default();
    let mut in_dependencies = false;
    for line in lock.lines().chain([""]) {
        if line.trim().is_empty() || line.starts_with('#') {
            let (name, version, depends) = std::mem::take(&mut paragraph);
            if !version.contains("use.local") {
                packages.add(Ecosystem::Npm, &name, &version, depends);
            }
            in_dependencies = false;
            continue;
        }
        if !line.starts_with(' ') {
            let first = line.trim_end_matches(':').split(", ").next().unwrap_or("");
            let name = if first == "__metadata" { String::new() } else { descriptor(&unquoted(first)) };
            paragraph = (name, String::new(), Vec::new());
            continue;
        }
        let deeper = line.starts_with("    ");
        let (field, value) = split_field(line.trim());
        if deeper {
            if in_dependencies {
                paragraph.2.push(field);
            }
            continue;
        }
        in_dependencies = field == "dependencies";
        match field.as_str() {
            "version" => paragraph.1 = unquoted(&value),
            "resolution" if value.contains("@workspace:") => paragraph = Default::default(),
            "resolution" => paragraph.0 = descriptor(&unquoted(&value)),
            _ => {}
        }
    }
    Ok(())
}

/// `name value` or `name: value`, the name perhaps in quotes.
fn split_field(line: &str) -> (String, String) {
    let (name, value) = match line.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        Some(parts) => parts,
        None => line.split_at(line.find([' ', ':']).unwrap_or(line.len())),
    };
    (name.to_owned(), value.trim_start_matches(':').trim().to_owned())
}

/// The name of `name@range`, or of what an alias `name@npm:real@range` stands for.
fn descriptor(text: &str) -> String {
    let at = |text: &str| text.get(1..).and_then(|rest| rest.find('@')).map(|at| at + 1);
    let Some(end) = at(text) else { return text.to_owned() };
    if let Some(real) = text.get(end + 1..).and_then(|range| range.strip_prefix("npm:"))
        && let Some(end) = at(real)
    {
        return real.get(..end).unwrap_or("").to_owned();
    }
    text.get(..end).unwrap_or("").to_owned()
}

/// `pnpm-lock.yaml`: the keys of `packages`, `/name/1.0.0_peers` to version 5, `/name@1.0.0(peers)` in 6, without the
/// slash in 9.
pub(super) fn pnpm(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let mut in_packages = false;
    for line in lock.lines() {
        if !line.starts_with(' ') && !line.trim().is_empty() {
            in_packages = line.trim_end() == "packages:";
            continue;
        }
        let Some(key) = line.strip_prefix("  ").filter(|rest| in_packages && !rest.starts_with([' ', '#']))
        else {
            continue;
        };
        let key = key.trim_end();
        let key = key.strip_suffix(": {}").or_else(|| key.strip_suffix(':')).unwrap_or(key);
        let key = key.trim_matches(['\'', '"']).trim_start_matches('/');
        let key = key.split('(').next().unwrap_or(key);
        // The first separator after the scope.
        let scope = if key.starts_with('@') { key.find('/').map_or(0, |at| at + 1) } else { 0 };
        let Some(at) = key.get(scope..).and_then(|rest| rest.find(['@', '/'])) else { continue };
        let at = scope + at;
        let (name, version) = key.split_at(at);
        let version = version.get(1..).unwrap_or("").split('_').next().unwrap_or("");
        if version.starts_with(|c: char| c.is_ascii_digit()) {
            packages.add(Ecosystem::Npm, name, version, Vec::new());
        }
    }
    Ok(())
}

/// `deno.lock`: `npm`, at the top (4) or in `packages` (3), by `name@version_peers`.
pub(super) fn deno(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: Value = serde_json::from_str(lock).map_err(|why| why.to_string())?;
    let bare = |text: &str| {
        let at = text.get(1..).and_then(|rest| rest.find('@'))? + 1;
        let version = text.get(at + 1..)?.split('_').next()?;
        Some((text.get(..at)?.to_owned(), version.to_owned()))
    };
    for holder in std::iter::once(&lock).chain(lock.get("packages")) {
        for (named, package) in members(holder, "npm") {
            let Some((name, version)) = bare(named) else { continue };
            let depends: Vec<String> = match package.get("dependencies") {
                Some(Value::Array(list)) => {
                    // Since version 4 a name alone where one version of it is there.
                    list.iter()
                        .filter_map(Value::as_str)
                        .map(|one| bare(one).map_or(one.to_owned(), |(name, _)| name))
                        .collect()
                }
                _ => members(package, "dependencies").map(|(name, _)| name.clone()).collect(),
            };
            packages.add(Ecosystem::Npm, &name, &version, depends);
        }
    }
    Ok(())
}

/// `bun.lock`: JSON with comments and trailing commas; `packages` has lists that begin with `name@version`.
pub(super) fn bun(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: Value = serde_json::from_str(&plain_json(lock)).map_err(|why| why.to_string())?;
    for (_, package) in members(&lock, "packages") {
        let Some(list) = package.as_array() else { continue };
        let named = list.first().and_then(Value::as_str).unwrap_or("");
        let Some((name, version)) = named.rsplit_once('@').filter(|(name, _)| !name.is_empty()) else {
            continue;
        };
        if version.starts_with(|c: char| c.is_ascii_digit()) {
            let about = list.iter().find(|value| value.is_object()).unwrap_or(&Value::Null);
            let depends = members(about, "dependencies").map(|(name, _)| name.clone()).collect();
            packages.add(Ecosystem::Npm, name, version, depends);
        }
    }
    Ok(())
}

/// JSON without comments and commas before a closing bracket.
fn plain_json(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut comma = None;
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => {
                while chars.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            '/' if chars.peek() == Some(&'*') => {
                chars.next();
                let mut before = ' ';
                for c in chars.by_ref() {
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
                continue;
            }
            ']' | '}' => {
                if let Some(at) = comma.take() {
                    plain.truncate(at);
                }
            }
            ',' => comma = Some(plain.len()),
            c if c.is_whitespace() => continue,
            _ => comma = None,
        }
        plain.push(c);
        if c == '"' {
            while let Some(c) = chars.next() {
                plain.push(c);
                match c {
                    '\\' => plain.extend(chars.next()),
                    '"' => break,
                    _ => {}
                }
            }
        }
    }
    plain
}
