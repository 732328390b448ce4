//! Cold images: processor time, wall time and peak memory of `plimsoll sbom`, against Syft on the same image and
//! against the floor. Images of a corpus, and layers that are made here: many files, many bytes, many archives.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::write::GzEncoder;
use plimsoll_testkit::image::{Compression, ImageBuilder, Layer, LayerBlob, content};

use super::measure::{Cost, at_most, cost, figure, mib, note, title};
use super::{UnpackArguments, corpus};
use crate::LoadError;
use crate::dice::Dice;

/// Peak memory of a layer that is made here, in MiB.
const LAYER_PEAK: f64 = 128.0;
/// Jars of the layer with archives, and bytes in each that do not compress.
const JARS: usize = 200;
const JAR_BYTES: usize = 400 << 10;
/// Files of the layer with many.
const FILES: usize = 200_000;
/// Files of 2 GiB of the large layer.
const CHUNKS: usize = 5;

/// Measures.
pub(super) fn run(program: &Path, arguments: &UnpackArguments) -> Result<(), LoadError> {
    let layouts = if arguments.layouts.is_empty() { corpus() } else { arguments.layouts.clone() };
    if layouts.is_empty() {
        title("SBOM of cold images");
        note("no image is given", "name OCI layouts, or set PLIMSOLL_CORPUS");
    }
    let syft = if arguments.no_syft { None } else { syft() };
    for layout in &layouts {
        let name = layout.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        measure(
            &Subject { title: &format!("the cold image {name}"), layout, runs: arguments.runs, peak: None },
            program,
            syft.as_deref(),
        )?;
    }
    if !arguments.no_large {
        made(program, syft.as_deref())?;
    }
    Ok(())
}

/// `SYFT`, or what a version manager's shim stands for, or what is on PATH.
fn syft() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SYFT") {
        return Some(PathBuf::from(named));
    }
    let said = Command::new("pyenv").args(["which", "syft"]).output().ok().filter(|o| o.status.success());
    if let Some(said) = said {
        return Some(PathBuf::from(String::from_utf8_lossy(&said.stdout).trim()));
    }
    Command::new("syft").arg("--version").output().is_ok().then(|| PathBuf::from("syft"))
}

fn plimsoll(program: &Path, layout: &Path, runs: u32, options: &[&str]) -> Result<Cost, LoadError> {
    let arguments =
        ["sbom".into(), format!("oci:{}", layout.display()), "-o".into(), "cyclonedx-json".into()];
    let options = options.iter().map(|option| (*option).to_owned());
    cost(program, &arguments.into_iter().chain(options).collect::<Vec<_>>(), runs)
}

fn floor(layout: &Path, runs: u32) -> Result<Cost, LoadError> {
    let own = std::env::current_exe().map_err(LoadError::io("find this program"))?;
    cost(&own, &["bench".into(), "floor".into(), layout.display().to_string()], runs)
}

/// An image to measure with.
struct Subject<'a> {
    title: &'a str,
    layout: &'a Path,
    runs: u32,
    /// MiB that reading it may take, whatever the peer takes.
    peak: Option<f64>,
}

fn measure(subject: &Subject<'_>, program: &Path, syft: Option<&Path>) -> Result<(), LoadError> {
    let Subject { layout, runs, .. } = *subject;
    title(&format!("SBOM of {}", subject.title));
    // Once for the page cache, which is everybody's.
    let floor_cost = floor(layout, 1).and_then(|_| floor(layout, runs))?;
    let own = plimsoll(program, layout, runs, &[])?;
    let secrets = plimsoll(program, layout, runs, &["--secrets"])?;
    note("plimsoll", &described(&own));
    note("plimsoll --secrets", &described(&secrets));
    note("floor", &described(&floor_cost));
    let theirs = syft.map(|syft| {
        let scan = ["scan".into(), format!("oci-dir:{}", layout.display()), "-q".into(), "-o".into()];
        let arguments: Vec<String> = scan.into_iter().chain(["cyclonedx-json".into()]).collect();
        cost(syft, &arguments, runs.div_ceil(3))
    });
    let theirs = theirs.transpose()?;
    if let Some(theirs) = &theirs {
        note("Syft", &described(theirs));
    }
    at_most("wall against decompressing and hashing", own.wall / floor_cost.wall, 1.3, "×");
    note("CPU against decompressing and hashing", &format!("{} ×", figure(own.cpu / floor_cost.cpu)));
    at_most("CPU with --secrets against packages only", secrets.cpu / own.cpu, 1.25, "×");
    if let Some(theirs) = theirs {
        at_most("CPU against Syft", own.cpu / theirs.cpu, 0.1, "×");
        note("wall against Syft", &format!("{} ×", figure(own.wall / theirs.wall)));
        at_most("peak memory against Syft", mib(own.peak) / mib(theirs.peak), 0.2, "×");
    }
    if let Some(peak) = subject.peak {
        at_most("peak memory", mib(own.peak), peak, "MiB");
    }
    Ok(())
}

fn described(cost: &Cost) -> String {
    format!("{} s CPU, {} s wall, {} MiB peak", figure(cost.cpu), figure(cost.wall), figure(mib(cost.peak)))
}

/// Layers that must not cost memory.
fn made(program: &Path, syft: Option<&Path>) -> Result<(), LoadError> {
    let folder = tempfile::tempdir().map_err(LoadError::io("create a folder"))?;
    let many = folder.path().join("many-files");
    let layer = (0..FILES).fold(Layer::new(), |layer, number| {
        let path = format!("srv/data/{:03}/{:03}/file-{number}.txt", number % 500, number / 500 % 500);
        layer.file(path, format!("content of {number}"))
    });
    ImageBuilder::new().layer(layer, Compression::Gzip).build()?.to_layout(&many, "1")?;
    let huge = folder.path().join("ten-gib");
    ImageBuilder::new().raw_layer(zeros()?).build()?.to_layout(&huge, "1")?;
    let archives = folder.path().join("jars");
    ImageBuilder::new().layer(jars()?, Compression::Gzip).build()?.to_layout(&archives, "1")?;
    for (what, layout, runs) in [
        ("a layer of 200,000 files", &many, 3),
        ("a layer of 10 GiB of sparse content", &huge, 1),
        ("a layer of 200 jars", &archives, 3),
    ] {
        measure(&Subject { title: what, layout, runs, peak: Some(LAYER_PEAK) }, program, syft)?;
        note("decompressed", &format!("{} MiB", figure(mib(super::floor::layout(layout)?))));
    }
    Ok(())
}

/// Jars with a jar inside each, and with bytes that do not compress, as classes hardly do once they are deflated.
fn jars() -> Result<Layer, LoadError> {
    let mut dice = Dice::new(200);
    let mut layer = Layer::new();
    for number in 0..JARS {
        let inner = content::jar("org.example.inner", &format!("inner-{number}"), "2.1.0", &[])?;
        let noise: Vec<u8> = (0..JAR_BYTES).map(|_| u8::try_from(dice.roll(256)).unwrap_or(0)).collect();
        let parts = [("inner.jar", inner), ("classes.bin", noise)];
        let jar = content::jar("org.example", &format!("library-{number}"), "1.4.2", &parts)?;
        layer = layer.file(format!("opt/app/lib/library-{number}-1.4.2.jar"), jar);
    }
    Ok(layer)
}

/// A layer of five files of 2 GiB of zeros: ten MiB when it is compressed. Each file is compressed once and its gzip
/// member repeated, which is as good a gzip file as any.
fn zeros() -> Result<LayerBlob, LoadError> {
    const SIZE: u64 = 2 << 30;
    let failed = || LoadError::io("compress zeros");
    let mut diff = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let block = vec![0_u8; 1 << 20];
    let pack = |parts: &[&[u8]], blocks: u64| -> std::io::Result<Vec<u8>> {
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        parts.iter().try_for_each(|part| gzip.write_all(part))?;
        (0..blocks).try_for_each(|_| gzip.write_all(&block))?;
        gzip.finish()
    };
    let body = pack(&[], SIZE >> 20).map_err(failed())?;
    let mut stored = Vec::new();
    for number in 0..CHUNKS {
        let header = header(&format!("var/lib/images/disk-{number}.raw"), SIZE);
        stored.extend(pack(&[&header], 0).map_err(failed())?);
        stored.extend_from_slice(&body);
        diff.update(&header);
        (0..SIZE >> 20).for_each(|_| diff.update(&block));
    }
    let end = [0_u8; 1024];
    stored.extend(pack(&[&end], 0).map_err(failed())?);
    diff.update(&end);
    let mut blob = LayerBlob::new("application/vnd.oci.image.layer.v1.tar+gzip", stored, &[]);
    let hex: String = diff.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    blob.diff_id = format!("sha256:{hex}");
    Ok(blob)
}

/// A ustar header of a regular file.
fn header(path: &str, size: u64) -> Vec<u8> {
    let mut header = vec![0_u8; 512];
    let mut put = |at: usize, text: &str| {
        for (place, byte) in header.iter_mut().skip(at).zip(text.bytes()) {
            *place = byte;
        }
    };
    put(0, path);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    for (place, byte) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *place = byte;
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_sum_of_its_bytes() {
        let header = header("a/b", 5);
        let said = String::from_utf8_lossy(header.get(148..154).unwrap_or_default()).into_owned();
        let mut blank = header.clone();
        blank.iter_mut().skip(148).take(8).for_each(|byte| *byte = b' ');
        let sum: u32 = blank.iter().map(|&byte| u32::from(byte)).sum();
        assert_eq!(u32::from_str_radix(&said, 8).ok(), Some(sum));
    }
}
