//! Documents of each format, real ones where they are at hand.

use std::path::{Path, PathBuf};

use plimsoll_model::ComponentKey;
use plimsoll_model::vex::{ImagePlace, Product, Statement, VexStatus};
use plimsoll_sbom::component_of_purl;
use plimsoll_vex::document::read;
use plimsoll_vex::{Collected, Trust, load};

pub(crate) fn collected(text: &str, trust: &Trust) -> Collected {
    let mut out = Collected::default();
    assert!(read(text.as_bytes(), "test.json", trust, &mut out), "the format is known");
    out.finish();
    out
}

fn key(purl: &str) -> ComponentKey {
    component_of_purl(&purl.parse().unwrap(), None).unwrap()
}

fn names(statement: &Statement, purl: &str, place: &ImagePlace) -> bool {
    statement.products.iter().any(|product: &Product| product.names(&key(purl), place))
}

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/advisories/vex").join(name);
    path.exists().then_some(path)
}

fn real(name: &str) -> Option<Collected> {
    let path = shared(name)?;
    let mut out = Collected::default();
    load(&path, &Trust::default(), &mut out).unwrap();
    out.finish();
    Some(out)
}

#[test]
fn openvex() {
    let text = r#"{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/vex/1","author":"Example","timestamp":"2024-01-02T00:00:00Z","version":1,"statements":[
      {"vulnerability":{"name":"GO-2024-1","aliases":["CVE-2024-1","https://example.com/x"]},"timestamp":"2024-03-01T00:00:00Z",
       "products":[{"@id":"pkg:golang/example.com/app","subcomponents":[{"@id":"pkg:golang/golang.org/x/net@0.29.0"}]}],
       "status":"not_affected","justification":"vulnerable_code_not_present","impact_statement":"not linked in"},
      {"vulnerability":{"@id":"https://nvd.nist.gov/vuln/detail/CVE-2024-2"},
       "products":[{"@id":"x","identifiers":{"purl":"pkg:deb/debian/bash@5.2.15-2"}}],"status":"under_investigation"},
      {"vulnerability":{"name":"CVE-2024-3"},"products":[{"@id":"pkg:oci/app"}],"status":"fixed"},
      {"vulnerability":{"name":"CVE-2024-4"},"products":[{"@id":"pkg:golang/example.com/app","subcomponents":[{"@id":"whatever"}]}],"status":"fixed"},
      {"vulnerability":{"name":"CVE-2024-5"},"products":[{"@id":"pkg:npm/a@1"}],"status":"fine"}]}"#;
    let out = collected(text, &Trust::default());
    assert_eq!(out.statements.len(), 2, "{:?}", out.report);
    let go = &out.statements.iter().find(|s| s.vulnerabilities.contains(&"CVE-2024-1".into())).unwrap();
    assert_eq!(go.vulnerabilities, ["CVE-2024-1", "GO-2024-1"]);
    assert_eq!((go.issuer.as_str(), go.document.as_str()), ("Example", "https://example.com/vex/1"));
    assert_eq!((go.status, go.reason.as_str()), (VexStatus::NotAffected, "not linked in"));
    assert_eq!(go.at, "2024-03-01T00:00:00Z".parse().unwrap());
    let mut place = ImagePlace::default();
    assert!(!names(go, "pkg:golang/golang.org/x/net@v0.29.0", &place), "only inside of the product");
    place
        .inside
        .insert(key("pkg:golang/golang.org/x/net@v0.29.0"), vec![key("pkg:golang/example.com/app@v3")]);
    assert!(names(go, "pkg:golang/golang.org/x/net@v0.29.0", &place));
    assert!(!names(go, "pkg:golang/golang.org/x/net@v0.30.0", &place));
    let other = out.statements.iter().find(|s| s.vulnerabilities == ["CVE-2024-2"]).unwrap();
    assert!(names(other, "pkg:deb/debian/bash@5.2.15-2?distro=debian-12", &ImagePlace::default()));
    for reason in ["product_vague", "subcomponent_unknown", "status_unknown"] {
        assert_eq!(out.report.left_out.get(reason), Some(&1), "{reason}: {:?}", out.report);
    }
}

#[test]
fn cyclonedx() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let text = r#"{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79","version":1,
      "metadata":{"timestamp":"2024-01-02T00:00:00Z","supplier":{"name":"Example"},"component":{"type":"container","name":"app","bom-ref":"root","purl":"pkg:oci/app@DIGEST"}},
      "components":[{"type":"library","name":"lodash","bom-ref":"c1","purl":"pkg:npm/lodash@4.17.20"}],
      "vulnerabilities":[
        {"id":"CVE-1","analysis":{"state":"not_affected","justification":"code_not_reachable","detail":"never called"},"affects":[{"ref":"c1"}]},
        {"id":"CVE-2","analysis":{"state":"resolved"},"affects":[{"ref":"urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#root"}]},
        {"id":"CVE-3","analysis":{"state":"exploitable"},"affects":[{"ref":"pkg:npm/minimist","versions":[{"version":"1.2.0"},{"range":"vers:npm/<1"}]}]},
        {"id":"CVE-4","analysis":{"state":"false_positive"},"affects":[{"ref":"urn:cdx:00000000-395b-41f5-a30f-a58921a69b79/1#pkg:npm/x@1"}]},
        {"id":"CVE-5","affects":[{"ref":"c1"}]}]}"#.replace("DIGEST", &digest.replace(':', "%3A"));
    let out = collected(&text, &Trust::default());
    let place = ImagePlace { digests: [digest.parse().unwrap()].into(), ..ImagePlace::default() };
    let of = |id: &str| out.statements.iter().find(|s| s.vulnerabilities == [id]);
    let one = of("CVE-1").unwrap();
    assert_eq!((one.issuer.as_str(), one.justification.as_str()), ("Example", "code_not_reachable"));
    assert!(names(one, "pkg:npm/lodash@4.17.20", &place));
    assert!(!names(one, "pkg:npm/lodash@4.17.20", &ImagePlace::default()), "in that image alone");
    assert!(!names(one, "pkg:npm/lodash@4.17.21", &place));
    let two = of("CVE-2").unwrap();
    assert_eq!(two.status, VexStatus::Fixed);
    assert!(names(two, "pkg:npm/anything@1", &place) && !names(two, "pkg:npm/x@1", &ImagePlace::default()));
    let three = of("CVE-3").unwrap();
    assert_eq!(three.status, VexStatus::Affected);
    assert!(
        names(three, "pkg:npm/minimist@1.2.0", &place) && !names(three, "pkg:npm/minimist@0.9.0", &place)
    );
    assert!(of("CVE-4").is_none() && of("CVE-5").is_none());
    for reason in ["product_in_another_document", "analysis_missing", "version_range"] {
        assert_eq!(out.report.left_out.get(reason), Some(&1), "{reason}: {:?}", out.report);
    }
}

#[test]
fn csaf() {
    let text = r#"{"document":{"category":"csaf_vex","csaf_version":"2.0","publisher":{"name":"Example"},"tracking":{"id":"EX-1","current_release_date":"2024-05-01T00:00:00Z"}},
      "product_tree":{
        "branches":[{"category":"vendor","branches":[
          {"category":"product_version","product":{"product_id":"app","name":"app","product_identification_helper":{"purl":"pkg:golang/example.com/app@v1.0.0"}}},
          {"category":"product_version","product":{"product_id":"net","name":"net","product_identification_helper":{"purl":"pkg:golang/golang.org/x/net@v0.29.0"}}},
          {"category":"product_name","product":{"product_id":"el9","name":"EL 9","product_identification_helper":{"cpe":"cpe:/o:redhat:enterprise_linux:9::baseos"}}},
          {"category":"product_name","product":{"product_id":"other","name":"Other","product_identification_helper":{"cpe":"cpe:/a:redhat:other:1"}}},
          {"category":"product_version","product":{"product_id":"curl","name":"curl","product_identification_helper":{"purl":"pkg:rpm/redhat/curl?arch=src"}}}]}],
        "relationships":[
          {"category":"default_component_of","product_reference":"net","relates_to_product_reference":"app","full_product_name":{"product_id":"app:net","name":"net in app"}},
          {"category":"default_component_of","product_reference":"curl","relates_to_product_reference":"el9","full_product_name":{"product_id":"el9:curl","name":"curl in EL 9"}},
          {"category":"default_component_of","product_reference":"curl","relates_to_product_reference":"other","full_product_name":{"product_id":"other:curl","name":"curl elsewhere"}}]},
      "vulnerabilities":[{"cve":"CVE-2024-1","product_status":{"known_not_affected":["app:net","el9:curl","other:curl"],"known_affected":["app"]},
        "flags":[{"label":"component_not_present","product_ids":["app:net"]}],
        "threats":[{"category":"impact","details":"It is not called.","product_ids":["app:net"]}]}]}"#;
    let out = collected(text, &Trust::default());
    assert_eq!(out.statements.len(), 3, "{:?}", out.report);
    assert_eq!(out.report.left_out.get("platform_unknown"), Some(&1));
    let flagged = out.statements.iter().find(|s| s.justification == "component_not_present").unwrap();
    assert_eq!((flagged.reason.as_str(), flagged.document.as_str()), ("It is not called.", "EX-1"));
    let net = key("pkg:golang/golang.org/x/net@v0.29.0");
    let inside = [(net, vec![key("pkg:golang/example.com/app@v1.0.0")])].into();
    let place = ImagePlace { inside, ..ImagePlace::default() };
    assert!(names(flagged, "pkg:golang/golang.org/x/net@v0.29.0", &place));
    let curl =
        out.statements.iter().find(|s| s.status == VexStatus::NotAffected && s.justification.is_empty());
    let built = "pkg:rpm/redhat/libcurl@7.76.1-26.el9?arch=x86_64&distro=rhel-9.3&upstream=curl-7.76.1-26.el9.src.rpm";
    assert!(names(curl.unwrap(), built, &ImagePlace::default()));
    assert!(!names(curl.unwrap(), &built.replace("rhel-9.3", "rhel-8.9"), &ImagePlace::default()));
}

#[test]
fn real_documents() {
    let Some(trivy) = real("openvex/vexhub-trivy-oci.openvex.json") else { return };
    assert_eq!(trivy.statements.len(), 7, "{:?}", trivy.report);
    assert_eq!(trivy.report.left_out.len(), 0, "{:?}", trivy.report);
    let place = ImagePlace {
        repositories: ["ghcr.io/aquasecurity/trivy".to_owned()].into(),
        ..ImagePlace::default()
    };
    let busybox = "pkg:apk/alpine/busybox@1.36.1-r2?distro=3.18.4";
    let statement = trivy.statements.iter().find(|s| s.vulnerabilities == ["CVE-2023-42363"]).unwrap();
    assert!(names(statement, busybox, &place) && !names(statement, busybox, &ImagePlace::default()));
    assert_eq!(statement.reason, "awk is not used");

    let rke2 = real("openvex/vexhub-rancher-rke2.openvex.json").unwrap();
    assert_eq!(rke2.report.left_out.len(), 0, "{:?}", rke2.report);
    assert!(rke2.statements.len() > 1_000, "{}", rke2.statements.len());

    let ubuntu = real("openvex-ubuntu/ubuntu-CVE-2023-38545.json").unwrap();
    let fixed = ubuntu.statements.iter().find(|s| s.status == VexStatus::Fixed).unwrap();
    assert_eq!(fixed.vulnerabilities, ["CVE-2023-38545"], "addresses are no ids");
    let curl = "pkg:deb/ubuntu/curl@7.81.0-1ubuntu1.24?arch=amd64&distro=ubuntu-22.04";
    assert!(names(fixed, curl, &ImagePlace::default()));
    assert!(!names(fixed, &curl.replace("22.04", "20.04"), &ImagePlace::default()));
    assert!(!names(fixed, &curl.replace("1.24", "1.13"), &ImagePlace::default()));

    let bom = real("cyclonedx/trivy-sample.cdx-vex.json").unwrap();
    assert_eq!((bom.statements.len(), bom.report.left_out["product_in_another_document"]), (0, 2));

    let curl = real("csaf/redhat-cve-2023-38545-curl.json").unwrap();
    let built = "pkg:rpm/redhat/curl@7.61.1-33.el8?arch=x86_64&distro=rhel-8.9";
    let safe = |s: &&Statement| s.status.suppresses() && names(s, built, &ImagePlace::default());
    let statement = curl.statements.iter().find(safe).expect("RHEL 8 is not affected");
    assert_eq!(statement.status, VexStatus::NotAffected);
    assert!(!names(statement, &built.replace("rhel-8.9", "rhel-9.2"), &ImagePlace::default()));
    for name in ["csaf", "openvex"] {
        let all = real(name).unwrap();
        assert!(all.statements.len() > 10, "{name}: {:?}", all.report);
        assert!(!all.report.left_out.contains_key("format_unknown"), "{:?}", all.report);
    }
}
