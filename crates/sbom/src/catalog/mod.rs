//! Catalogers: from selected bytes to components, and to which paths a distribution package owns.
//!
//! A cataloger is two halves. The first, *select*, runs while a layer is read and says which files are kept, and
//! what of them; the second, here, *interprets* what was kept, after the layers are merged. [`CATALOGERS`] is the
//! one table: to add a cataloger is to add a file and a row. Whoever changes what a cataloger makes of the same
//! bytes raises its revision, so that stored Sboms can be told from what would be made today.
//!
//! What each selector keeps:
//!
//! | selector | bytes |
//! |---|---|
//! | `os-release` | the file |
//! | `dpkg` | the stanzas of `var/lib/dpkg/status`, `status.d/*` |
//! | `dpkg-files` | the paths that a package owns, one a line, of `info/NAME[:ARCH].list`, `status.d/NAME.md5sums` |
//! | `dpkg-copyright` | the licences of `usr/share/doc/NAME/copyright`, one a line |
//! | `apk` | `lib/apk/db/installed` |
//! | `rpm` | a JSON array of packages; `container-manifest-2` as it is |
//! | `npm` | a JSON object with the fields of interest of a `package.json` |
//! | `python` | the headers of `METADATA` and `PKG-INFO` |
//! | `gem` | the lines of a gemspec that identify, license and relate a gem |
//! | `bitnami` | the packages of an SPDX file with their external references |
//! | `composer`, `dotnet`, `conda` | `installed.json`, `*.deps.json`, `conda-meta/*.json` without what is of no interest |
//! | `pacman` | sections of `desc`; the paths of `files` |
//! | `opkg` | as `dpkg` |
//! | `portage` | paths of `CONTENTS`; `LICENSE` |
//! | `conan`, `erlang`, `homebrew`, `lua`, `opam`, `r`, `snap`, `wordpress` | the file, or its lines of interest |
//! | `perl`, `pear` | a JSON object |
//! | `elf-note`, `pe` | a JSON object: the note; texts of the version resource |
//! | `kernel` | `NAME=VALUE` lines |
//! | `binary` | product, tab, version |
//! | `rust-binary` | a JSON array of crates |
//! | `lockfile` | the file, known by its name; of XML a JSON object |
//! | `java` | a JSON object: manifest attributes, Maven coordinates, archives inside |
//! | `go-binary` | the Go version on the first line, then the module text of the build information |

mod apk;
mod binary;
mod copyright;
mod documents;
mod dotnet;
mod dpkg;
mod gem;
mod golang;
mod headers;
mod java;
mod lockfile;
mod metadata;
mod npm;
mod opkg;
pub(crate) mod os_release;
mod pacman;
mod python;
mod rpm;
mod rust;

use plimsoll_model::extract::{Anomaly, Selected};
use plimsoll_model::sbom::{Component, Confidence, Distribution, Location};
use plimsoll_model::{ComponentKey, Digest};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::identity;
use crate::merge::Merged;

/// A source of components.
#[derive(Debug, Clone, Copy)]
pub struct Cataloger {
    /// Names the cataloger in [`Component::found_by`].
    pub name: &'static str,
    /// Raised with every change of what the same bytes become.
    pub revision: u32,
    /// The selectors whose bytes it reads; none for one that needs only the paths of the image.
    pub selectors: &'static [&'static str],
    interpret: fn(&Context<'_>, &[File<'_>]) -> Interpreted,
}

/// Every cataloger.
pub const CATALOGERS: &[Cataloger] = &[
    Cataloger {
        name: "dpkg",
        revision: 2,
        selectors: &["dpkg", "dpkg-files", "dpkg-copyright"],
        interpret: dpkg::interpret,
    },
    Cataloger { name: "apk", revision: 2, selectors: &["apk"], interpret: apk::interpret },
    Cataloger { name: "rpm", revision: 2, selectors: &["rpm"], interpret: rpm::interpret },
    Cataloger { name: "pacman", revision: 2, selectors: &["pacman"], interpret: pacman::interpret },
    Cataloger { name: "opkg", revision: 1, selectors: &["opkg"], interpret: opkg::interpret },
    Cataloger { name: "portage", revision: 1, selectors: &["portage"], interpret: metadata::portage },
    Cataloger { name: "homebrew", revision: 1, selectors: &["homebrew"], interpret: metadata::homebrew },
    Cataloger { name: "nix", revision: 1, selectors: &[], interpret: metadata::nix },
    Cataloger { name: "snap", revision: 1, selectors: &["snap"], interpret: metadata::snap },
    Cataloger { name: "kernel", revision: 1, selectors: &["kernel"], interpret: metadata::kernel },
    Cataloger { name: "npm", revision: 2, selectors: &["npm"], interpret: npm::interpret },
    Cataloger { name: "python", revision: 2, selectors: &["python"], interpret: python::interpret },
    Cataloger { name: "java", revision: 3, selectors: &["java"], interpret: java::interpret },
    Cataloger { name: "gem", revision: 2, selectors: &["gem"], interpret: gem::interpret },
    Cataloger { name: "bitnami", revision: 2, selectors: &["bitnami"], interpret: documents::bitnami },
    Cataloger { name: "composer", revision: 2, selectors: &["composer"], interpret: documents::composer },
    Cataloger { name: "dotnet", revision: 2, selectors: &["dotnet", "pe"], interpret: dotnet::interpret },
    Cataloger { name: "conda", revision: 2, selectors: &["conda"], interpret: documents::conda },
    Cataloger { name: "r", revision: 1, selectors: &["r"], interpret: metadata::r },
    Cataloger { name: "lua", revision: 1, selectors: &["lua"], interpret: metadata::lua },
    Cataloger { name: "perl", revision: 1, selectors: &["perl"], interpret: metadata::perl },
    Cataloger { name: "pear", revision: 1, selectors: &["pear"], interpret: metadata::pear },
    Cataloger { name: "opam", revision: 1, selectors: &["opam"], interpret: metadata::opam },
    Cataloger { name: "erlang", revision: 1, selectors: &["erlang"], interpret: metadata::erlang },
    Cataloger { name: "conan", revision: 1, selectors: &["conan"], interpret: metadata::conan },
    Cataloger { name: "wordpress", revision: 1, selectors: &["wordpress"], interpret: metadata::wordpress },
    Cataloger { name: "elf-note", revision: 1, selectors: &["elf-note"], interpret: metadata::elf },
    Cataloger { name: "rust-binary", revision: 1, selectors: &["rust-binary"], interpret: rust::interpret },
    Cataloger { name: "lockfile", revision: 2, selectors: &["lockfile"], interpret: lockfile::interpret },
    Cataloger { name: "binary", revision: 2, selectors: &["binary"], interpret: binary::interpret },
    Cataloger { name: "go-binary", revision: 2, selectors: &["go-binary"], interpret: golang::interpret },
];

/// Selectors whose bytes say what they are, whatever the file's name.
const BY_CONTENT: &[&str] = &["binary", "elf-note", "go-binary", "rust-binary"];

/// What [`Component::found_by`] says of evidence that counts only where no distribution's package owns it: that
/// package is listed already.
const UNLESS_OWNED: &[&str] = &["binary", "elf-note", "kernel-module"];

/// Selectors of what distributions say of themselves and their packages: who owns those is of no interest.
const OF_DISTRIBUTIONS: &[&str] =
    &["dpkg", "dpkg-files", "dpkg-copyright", "apk", "rpm", "pacman", "opkg", "os-release"];

/// A visible file, as a cataloger sees it.
struct File<'a> {
    path: &'a str,
    /// Other names of the file under which it counts.
    links: Vec<&'a str>,
    selector: &'a str,
    bytes: &'a [u8],
    /// Digest of the layer that holds it, where layers are known.
    layer: Option<&'a Digest>,
}

impl File<'_> {
    /// The bytes as text; what is not UTF-8 is replaced.
    fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.bytes)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.path).chain(self.links.iter().copied())
    }

    fn locations(&self) -> Vec<Location> {
        self.names().map(|path| Location { path: path.to_owned(), layer: self.layer.cloned() }).collect()
    }
}

/// What catalogers may look at beside their files.
struct Context<'a> {
    distribution: Option<&'a Distribution>,
    merged: &'a Merged<'a>,
    /// Paths of the files that other catalogers read: whose of them a distribution package owns is of interest.
    wanted: FxHashSet<&'a str>,
    /// The last segments of `wanted`.
    wanted_names: FxHashSet<&'a str>,
    /// The digest to report for each layer.
    layers: &'a [Option<Digest>],
}

impl Context<'_> {
    /// The file of interest that a path of a package's file list leads to.
    fn wanted(&self, path: &str) -> Option<String> {
        let path = path.trim_start_matches("./").trim_matches('/');
        let name = path.rsplit('/').next().unwrap_or(path);
        if !self.wanted_names.contains(name) {
            return None;
        }
        if self.wanted.contains(path) {
            return Some(path.to_owned());
        }
        self.merged.resolve(path).filter(|real| self.wanted.contains(real.as_str()))
    }
}

/// What a cataloger found.
#[derive(Default)]
struct Interpreted {
    components: Vec<Component>,
    /// Paths (resolved) and the purl of the distribution package that owns them.
    owned: Vec<(String, String)>,
    /// What could not be read.
    anomalies: Vec<Anomaly>,
}

impl Interpreted {
    fn unreadable(&mut self, code: &str, file: &File<'_>, why: impl std::fmt::Display) {
        self.anomalies.push(Anomaly {
            code: code.to_owned(),
            path: file.path.to_owned(),
            detail: why.to_string().chars().take(200).collect(),
        });
    }
}

/// A component of which only the identity and the places are known.
fn component(key: ComponentKey, display_name: &str, file: &File<'_>, found_by: &str) -> Component {
    Component {
        purl: identity::purl(&key).to_string(),
        key,
        display_name: display_name.to_owned(),
        locations: file.locations(),
        licenses: Vec::new(),
        owned_by: None,
        confidence: Confidence::High,
        supplier: String::new(),
        found_by: found_by.to_owned(),
        depends_on: Vec::new(),
        introduced: None,
    }
}

/// The identities that a cataloger finds in one file by itself, whatever hides it.
pub(crate) fn keys(
    merged: &Merged<'_>,
    selected: &Selected,
    distribution: Option<&Distribution>,
) -> FxHashSet<ComponentKey> {
    let selector = selected.selector.as_str();
    let Some(cataloger) = CATALOGERS.iter().find(|cataloger| cataloger.selectors.contains(&selector)) else {
        return FxHashSet::default();
    };
    let file =
        File { path: &selected.path, links: Vec::new(), selector, bytes: &selected.bytes, layer: None };
    let (wanted, wanted_names) = (FxHashSet::default(), FxHashSet::default());
    let context = Context { distribution, merged, wanted, wanted_names, layers: &[] };
    (cataloger.interpret)(&context, &[file]).components.into_iter().map(|component| component.key).collect()
}

/// What the catalogers make of an image.
pub(crate) struct Catalog {
    /// Sorted by (purl, first location); one for one key.
    pub(crate) components: Vec<Component>,
    pub(crate) anomalies: Vec<Anomaly>,
}

/// The visible files as catalogers see them, by selector.
fn by_selector<'a>(
    merged: &'a Merged<'a>,
    layers: &'a [Option<Digest>],
) -> FxHashMap<&'a str, Vec<File<'a>>> {
    let mut by_selector: FxHashMap<&str, Vec<File<'a>>> = FxHashMap::default();
    for visible in &merged.files {
        let selected = visible.selected;
        let name = last(&selected.path);
        let counts = |path: &&str| last(path) == name || BY_CONTENT.contains(&selected.selector.as_str());
        let mut names = std::iter::once(visible.path.as_str())
            .chain(visible.links.iter().map(String::as_str))
            .filter(counts);
        let Some(path) = names.next() else { continue };
        by_selector.entry(&selected.selector).or_default().push(File {
            path,
            links: names.collect(),
            selector: &selected.selector,
            bytes: &selected.bytes,
            layer: layers.get(visible.layer).and_then(Option::as_ref),
        });
    }
    by_selector
}

impl<'a> Context<'a> {
    /// Of these files it is of interest who owns them.
    fn new<'f>(
        merged: &'a Merged<'a>,
        layers: &'a [Option<Digest>],
        distribution: Option<&'a Distribution>,
        files: impl Iterator<Item = &'f File<'a>>,
    ) -> Self
    where
        'a: 'f,
    {
        let paths = files.flat_map(|file| std::iter::once(file.path).chain(file.links.iter().copied()));
        let wanted: FxHashSet<&str> = paths.collect();
        let wanted_names = wanted.iter().map(|path| last(path)).collect();
        Self { distribution, merged, wanted, wanted_names, layers }
    }

    /// Runs a cataloger on its files, if it has any or needs none.
    fn interpret(
        &self,
        cataloger: &Cataloger,
        by_selector: &mut FxHashMap<&str, Vec<File<'a>>>,
        found: &mut Interpreted,
    ) {
        let files: Vec<File<'_>> = cataloger
            .selectors
            .iter()
            .flat_map(|selector| by_selector.remove(selector).unwrap_or_default())
            .collect();
        if files.is_empty() && !cataloger.selectors.is_empty() {
            return;
        }
        let mut one = (cataloger.interpret)(self, &files);
        found.components.append(&mut one.components);
        found.owned.append(&mut one.owned);
        found.anomalies.append(&mut one.anomalies);
    }
}

/// The paths of a selector's files that packages of a distribution own.
pub(crate) fn owned(
    merged: &Merged<'_>,
    selector: &str,
    distribution: Option<&Distribution>,
) -> FxHashSet<String> {
    let mut by_selector = by_selector(merged, &[]);
    let files = by_selector.remove(selector).unwrap_or_default();
    let context = Context::new(merged, &[], distribution, files.iter());
    let mut found = Interpreted::default();
    let of_distribution = |selector: &&str| OF_DISTRIBUTIONS.contains(selector);
    for cataloger in CATALOGERS.iter().filter(|cataloger| cataloger.selectors.iter().any(of_distribution)) {
        context.interpret(cataloger, &mut by_selector, &mut found);
    }
    found.owned.into_iter().map(|(path, _)| path).collect()
}

/// Runs every cataloger. `layers` has the digest to report for each layer that was merged.
pub(crate) fn run<'a>(
    merged: &'a Merged<'a>,
    layers: &'a [Option<Digest>],
    distribution: Option<&'a Distribution>,
) -> Catalog {
    let mut by_selector = by_selector(merged, layers);
    let others = by_selector.iter().filter(|(selector, _)| !OF_DISTRIBUTIONS.contains(selector));
    let context = Context::new(merged, layers, distribution, others.flat_map(|(_, files)| files));
    let mut found = Interpreted::default();
    for cataloger in CATALOGERS {
        context.interpret(cataloger, &mut by_selector, &mut found);
    }
    let owners = owners(found.owned);
    found.components.retain(|component| {
        !UNLESS_OWNED.contains(&component.found_by.as_str()) || owner(component, &owners).is_none()
    });
    let mut components = unite(found.components);
    mark_owned(&mut components, &owners);
    found.anomalies.sort();
    found.anomalies.dedup();
    Catalog { components, anomalies: found.anomalies }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// One component for one key, with every place.
fn unite(found: Vec<Component>) -> Vec<Component> {
    let mut index: FxHashMap<ComponentKey, usize> = FxHashMap::default();
    let mut united: Vec<Component> = Vec::new();
    for mut component in found {
        match index.get(&component.key).and_then(|&at| united.get_mut(at)) {
            Some(known) => {
                known.locations.append(&mut component.locations);
                known.licenses.append(&mut component.licenses);
                known.depends_on.append(&mut component.depends_on);
                known.confidence = known.confidence.max(component.confidence);
                // Which file comes first must not depend on the order of reading: the least text stands.
                if known.supplier.is_empty()
                    || (!component.supplier.is_empty() && component.supplier < known.supplier)
                {
                    known.supplier = component.supplier;
                }
                known.display_name =
                    std::cmp::min(std::mem::take(&mut known.display_name), component.display_name);
                known.found_by = std::cmp::min(std::mem::take(&mut known.found_by), component.found_by);
            }
            None => {
                index.insert(component.key.clone(), united.len());
                united.push(component);
            }
        }
    }
    for component in &mut united {
        component.locations.sort();
        component.locations.dedup();
        component.licenses.sort();
        component.licenses.dedup();
        component.depends_on.sort();
        component.depends_on.dedup();
        component.depends_on.retain(|purl| *purl != component.purl);
    }
    united.sort_by(|a, b| (&a.purl, &a.locations, &a.key).cmp(&(&b.purl, &b.locations, &b.key)));
    united
}

/// The purl of the package that owns each path; of several the least.
fn owners(owned: Vec<(String, String)>) -> FxHashMap<String, String> {
    let mut owners: FxHashMap<String, String> = FxHashMap::default();
    for (path, purl) in owned {
        let owner = owners.entry(path).or_insert_with(|| purl.clone());
        if purl < *owner {
            *owner = purl;
        }
    }
    owners
}

/// The distribution package that owns every place where a package was found: one copy that came another way is
/// patched by nobody.
fn owner(component: &Component, owners: &FxHashMap<String, String>) -> Option<String> {
    // A place inside an archive belongs to whom the archive belongs.
    let file = |path: &str| path.split_once("!/").map_or(path, |(file, _)| file).to_owned();
    let all = component.locations.iter().map(|location| owners.get(&file(&location.path)));
    all.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().min().cloned())
}

fn mark_owned(components: &mut [Component], owners: &FxHashMap<String, String>) {
    for component in
        components.iter_mut().filter(|component| !component.key.package.ecosystem.is_distribution())
    {
        component.owned_by = owner(component, owners);
    }
}
