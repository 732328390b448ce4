//! Go build information in executables of every container format and both encodings.

use plimsoll_image::layer::Limits;

use super::archive::*;

const MODULES: &str = "path\tmain\nmod\texample.com/app\tv1.2.3\t\ndep\tgithub.com/a/b\tv0.1.0\th1:x\n";

/// Which numbers an executable is written with.
#[derive(Clone, Copy, Debug)]
struct Shape {
    wide: bool,
    big: bool,
    inline: bool,
}

impl Shape {
    fn word(self, value: u64) -> Vec<u8> {
        match (self.wide, self.big) {
            (true, true) => value.to_be_bytes().to_vec(),
            (true, false) => value.to_le_bytes().to_vec(),
            (false, true) => (value as u32).to_be_bytes().to_vec(),
            (false, false) => (value as u32).to_le_bytes().to_vec(),
        }
    }

    fn half(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn long(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// A data segment that is loaded at `address`, with the header `before` bytes into it.
    fn data(self, address: u64, before: usize) -> Vec<u8> {
        let framed = format!("0w\u{1}aaaaaaaaaaaaa{MODULES}2C\u{1}bbbbbbbbbbbbb");
        assert_eq!(framed.len(), MODULES.len() + 32);
        let mut data = vec![0xcc; before];
        data.extend_from_slice(b"\xff Go buildinf:");
        data.push(if self.wide { 8 } else { 4 });
        data.push(u8::from(self.big) | u8::from(self.inline) << 1);
        if self.inline {
            data.extend_from_slice(&[0; 16]);
            data.push(8);
            data.extend_from_slice(b"go1.22.3");
            let length = framed.len();
            data.extend_from_slice(&[(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
            data.extend_from_slice(framed.as_bytes());
            return data;
        }
        let strings = address + before as u64 + 64;
        data.extend(self.word(strings));
        data.extend(self.word(strings + 16));
        data.resize(before + 64, 0);
        for (at, length) in [(32, 8), (40, framed.len())] {
            data.extend(self.word(strings + at));
            data.extend(self.word(length as u64));
            data.resize(data.len().next_multiple_of(16), 0);
        }
        data.extend_from_slice(b"go1.17.9");
        data.extend_from_slice(framed.as_bytes());
        data
    }
}

/// An ELF executable without sections whose data segment begins at `offset`.
fn elf(shape: Shape, offset: usize, before: usize) -> Vec<u8> {
    let address = 0x40_0000;
    let data = shape.data(address, before);
    let mut file = b"\x7fELF".to_vec();
    file.push(if shape.wide { 2 } else { 1 });
    file.push(if shape.big { 2 } else { 1 });
    file.resize(16, 1);
    file.extend(shape.half(2));
    file.extend(shape.half(62));
    file.extend(shape.long(1));
    file.extend(shape.word(address));
    let headers = if shape.wide { 64 } else { 52 };
    file.extend(shape.word(headers));
    file.extend(shape.word(0));
    file.extend(shape.long(0));
    for field in [headers as u16, if shape.wide { 56 } else { 32 }, 2, 0, 0, 0] {
        file.extend(shape.half(field));
    }
    let length = data.len() as u64;
    for (flags, at, address, length) in [(5, 0, 0x1000, 64), (6, offset as u64, address, length)] {
        file.extend(shape.long(1));
        if shape.wide {
            file.extend(shape.long(flags));
        }
        for value in [at, address, address, length, length + 4096] {
            file.extend(shape.word(value));
        }
        if !shape.wide {
            file.extend(shape.long(flags));
        }
        file.extend(shape.word(4096));
    }
    file.resize(offset, 0x90);
    file.extend(data);
    file.resize(file.len().max(1024), 0);
    file
}

fn pe(shape: Shape) -> Vec<u8> {
    let base: u64 = 0x40_0000;
    let data = shape.data(base + 0x3000, 16);
    let mut file = b"MZ".to_vec();
    file.resize(0x3c, 0);
    file.extend(0x80_u32.to_le_bytes());
    file.resize(0x80, 0);
    file.extend(b"PE\0\0");
    file.extend([0x64, 0x86]);
    file.extend(2_u16.to_le_bytes());
    file.extend([0; 12]);
    let optional: u16 = if shape.wide { 240 } else { 224 };
    file.extend(optional.to_le_bytes());
    file.extend([0; 2]);
    let start = file.len();
    file.extend(if shape.wide { 0x20b_u16 } else { 0x10b }.to_le_bytes());
    file.resize(start + if shape.wide { 24 } else { 28 }, 0);
    file.extend(shape.word(base));
    file.resize(start + usize::from(optional), 0);
    for (name, address, offset, flags) in [
        (b".text\0\0\0", 0x1000_u32, 0x400_u32, 0x6000_0020_u32),
        (b".data\0\0\0", 0x3000, 0x600, 0xc000_0040),
    ] {
        file.extend(name);
        for value in [data.len() as u32, address, data.len() as u32, offset, 0, 0, 0, flags] {
            file.extend(value.to_le_bytes());
        }
    }
    file.resize(0x600, 0);
    file.extend(data);
    file
}

fn macho(shape: Shape, section: bool) -> Vec<u8> {
    let address = 0x10_0000;
    let data = shape.data(address, 32);
    let mut file = shape.long(if shape.wide { 0xfeed_facf } else { 0xfeed_face }).to_vec();
    for value in [7, 3, 2, 1, 0, 0] {
        file.extend(shape.long(value));
    }
    if shape.wide {
        file.extend(shape.long(0));
    }
    let sections = u32::from(section);
    file.extend(shape.long(if shape.wide { 0x19 } else { 1 }));
    file.extend(shape.long(72 + 80 * sections));
    file.extend(b"__DATA\0\0\0\0\0\0\0\0\0\0");
    let length = data.len() as u64;
    for value in [address, length, 1024, length] {
        file.extend(shape.word(value));
    }
    for value in [3, 3, sections, 0] {
        file.extend(shape.long(value));
    }
    if section {
        file.extend(b"__go_buildinfo\0\0__DATA\0\0\0\0\0\0\0\0\0\0");
        file.extend(shape.word(address + 32));
        file.extend(shape.word(length - 32));
    }
    file.resize(1024, 0);
    file.extend(data);
    file
}

fn kept(program: &[u8], limits: &Limits) -> (Option<String>, Vec<String>) {
    let tar = Archive::default().file("usr/bin/app", program).file("after", b"").end();
    let extract = try_read(&tar, TAR, limits).unwrap();
    assert_eq!(lines(&extract), ["f after", "f usr/bin/app"]);
    let bytes = extract.selected.first().map(|kept| {
        assert_eq!((kept.selector.as_str(), kept.size), ("go-binary", program.len() as u64));
        String::from_utf8_lossy(&kept.bytes).into_owned()
    });
    (bytes, extract.partial.iter().map(|partial| partial.code.clone()).collect())
}

fn expected(shape: Shape) -> Option<String> {
    Some(format!("{}\n{MODULES}", if shape.inline { "go1.22.3" } else { "go1.17.9" }))
}

fn shapes() -> impl Iterator<Item = Shape> {
    (0..8).map(|bits| Shape { wide: bits & 1 > 0, big: bits & 2 > 0, inline: bits & 4 > 0 })
}

#[test]
fn finds_build_information_in_every_format() {
    let limits = Limits::default();
    for shape in shapes() {
        for before in [0, 16, 4096] {
            assert_eq!(kept(&elf(shape, 4096, before), &limits), (expected(shape), vec![]), "{shape:?}");
        }
        for section in [false, true].into_iter().filter(|section| !section || shape.wide) {
            assert_eq!(kept(&macho(shape, section), &limits), (expected(shape), vec![]), "{shape:?}");
        }
        if !shape.big {
            assert_eq!(kept(&pe(shape), &limits), (expected(shape), vec![]), "{shape:?}");
        }
    }
}

#[test]
fn a_universal_binary_gives_its_first_architecture() {
    let shape = Shape { wide: true, big: false, inline: true };
    let thin = macho(shape, true);
    let mut fat = vec![0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 1];
    for value in [0x0100_0007_u32, 3, 4096, thin.len() as u32, 12] {
        fat.extend(value.to_be_bytes());
    }
    fat.resize(4096, 0);
    fat.extend(thin);
    assert_eq!(kept(&fat, &Limits::default()).0, expected(shape));
}

#[test]
fn other_executables_are_dropped() {
    let shape = Shape { wide: true, big: false, inline: true };
    let mut other = elf(shape, 4096, 0);
    other[4096] = 0;
    assert_eq!(kept(&other, &Limits::default()), (None, vec![]));
    // the magic must be aligned
    assert_eq!(kept(&elf(shape, 4096, 8), &Limits::default()), (None, vec![]));
    assert_eq!(kept(&elf(shape, 4096, 0)[..4096 + 20], &Limits::default()), (None, vec![]));
}

/// A limit that makes every program a large one.
fn small() -> Limits {
    Limits { entry_bytes: 600, ..Limits::default() }
}

#[test]
fn large_files_are_read_as_they_pass() {
    for shape in shapes() {
        for (offset, before) in [(4096, 0), (4096, 160_000), (300_000, 16), (700_000, 600_000)] {
            assert_eq!(
                kept(&elf(shape, offset, before), &small()),
                (expected(shape), vec![]),
                "{shape:?} {offset}"
            );
        }
        for section in [false, true].into_iter().filter(|section| !section || shape.wide) {
            assert_eq!(kept(&macho(shape, section), &small()), (expected(shape), vec![]), "{shape:?}");
        }
        if !shape.big {
            assert_eq!(kept(&pe(shape), &small()), (expected(shape), vec![]), "{shape:?}");
        }
    }
    let inline = Shape { wide: true, big: false, inline: true };
    // another program of that size is known not to be Go's
    let mut other = elf(inline, 300_000, 0);
    other[300_000] = 0;
    assert_eq!(kept(&other, &small()), (None, vec![]));
}

/// Before Go 1.18 strings are pointed to, and lie in the read-only data before the header.
#[test]
fn texts_of_old_large_programs_are_retained_while_they_pass() {
    let shape = Shape { wide: true, big: false, inline: false };
    let place = |marked: bool, text: usize| {
        let mut program = elf(shape, 300_000, 0);
        let framed = [
            &b"\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6"[..],
            MODULES.as_bytes(),
            b"\xf9\x32\x43\x31\x86\x18\x20\x72\x00\x82\x42\x10\x41\x16\xd8\xf2",
        ]
        .concat();
        // The first segment is the read-only data here.
        program[64 + 4] = 4;
        program[64 + 32..64 + 40].copy_from_slice(&200_000_u64.to_le_bytes());
        program[64 + 40..64 + 48].copy_from_slice(&200_000_u64.to_le_bytes());
        if marked {
            program[200..212].copy_from_slice(b"\x04\0\0\0\x20\0\0\0\x04\0\0\0");
            program[208..216].copy_from_slice(b"\x04\0\0\0Go\0\0");
        }
        program[text..text + 8].copy_from_slice(b"go1.17.9");
        program[text + 100..text + 100 + framed.len()].copy_from_slice(&framed);
        let strings = 300_000 + 64;
        for (at, value) in [(strings, 0x1000 + text), (strings + 16, 0x1000 + text + 100)] {
            program[at..at + 8].copy_from_slice(&(value as u64).to_le_bytes());
        }
        program
    };
    // 65,534: across the end of the headers.
    for text in [1_000, 65_534, 150_000] {
        let program = place(true, text);
        assert_eq!(kept(&program, &Limits::default()), (expected(shape), vec![]), "{text}");
        assert_eq!(kept(&program, &small()), (expected(shape), vec![]), "{text}");
    }
    // What is not marked as Go's is not looked through for texts, and that is said.
    assert_eq!(kept(&place(false, 1_000), &small()), (None, vec!["entry_bytes".to_owned()]));
}

#[test]
fn lying_executables_do_no_harm() {
    let shapes: Vec<Shape> = shapes().collect();
    let mut noise = 7_u32;
    let mut next = move || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 8) as usize
    };
    for round in 0..4_000 {
        let shape = shapes[round % shapes.len()];
        let mut program = match round % 3 {
            0 => elf(shape, 1024, 0),
            1 => macho(shape, shape.wide),
            _ => pe(Shape { big: false, ..shape }),
        };
        for _ in 0..=next() % 6 {
            let at = next() % program.len().min(1200);
            program[at] = [0, 1, 0x7f, 0x80, 0xff, (next() & 0xff) as u8][next() % 6];
        }
        program.truncate(512 + next() % program.len());
        let whole = kept(&program, &Limits::default());
        let passing = kept(&program, &small());
        if shape.inline && whole.0.is_some() {
            assert_eq!(whole, passing);
        }
    }
}
