//! rpm: what the selector reads from the database, and the manifest of CBL-Mariner's distroless images.

use plimsoll_model::package::SourcePackage;
use plimsoll_model::sbom::Component;
use plimsoll_model::{ComponentKey, Ecosystem, PackageKey};
use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::{Context, File, Interpreted, component, last};
use crate::{identity, license};

/// A package as the selector keeps it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Package {
    name: String,
    epoch: Option<u32>,
    version: String,
    release: String,
    arch: String,
    /// File name of the source package.
    source: String,
    vendor: String,
    license: String,
    module: String,
    files: Vec<String>,
    requires: Vec<String>,
}

pub(super) fn interpret(context: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    for file in files {
        let packages = if last(file.path) == "container-manifest-2" {
            manifest(&file.text())
        } else {
            match serde_json::from_slice::<Vec<Package>>(file.bytes) {
                Ok(packages) => packages,
                Err(why) => {
                    found.unreadable("rpm_database_unreadable", file, why);
                    continue;
                }
            }
        };
        let mut purls: FxHashMap<&str, String> = FxHashMap::default();
        let mut components: Vec<Component> = Vec::with_capacity(packages.len());
        for package in &packages {
            let component = package.component(context, file);
            purls.entry(&package.name).or_insert_with(|| component.purl.clone());
            for path in package.files.iter().filter_map(|path| context.wanted(path)) {
                found.owned.push((path, component.purl.clone()));
            }
            components.push(component);
        }
        for (component, package) in components.iter_mut().zip(&packages) {
            component.depends_on =
                package.requires.iter().filter_map(|name| purls.get(name.as_str()).cloned()).collect();
        }
        found.components.append(&mut components);
    }
    found
}

impl Package {
    fn component(&self, context: &Context<'_>, file: &File<'_>) -> Component {
        let evr = |version: &str| match self.epoch {
            Some(epoch) if epoch > 0 => format!("{epoch}:{version}"),
            _ => version.to_owned(),
        };
        let own = match self.release.as_str() {
            "" => self.version.clone(),
            release => format!("{}-{release}", self.version),
        };
        // A source package has no epoch in its file's name; its binary packages share its own.
        let source = identity::source_rpm(&self.source).map_or_else(
            || SourcePackage { name: self.name.clone(), version: evr(&own) },
            |(name, version)| SourcePackage { name: name.to_owned(), version: evr(version) },
        );
        let key = ComponentKey {
            package: PackageKey {
                ecosystem: Ecosystem::Rpm,
                release: context.distribution.map(|distribution| distribution.release.clone()),
                name: self.name.clone(),
            },
            version: evr(&own),
            source: Some(source),
            arch: self.arch.clone(),
            stream: identity::stream(&self.module).to_owned(),
        };
        let purl = identity::purl(&key).with("rpmmod", &self.module);
        let mut component = component(key, &self.name, file, "rpm");
        component.purl = purl.to_string();
        component.supplier.clone_from(&self.vendor);
        let license = self.license.trim();
        // Long expressions are expressions still.
        component.licenses = license::stated(license)
            .or_else(|| {
                (license.len() <= 4096 && license::is_expression(license)).then(|| license.to_owned())
            })
            .into_iter()
            .collect();
        component
    }
}

/// `rpm -qa` with tabs between name, version-release, two times, vendor, epoch, size, architecture, epoch number and
/// source package (CBL-Mariner's `generate-container-manifest`).
fn manifest(text: &str) -> Vec<Package> {
    let package = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |n: usize| fields.get(n).copied().unwrap_or("").trim();
        let (version, release) = field(1).rsplit_once('-')?;
        if field(0).is_empty() || version.is_empty() {
            return None;
        }
        let stated = |text: &str| if text == "(none)" { String::new() } else { text.to_owned() };
        Some(Package {
            name: field(0).to_owned(),
            epoch: field(8).parse().ok(),
            version: version.to_owned(),
            release: release.to_owned(),
            arch: stated(field(7)),
            source: stated(field(9)),
            vendor: stated(field(4)),
            ..Package::default()
        })
    };
    text.lines().filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_manifests() {
        let text = "openssl-libs\t1.1.1k-28.cm2\t1687892391\t1687874000\tMicrosoft Corporation\t(none)\t4365872\tx86_64\t0\topenssl-1.1.1k-28.cm2.src.rpm\n\nnonsense\n";
        let packages = manifest(text);
        assert_eq!(packages.len(), 1);
        let package = &packages[0];
        assert_eq!((package.name.as_str(), package.version.as_str()), ("openssl-libs", "1.1.1k"));
        assert_eq!((package.release.as_str(), package.epoch), ("28.cm2", Some(0)));
        assert_eq!(package.source, "openssl-1.1.1k-28.cm2.src.rpm");
    }
}
