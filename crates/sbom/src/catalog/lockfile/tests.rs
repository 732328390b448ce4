//! Lockfiles as their tools write them, shortened.

use proptest::prelude::*;

use super::*;

/// What a file lists, as purls with those that each depends on.
fn listed(path: &str, text: &str) -> Vec<String> {
    let file = File { path, links: Vec::new(), selector: "lockfile", bytes: text.as_bytes(), layer: None };
    let merged = crate::merge::merge::<plimsoll_model::Extract>(&[]);
    let context = Context {
        distribution: None,
        merged: &merged,
        wanted: Default::default(),
        wanted_names: Default::default(),
        layers: &[],
    };
    let found = interpret(&context, &[file]);
    for component in &found.components {
        // Who reads the package URL finds the same component.
        let purl: crate::purl::Purl = component.purl.parse().unwrap();
        assert_eq!(crate::identity::component(&purl, None).as_ref(), Some(&component.key));
    }
    let mut lines: Vec<String> = found
        .components
        .iter()
        .map(|component| {
            let depends: Vec<&str> =
                component.depends_on.iter().map(|purl| purl.trim_start_matches("pkg:")).collect();
            format!("{} [{}]", component.purl.trim_start_matches("pkg:"), depends.join(" "))
        })
        .collect();
    lines.extend(found.anomalies.iter().map(|anomaly| anomaly.code.clone()));
    lines.sort();
    lines
}

const FILES: &[(&str, &str, &[&str])] = &[
    (
        "package-lock.json",
        r#"{"lockfileVersion":3,"packages":{"":{"name":"app","version":"1.0.0"},"node_modules/a":{"version":"1.0.0","dependencies":{"@s/b":"^2"}},"node_modules/a/node_modules/@s/b":{"version":"2.0.0"},"node_modules/alias":{"name":"real","version":"3.0.0"},"packages/w":{"version":"1.0.0"},"node_modules/w":{"resolved":"packages/w","link":true}}}"#,
        &["npm/%40s/b@2.0.0 []", "npm/a@1.0.0 [npm/%40s/b@2.0.0]", "npm/real@3.0.0 []"],
    ),
    (
        "npm-shrinkwrap.json",
        r#"{"lockfileVersion":1,"dependencies":{"a":{"version":"1.0.0","requires":{"b":"^2"},"dependencies":{"b":{"version":"2.0.0"}}},"alias":{"version":"npm:real@3.0.0"},"d":{"version":"file:../d"}}}"#,
        &["npm/a@1.0.0 [npm/b@2.0.0]", "npm/b@2.0.0 []", "npm/real@3.0.0 []"],
    ),
    (
        "yarn.lock",
        "# yarn lockfile v1\n\n\n\"@babel/code-frame@^7.0.0\", \"@babel/code-frame@^7.1\":\n  version \"7.12.11\"\n  resolved \"https://x/y\"\n  dependencies:\n    \"@babel/highlight\" \"^7.10.4\"\n\n\"@babel/highlight@^7.10.4\":\n  version \"7.14.0\"\n\nalias@npm:real@1:\n  version \"1.0.0\"\n",
        &[
            "npm/%40babel/code-frame@7.12.11 [npm/%40babel/highlight@7.14.0]",
            "npm/%40babel/highlight@7.14.0 []",
            "npm/real@1.0.0 []",
        ],
    ),
    (
        "yarn.lock",
        "__metadata:\n  version: 6\n\n\"@s/a@npm:^1.0.0, @s/a@npm:^1.1.0\":\n  version: 1.1.0\n  resolution: \"@s/a@npm:1.1.0\"\n  dependencies:\n    b: ^2.0.0\n  checksum: x\n\n\"app@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"app@workspace:.\"\n\n\"b@npm:^2.0.0\":\n  version: 2.0.1\n  resolution: \"b@npm:2.0.1\"\n",
        &["npm/%40s/a@1.1.0 [npm/b@2.0.1]", "npm/b@2.0.1 []"],
    ),
    (
        "pnpm-lock.yaml",
        "lockfileVersion: '6.0'\n\nimporters:\n  .:\n    dependencies:\n      a: 1.0.0\n\npackages:\n\n  /@s/a@1.0.0(react@18.0.0):\n    resolution: {integrity: x}\n    dependencies:\n      b: 2.0.0\n\n  /b/2.0.0_react@18.0.0:\n    resolution: {integrity: x}\n\n  'c@3.0.0':\n    resolution: {integrity: x}\n\n  file:d:\n    name: d\n\nsnapshots:\n\n  c@4.0.0: {}\n",
        &["npm/%40s/a@1.0.0 []", "npm/b@2.0.0 []", "npm/c@3.0.0 []"],
    ),
    (
        "bun.lock",
        "{\n  // comment, with a comma\n  \"lockfileVersion\": 1,\n  \"packages\": {\n    \"a\": [\"a@1.0.0\", \"\", { \"dependencies\": { \"@s/b\": \"^2\" }, }, \"sha512-x==\"],\n    \"@s/b\": [\"@s/b@2.0.0\", \"\", {}, \"x,]\"],\n    \"w\": [\"w@workspace:packages/w\", {}],\n  },\n}\n",
        &["npm/%40s/b@2.0.0 []", "npm/a@1.0.0 [npm/%40s/b@2.0.0]"],
    ),
    (
        "requirements-dev.txt",
        "# comment\n-r base.txt\nDjango[argon2]==3.2.1 ; python_version >= '3'\nrequests == 2.19.0 \\\n    --hash=sha256:x\nflask>=1\nzope.interface===5.0 # why\nwild==1.*\n",
        &["pypi/django@3.2.1 []", "pypi/requests@2.19.0 []", "pypi/zope-interface@5.0 []"],
    ),
    (
        "Pipfile.lock",
        r#"{"_meta":{},"default":{"Flask":{"version":"==1.0"},"local":{"path":"."}},"develop":{"pytest":{"version":"==7.0"}}}"#,
        &["pypi/flask@1.0 []", "pypi/pytest@7.0 []"],
    ),
    (
        "poetry.lock",
        "[[package]]\nname = \"Flask\"\nversion = \"2.0\"\n[package.dependencies]\nJinja2 = \">=3\"\n\n[[package]]\nname = \"jinja2\"\nversion = \"3.0\"\n\n[metadata]\nlock-version = \"1.1\"\n",
        &["pypi/flask@2.0 [pypi/jinja2@3.0]", "pypi/jinja2@3.0 []"],
    ),
    (
        "uv.lock",
        "version = 1\n[[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = { virtual = \".\" }\n\n[[package]]\nname = \"a\"\nversion = \"1\"\nsource = { registry = \"https://x\" }\ndependencies = [{ name = \"b\" }]\n\n[[package]]\nname = \"b\"\nversion = \"2\"\nsource = { registry = \"https://x\" }\n",
        &["pypi/a@1 [pypi/b@2]", "pypi/b@2 []"],
    ),
    (
        "pdm.lock",
        "[[package]]\nname = \"a\"\nversion = \"1\"\ndependencies = [\n    \"b>=2\",\n]\n[[package]]\nname = \"b\"\nversion = \"2\"\n",
        &["pypi/a@1 [pypi/b@2]", "pypi/b@2 []"],
    ),
    (
        "pylock.toml",
        "lock-version = \"1.0\"\n[[packages]]\nname = \"attrs\"\nversion = \"25.1.0\"\n",
        &["pypi/attrs@25.1.0 []"],
    ),
    (
        "Cargo.lock",
        "version = 3\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\n \"memchr 2.7.4\",\n]\n\n[[package]]\nname = \"memchr\"\nversion = \"2.7.4\"\nsource = \"registry+https://x\"\n",
        &["cargo/app@0.1.0 [cargo/memchr@2.7.4]", "cargo/memchr@2.7.4 []"],
    ),
    (
        "Gemfile.lock",
        "GEM\n  remote: https://rubygems.org/\n  specs:\n    nokogiri (1.15.4-x86_64-linux)\n      racc (~> 1.4)\n    racc (1.7.1)\n\nPATH\n  remote: .\n  specs:\n    own (0.1)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  nokogiri\n\nBUNDLED WITH\n   2.4.10\n",
        &["gem/nokogiri@1.15.4 [gem/racc@1.7.1]", "gem/racc@1.7.1 []"],
    ),
    (
        "composer.lock",
        r#"{"packages":[{"name":"monolog/monolog","version":"2.3.5","require":{"psr/log":"^1"}}],"packages-dev":[{"name":"psr/log","version":"1.1.4"}]}"#,
        &["composer/monolog/monolog@2.3.5 [composer/psr/log@1.1.4]", "composer/psr/log@1.1.4 []"],
    ),
    (
        "packages.lock.json",
        r#"{"version":1,"dependencies":{"net6.0":{"Serilog":{"type":"Direct","resolved":"2.10.0"},"own":{"type":"Project"}}}}"#,
        &["nuget/Serilog@2.10.0 []"],
    ),
    (
        "go.mod",
        "module example.com/app\n\ngo 1.21\n\nrequire github.com/a/b v1.0.0\n\nrequire (\n\tgithub.com/c/d/v2 v2.1.0 // indirect\n\tgithub.com/e/f v0.1.0\n)\n\nreplace github.com/e/f => github.com/g/h v0.2.0\nreplace (\n\tgithub.com/a/b v0.9.0 => github.com/z/z v1.0.0\n)\n",
        &[
            "golang/github.com/a/b@v1.0.0 []",
            "golang/github.com/c/d/v2@v2.1.0 []",
            "golang/github.com/g/h@v0.2.0 []",
        ],
    ),
    (
        "gradle.lockfile",
        "# This is a Gradle generated file\ncom.google.guava:guava:31.1-jre=compileClasspath,runtimeClasspath\nempty=annotationProcessor\n",
        &["maven/com.google.guava/guava@31.1-jre []"],
    ),
    (
        "pubspec.lock",
        "# Generated by pub\npackages:\n  ansicolor:\n    dependency: transitive\n    description:\n      name: ansicolor\n      version: \"9\"\n    source: hosted\n    version: \"1.1.1\"\n  flutter:\n    source: sdk\n    version: \"0.0.0\"\nsdks:\n  dart: \">=2.12.0\"\n",
        &["pub/ansicolor@1.1.1 []"],
    ),
    (
        "mix.lock",
        "%{\n  \"cowboy\": {:hex, :cowboy, \"2.9.0\", \"2c7\", [:make, :rebar3], []},\n  \"own\": {:git, \"https://x\", \"abc\", []},\n}\n",
        &["hex/cowboy@2.9.0 []"],
    ),
    (
        "Package.resolved",
        r#"{"pins":[{"identity":"swift-nio","kind":"remoteSourceControl","location":"https://github.com/apple/swift-nio.git","state":{"revision":"x","version":"2.42.0"}},{"identity":"b","location":"git@github.com:o/b","state":{"branch":"main"}}],"version":2}"#,
        &["swift/github.com/apple/swift-nio@2.42.0 []"],
    ),
    (
        "Package.resolved",
        r#"{"object":{"pins":[{"package":"b","repositoryURL":"git@github.com:o/b.git","state":{"version":"1.0.0"}}]},"version":1}"#,
        &["swift/github.com/o/b@1.0.0 []"],
    ),
    (
        "conan.lock",
        r#"{"version":"0.5","requires":["zlib/1.2.13#rev%1.5"],"build_requires":["cmake/3.25@u/c"]}"#,
        &["conan/cmake@3.25 []", "conan/zlib@1.2.13 []"],
    ),
    (
        "conan.lock",
        r#"{"graph_lock":{"nodes":{"0":{"ref":"app/1.0"},"1":{"ref":"zlib/1.2.11"}}}}"#,
        &["conan/app@1.0 []", "conan/zlib@1.2.11 []"],
    ),
    ("package-lock.json", "{", &["lockfile_unreadable"]),
    ("poetry.lock", "[[package", &["lockfile_unreadable"]),
    ("yarn.lock", "", &[]),
    (
        "deno.lock",
        r#"{"version":"4","jsr":{"@std/a@1.0.0":{}},"npm":{"chalk@5.3.0":{"integrity":"x"},"@s/b@2.0.0_react@18.0.0":{"dependencies":["chalk"]}}}"#,
        &["npm/%40s/b@2.0.0 [npm/chalk@5.3.0]", "npm/chalk@5.3.0 []"],
    ),
    (
        "deno.lock",
        r#"{"version":"3","packages":{"npm":{"a@1.0.0":{"dependencies":{"b":"b@2.0.0"}},"b@2.0.0":{}}}}"#,
        &["npm/a@1.0.0 [npm/b@2.0.0]", "npm/b@2.0.0 []"],
    ),
    (
        "rebar.lock",
        "{\"1.2.0\",\n[{<<\"cowboy\">>,{pkg,<<\"cowboy\">>,<<\"2.9.0\">>},0},\n {<<\"own\">>,{git,\"https://x\",{ref,\"y\"}},0}]}.\n[{pkg_hash,[]}].\n",
        &["hex/cowboy@2.9.0 []"],
    ),
    (
        "Podfile.lock",
        "PODS:\n  - Alamofire (5.6.4)\n  - Firebase/Core (10.1.0):\n    - Firebase/CoreOnly\n    - Alamofire (~> 5)\n  - \"Google+X (1.0)\"\n\nDEPENDENCIES:\n  - Other (1.0)\n",
        &[
            "cocoapods/Alamofire@5.6.4 []",
            "cocoapods/Firebase@10.1.0 [cocoapods/Alamofire@5.6.4]",
            "cocoapods/Google%2BX@1.0 []",
        ],
    ),
    (
        "Cartfile.resolved",
        "github \"Alamofire/Alamofire\" \"v5.6.4\"\ngit \"x\" \"1\"\n",
        &["swift/github.com/Alamofire/Alamofire@5.6.4 []"],
    ),
    (
        "stack.yaml.lock",
        "packages:\n- completed:\n    hackage: hs-bibutils-6.10.0.0@sha256:x,1\n  original:\n    hackage: hs-bibutils-6.10.0.0\n",
        &["hackage/hs-bibutils@6.10.0.0 []", "hackage/hs-bibutils@6.10.0.0 []"],
    ),
    (
        "cabal.project.freeze",
        "active-repositories: hackage.haskell.org:merge\nconstraints: any.Cabal ==3.2.1.0,\n             any.aeson ==2.0.3.0,\n             aeson +ordered-keymap\n",
        &["hackage/Cabal@3.2.1.0 []", "hackage/aeson@2.0.3.0 []"],
    ),
    (
        "renv.lock",
        r#"{"R":{"Version":"4.3"},"Packages":{"R6":{"Package":"R6","Version":"2.5.1","Source":"Repository","Requirements":["R"]},"x":{"Version":"1.0","Requirements":["R6"]}}}"#,
        &["cran/R6@2.5.1 []", "cran/x@1.0 [cran/R6@2.5.1]"],
    ),
    (
        "cpanfile.snapshot",
        "# carton snapshot format: version 1.0\nDISTRIBUTIONS\n  Try-Tiny-0.31\n    pathname: E/ET/x-1.0.tar.gz\n    provides:\n      Try::Tiny 0.31\n",
        &["cpan/Try-Tiny@0.31 []"],
    ),
    (
        "Manifest.toml",
        "julia_version = \"1.9\"\n[[deps.JSON]]\ndeps = [\"Parsers\"]\nversion = \"0.21.4\"\n[[deps.Parsers]]\nversion = \"2.8\"\n[[deps.Dates]]\nuuid = \"x\"\n",
        &["julia/JSON@0.21.4 [julia/Parsers@2.8]", "julia/Parsers@2.8 []"],
    ),
    (
        ".terraform.lock.hcl",
        "provider \"registry.terraform.io/hashicorp/aws\" {\n  version     = \"5.1.0\"\n  constraints = \"~> 5\"\n}\n",
        &["terraform/registry.terraform.io/hashicorp/aws@5.1.0 []"],
    ),
    (
        "build.sbt.lock",
        r#"{"lockVersion":1,"dependencies":[{"org":"org.typelevel","name":"cats-core_2.13","version":"2.9.0"}]}"#,
        &["maven/org.typelevel/cats-core_2.13@2.9.0 []"],
    ),
    (
        "x.opam.locked",
        "depends: [\n  \"fmt\" {= \"0.9.0\"}\n  \"ocaml\" {>= \"4\"}\n]\n",
        &["opam/fmt@0.9.0 []"],
    ),
    (
        "conanfile.txt",
        "[requires]\nzlib/1.2.11@u/c\nrange/[>1]\n[generators]\ncmake/x\n",
        &["conan/zlib@1.2.11 []"],
    ),
    (
        "ci.yml",
        "jobs:\n  a:\n    steps:\n      - uses: actions/checkout@v4 # x\n      - uses: \"github/codeql-action/init@v3\"\n      - uses: Owner/Action@1.0\n      - uses: ./local\n      - uses: docker://alpine@sha256:x\n",
        &["github/actions/checkout@v4 []", "github/github/codeql-action@v3 []", "github/owner/action@1.0 []"],
    ),
    ("pom.xml", r#"{"artifactId":"a","dependencies":[["g:b","1.0"]]}"#, &["maven/g/b@1.0 []"]),
    ("App.csproj", r#"{"packages":[["Serilog","2.10.0"]]}"#, &["nuget/Serilog@2.10.0 []"]),
];

#[test]
fn every_kind() {
    for (name, text, expected) in FILES {
        assert_eq!(listed(&format!("app/{name}"), text), *expected, "{name}: {text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(which in 0..FILES.len(), cut in any::<prop::sample::Index>(), noise in r#"[a-z0-9 @:=./"'\[\]{}(),\n\\#<>-]{0,40}"#) {
        let (name, text, _) = FILES[which];
        let at = cut.index(text.len() + 1);
        if text.is_char_boundary(at) {
            let (before, after) = text.split_at(at);
            listed(name, &format!("{before}{noise}{after}"));
            listed(name, &format!("{before}{noise}"));
        }
        listed(name, &noise);
    }
}
