//! The seeds of the fuzz targets, and inputs that fuzzing found, through the functions that fuzzing runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[allow(unreachable_pub)] // the fuzz targets are outside of the workspace
#[path = "../../../../fuzz/src/lib.rs"]
mod targets;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files
}

/// Every seed, and every seed cut off at seven places.
#[test]
fn seeds_of_every_fuzz_target_are_read() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let folders: Vec<String> =
        files(&seeds).iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(folders, targets::TARGETS.map(|(name, _)| name), "a folder of seeds for each target");
    let mut failed = Vec::new();
    for (name, target) in targets::TARGETS {
        for path in files(&seeds.join(name)) {
            let bytes = std::fs::read(&path).unwrap();
            let cuts = (1..8).map(|part| bytes.len() * part / 8).chain([bytes.len()]);
            for cut in cuts {
                if catch_unwind(AssertUnwindSafe(|| target(&bytes[..cut]))).is_err() {
                    failed.push(format!("{name}/{}[..{cut}]", path.file_name().unwrap().display()));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
