//! Embeds the advisories of the demonstration, so that an installed binary can show it.

use std::io::Write;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root =
        PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../deploy/demo").canonicalize()?;
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut out = std::fs::File::create(Path::new(&std::env::var("OUT_DIR")?).join("demo.rs"))?;
    writeln!(out, "const FEEDS: &[(&str, &[u8])] = &[")?;
    for file in files {
        let name = file.strip_prefix(&root)?.display().to_string();
        writeln!(out, "    ({name:?}, include_bytes!({:?})),", file.display().to_string())?;
    }
    writeln!(out, "];")?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "json" || e == "jsonl" || e == "csv") {
            files.push(path);
        }
    }
    Ok(())
}
