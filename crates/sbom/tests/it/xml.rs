//! CycloneDX XML: each document gives what its JSON twin gives.

use std::io::Write as _;
use std::process::{Command, Stdio};

use plimsoll_model::Sbom;
use plimsoll_sbom::cyclonedx::{self, Options};
use plimsoll_sbom::document;
use proptest::prelude::*;
use serde_json::Value;

use crate::documents::{CYCLONEDX, VERSIONS, an_sbom, python};
use crate::images::image;

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Any text, with references for all but letters and digits.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("&#{};", u32::from(c)) })
        .collect()
}

fn attribute(item: &Value, json: &str, xml: &str) -> String {
    item[json].as_str().map_or(String::new(), |text| format!(" {xml}=\"{}\"", escaped(text)))
}

fn element(item: &Value, name: &str) -> String {
    item[name].as_str().map_or(String::new(), |text| format!("<{name}>{}</{name}>", escaped(text)))
}

fn each(list: &Value, one: impl Fn(&Value) -> String) -> String {
    list.as_array().into_iter().flatten().map(one).collect()
}

fn component(item: &Value) -> String {
    let properties = each(&item["properties"], |property| {
        let name = attribute(property, "name", "name");
        format!("<property{name}>{}</property>", escaped(property["value"].as_str().unwrap()))
    });
    let licenses = each(&item["licenses"], |choice| match choice.get("license") {
        Some(license) => format!("<license>{}{}</license>", element(license, "id"), element(license, "name")),
        None => element(choice, "expression"),
    });
    let places = each(&item["evidence"]["occurrences"], |occurrence| {
        format!("<occurrence>{}</occurrence>", element(occurrence, "location"))
    });
    format!(
        "<component{}{}>\n<supplier>{}</supplier>{}{}<licenses>{licenses}</licenses>{}\n<properties>{properties}</properties><evidence><occurrences>{places}</occurrences></evidence></component>",
        attribute(item, "type", "type"),
        attribute(item, "bom-ref", "bom-ref"),
        element(&item["supplier"], "name"),
        element(item, "name"),
        element(item, "version"),
        element(item, "purl"),
    )
}

/// The XML twin of a document that this crate wrote.
fn twin(json: &[u8]) -> String {
    let bom: Value = serde_json::from_slice(json).unwrap();
    let metadata = &bom["metadata"];
    let properties = component(metadata);
    let properties =
        &properties[properties.find("<properties>").unwrap()..properties.find("<evidence>").unwrap()];
    let dependencies = each(&bom["dependencies"], |dependency| {
        let targets = each(&dependency["dependsOn"], |to| {
            format!("<dependency ref=\"{}\"/>", escaped(to.as_str().unwrap()))
        });
        format!("<dependency{}>{targets}</dependency>", attribute(dependency, "ref", "ref"))
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<bom xmlns=\"http://cyclonedx.org/schema/bom/{}\" version=\"1\"><metadata>{}{properties}</metadata><components>{}</components><dependencies>{dependencies}</dependencies></bom>\n",
        bom["specVersion"].as_str().unwrap(),
        component(&metadata["component"]),
        each(&bom["components"], component),
    )
}

/// Without the space around texts, which is layout in XML.
fn laid_out(mut sbom: Sbom) -> Sbom {
    let trim = |text: &mut String| *text = text.trim_matches(SPACE).to_owned();
    trim(&mut sbom.name);
    for component in &mut sbom.components {
        trim(&mut component.supplier);
        trim(&mut component.display_name);
        if component.display_name.is_empty() {
            component.display_name = component.key.package.name.clone();
        }
        component.licenses.iter_mut().for_each(trim);
        component.licenses.retain(|text| !text.is_empty());
        component.licenses.sort();
        component.licenses.dedup();
    }
    sbom
}

proptest! {
    #[test]
    fn xml_reads_as_its_twin_in_json(sbom in an_sbom()) {
        for version in VERSIONS {
            let json = cyclonedx::write(&sbom, &Options { version, ..Options::default() });
            // There is no way to write a NUL in XML.
            prop_assume!(!String::from_utf8_lossy(&json).contains("\\u0000"));
            let xml = twin(&json);
            let read = document::read(xml.as_bytes()).unwrap();
            prop_assert_eq!(laid_out(read), laid_out(document::read(&json).unwrap()), "{}", xml);
        }
    }

    #[test]
    fn any_xml_is_read_or_refused(text in "<bom xmlns=\"http://cyclonedx.org/schema/bom/1.6\">(</?(bom|components|component|name|purl|dependency|properties|property|x:name)( (name|ref|type)=\"[a-z&;:/@]{0,6}\")?/?>|[a-z&;<>\\]!-]{0,4}|<!\\[CDATA\\[|\\]\\]>){0,12}(</bom>)?") {
        let _ = document::read(text.as_bytes());
    }
}

#[test]
fn documents_of_others() {
    // Namespaces with a prefix, layout, CDATA, references, nested components and dependencies, other vocabularies.
    let xml = r##"<?xml version="1.0"?>
<!-- a comment -->
<c:bom xmlns:c="http://cyclonedx.org/schema/bom/1.2" xmlns:v="http://cyclonedx.org/schema/ext/vulnerability/1.0" serialNumber="urn:uuid:0" version="1">
  <c:metadata>
    <c:timestamp>2020-04-07T07:01:00Z</c:timestamp>
    <c:tools><c:tool><c:vendor>V</c:vendor><c:name>not this</c:name></c:tool></c:tools>
    <c:component type="container" bom-ref="i"><c:name>
      debian:12 &amp; more
    </c:name><c:version>sha256:0101010101010101010101010101010101010101010101010101010101010101</c:version></c:component>
  </c:metadata>
  <c:components>
    <c:component type="operating-system" bom-ref="os"><c:name>debian</c:name><c:version>12.5</c:version></c:component>
    <c:component type="library" bom-ref="a"><c:publisher>P &#x26; Q</c:publisher><c:group>@babel</c:group><c:name>core</c:name><c:version>7.0.0</c:version>
      <c:licenses><c:license><c:id>MIT</c:id><c:text content-type="text/plain">MIT License &lt;</c:text></c:license><c:license><c:name><![CDATA[A & B]]></c:name></c:license></c:licenses>
      <c:purl>pkg:npm/%40babel/core@7.0.0</c:purl>
      <v:vulnerabilities><v:vulnerability ref="a"><v:id>CVE-1</v:id><v:name>x</v:name></v:vulnerability></v:vulnerabilities>
      <c:components><c:component type="library" bom-ref="b"><c:author>Someone</c:author><c:name>six</c:name><c:version>1.16.0</c:version><c:licenses><c:expression>MIT OR Apache-2.0</c:expression></c:licenses><c:purl>pkg:pypi/six@1.16.0</c:purl></c:component></c:components>
    </c:component>
    <c:component type="library" bom-ref="c"><c:supplier><c:name>Debian</c:name><c:url>https://x</c:url></c:supplier><c:name>libc6</c:name><c:version>2.36</c:version><c:purl>pkg:deb/debian/libc6@2.36?arch=amd64</c:purl></c:component>
    <c:component type="library"><c:name>nameless</c:name></c:component>
  </c:components>
  <c:dependencies>
    <c:dependency ref="a"><c:dependency ref="b"><c:dependency ref="c"/></c:dependency></c:dependency>
  </c:dependencies>
</c:bom>"##;
    let json = r##"{"bomFormat":"CycloneDX","specVersion":"1.2","version":1,"metadata":{"component":{"type":"container","name":"debian:12 & more",
        "version":"sha256:0101010101010101010101010101010101010101010101010101010101010101"}},"components":[
      {"type":"operating-system","bom-ref":"os","name":"debian","version":"12.5"},
      {"type":"library","bom-ref":"a","publisher":"P & Q","group":"@babel","name":"core","version":"7.0.0","licenses":[{"license":{"id":"MIT"}},{"license":{"name":"A & B"}}],"purl":"pkg:npm/%40babel/core@7.0.0",
       "components":[{"type":"library","bom-ref":"b","author":"Someone","name":"six","version":"1.16.0","licenses":[{"expression":"MIT OR Apache-2.0"}],"purl":"pkg:pypi/six@1.16.0"}]},
      {"type":"library","bom-ref":"c","supplier":{"name":"Debian"},"name":"libc6","version":"2.36","purl":"pkg:deb/debian/libc6@2.36?arch=amd64"},
      {"type":"library","name":"nameless"}],
     "dependencies":[{"ref":"a","dependsOn":["b"]},{"ref":"b","dependsOn":["c"]}]}"##;
    let read = document::read(xml.as_bytes()).unwrap();
    assert_eq!(read, document::read(json.as_bytes()).unwrap());
    assert_eq!(read.components.len(), 3);
    assert_eq!(read.partial[0].code, "component_without_purl");
    assert_eq!(read.components.iter().map(|component| component.depends_on.len()).sum::<usize>(), 2);

    let detailed = r#"<bom xmlns="http://cyclonedx.org/schema/bom/1.7"><components><component type="library"><name>six</name><licenses><expression-detailed expression="MIT OR ISC"><details license-identifier="MIT"/></expression-detailed></licenses><purl>pkg:pypi/six@1</purl></component></components></bom>"#;
    assert_eq!(document::read(detailed.as_bytes()).unwrap().components[0].licenses, ["MIT OR ISC"]);
}

#[test]
fn refused_xml() {
    let bom = |inner: &str| format!("<bom xmlns=\"http://cyclonedx.org/schema/bom/1.6\">{inner}</bom>");
    let laughs = "<!DOCTYPE bom [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>";
    for (text, code) in [
        (bom(""), ""),
        (bom("&b;"), "sbom_not_xml"),
        (format!("{laughs}{}", bom("")), "sbom_not_xml"),
        (bom(&"<x>".repeat(200)), "sbom_not_xml"),
        (bom("<components>"), "sbom_not_xml"),
        (bom("<components></metadata>"), "sbom_not_xml"),
        (bom("<component type=\"a\" type=\"b\"/>"), ""),
        (bom("<components><component type=\"a\" type=\"b\"/></components>"), "sbom_not_xml"),
        (bom("").repeat(2), "sbom_not_xml"),
        ("<".to_owned(), "sbom_not_xml"),
        ("<bom/>".to_owned(), "sbom_unknown_format"),
        (
            "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"/>".to_owned(),
            "sbom_unknown_format",
        ),
        (bom("").replace("1.6", "1.0"), "sbom_unknown_version"),
    ] {
        let got = document::read(text.as_bytes()).map_or_else(|error| error.code(), |_| "");
        assert_eq!(got, code, "{text:.80}");
    }
    assert_eq!(document::read(b"<bom>\xff").unwrap_err().code(), "sbom_not_xml");
}

/// What Python's `cyclonedx-python-lib` makes of a document of ours, written as XML, is read as the document itself.
#[test]
fn the_xml_of_the_official_library_is_read_as_its_json() {
    const CONVERT: &str = "
import json, sys
from cyclonedx.model.bom import Bom
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
bom = Bom.from_json(json.load(sys.stdin))
for form in (OutputFormat.JSON, OutputFormat.XML):
    print(make_outputter(bom, form, SchemaVersion.from_version(sys.argv[1])).output_as_string().replace('\\n', ' '))
";
    let Some(python) = python(CYCLONEDX) else { return };
    let sbom = image();
    for version in VERSIONS {
        let mut child = Command::new(&python)
            .args(["-c", CONVERT, version.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let written = cyclonedx::write(&sbom, &Options { version, ..Options::default() });
        child.stdin.take().unwrap().write_all(&written).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let (json, xml) = text.trim().split_once('\n').unwrap();
        let read = document::read(xml.as_bytes()).unwrap();
        assert_eq!(laid_out(read.clone()), laid_out(document::read(json.as_bytes()).unwrap()));
        let keys = |sbom: &Sbom| sbom.components.iter().map(|c| c.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&read), keys(&sbom));
    }
}
