//! A streaming tar reader that reads what containerd reads.
//!
//! containerd, Docker and CRI-O unpack layers with Go's `archive/tar`; any difference from it would hide a
//! package or show one that is not there. So this follows that reader's decisions: which headers it
//! accepts, that global PAX headers change nothing, that an extended header lasts for one entry, how names
//! from ustar prefix, PAX and GNU records override each other, which types have no data, where a stream may
//! end. The `tar` crate reads several of these differently (global and sparse PAX, header validation), hence
//! a reader of our own.
//!
//! Content is never copied unless it is asked for.

mod header;
mod pax;
mod sparse;

use std::io::Read;

use super::decode::{Decoded, Stop};
use header::{BadField, Block, Fields, Layout};
use pax::Pax;
use sparse::SparseMap;

/// Longest extended header, GNU long name or sparse map, as in Go and libarchive.
const SPECIAL: u64 = 1 << 20;
/// Bytes of a file with holes that are shown at a time.
const SHOWN: u64 = 64 << 10;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An entry; see [`Tar::take_header`].
    Entry,
    /// A global PAX header; `true` if it holds records that other readers would apply to what follows.
    Global(bool),
    /// The end of the archive.
    End,
}

/// The current entry.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// Name and link as written, after PAX and GNU overrides.
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    /// `\0` is already turned into `0` or `5`.
    pub(super) typeflag: u8,
    /// Size of the file, holes included.
    pub(super) size: u64,
    pub(super) mode: i64,
}

/// Reads entries one after the other.
pub(super) struct Tar<'a, R: Read> {
    stream: Decoded<'a, R>,
    fields: Fields,
    header: Header,
    block: Block,
    /// Stored bytes of the current entry that were not read, and the padding after them.
    left: u64,
    padding: u64,
    sparse: Option<Holes>,
    /// Whether any valid header was seen.
    pub(super) began: bool,
}

struct Holes {
    map: SparseMap,
    next: usize,
    position: u64,
}

impl From<BadField> for Stop {
    fn from(BadField(name): BadField) -> Self {
        Self::tar(format!("bad {name}"))
    }
}

impl<'a, R: Read> Tar<'a, R> {
    pub(super) fn new(stream: Decoded<'a, R>) -> Self {
        Self {
            stream,
            fields: Fields::default(),
            header: Header::default(),
            block: [0; 512],
            left: 0,
            padding: 0,
            sparse: None,
            began: false,
        }
    }

    /// The current entry's header, which [`Tar::give_back`] wants again for the memory that it holds.
    pub(super) fn take_header(&mut self) -> Header {
        std::mem::take(&mut self.header)
    }

    pub(super) fn give_back(&mut self, header: Header) {
        self.header = header;
    }

    pub(super) fn stream(&mut self) -> &mut Decoded<'a, R> {
        &mut self.stream
    }

    pub(super) fn into_stream(self) -> Decoded<'a, R> {
        self.stream
    }

    /// Goes on to the next entry, past whatever is left of the current one.
    pub(super) fn next(&mut self) -> Result<Found, Stop> {
        let mut pax: Option<Pax> = None;
        let (mut long_name, mut long_link) = (Vec::new(), Vec::new());
        loop {
            if self.stream.skip(self.left)? < self.left {
                return Err(Stop::truncated("the stream ends inside an entry"));
            }
            self.left = 0;
            self.sparse = None;
            let padding = std::mem::take(&mut self.padding);
            if self.stream.skip(padding)? < padding {
                return Ok(Found::End);
            }
            let Some(layout) = self.read_header()? else { return Ok(Found::End) };
            self.began = true;
            self.data_follows(self.fields.size)?;
            match self.fields.typeflag {
                b'x' => pax = Some(Pax::parse(&self.special()?)?),
                b'g' => return Ok(Found::Global(Pax::parse(&self.special()?)?.changes_entries())),
                b'L' => long_name = header::string(&self.special()?).to_vec(),
                b'K' => long_link = header::string(&self.special()?).to_vec(),
                _ => {
                    self.finish_header(layout, pax.as_ref(), long_name, long_link)?;
                    return Ok(Found::Entry);
                }
            }
        }
    }

    /// Appends up to `count` bytes of the current file; fewer only at its end.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, count: u64) -> Result<u64, Stop> {
        let Some(holes) = &mut self.sparse else {
            let count = count.min(self.left);
            let got = self.stream.append(out, count)?;
            self.left -= got;
            return if got < count {
                Err(Stop::truncated("the stream ends inside an entry"))
            } else {
                Ok(got)
            };
        };
        let mut got = 0;
        while got < count && holes.position < holes.map.size {
            let (offset, length) = holes.map.parts.get(holes.next).copied().unwrap_or((holes.map.size, 0));
            let wanted = count - got;
            let step = if holes.position < offset {
                let zeros = wanted.min(offset - holes.position);
                self.stream.hole(zeros)?;
                let room = usize::try_from(zeros).map_err(|_| Stop::tar("sparse hole too large"))?;
                out.resize(out.len() + room, 0);
                zeros
            } else {
                let stored = wanted.min(offset + length - holes.position);
                let read = self.stream.append(out, stored)?;
                self.left = self.left.saturating_sub(read);
                if read < stored {
                    return Err(Stop::truncated("the stream ends inside an entry"));
                }
                stored
            };
            got += step;
            holes.position += step;
            while holes.map.parts.get(holes.next).is_some_and(|(at, len)| holes.position >= at + len) {
                holes.next += 1;
            }
        }
        Ok(got)
    }

    /// Shows the rest of the current file, holes as zeros, until `look` says that it has seen enough.
    pub(super) fn show(&mut self, look: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Stop> {
        if self.sparse.is_some() {
            let mut bytes = Vec::new();
            while self.append(&mut bytes, SHOWN)? > 0 && look(&bytes) {
                bytes.clear();
            }
            return Ok(());
        }
        let (shown, more) = self.stream.show(self.left, look)?;
        self.left -= shown;
        if more && self.left > 0 { Err(Stop::truncated("the stream ends inside an entry")) } else { Ok(()) }
    }

    /// Whether the current file has holes.
    pub(super) fn is_sparse(&self) -> bool {
        self.sparse.is_some()
    }

    /// Shows what is left of the current content, piece by piece, without a copy; of a sparse file what is stored.
    pub(super) fn look(&mut self, mut look: impl FnMut(&[u8])) -> Result<(), Stop> {
        while self.left > 0 {
            let at_hand = self.stream.available()?;
            let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(at_hand.len());
            let Some(bytes) = at_hand.get(..step).filter(|bytes| !bytes.is_empty()) else {
                return Err(Stop::truncated("the stream ends inside an entry"));
            };
            look(bytes);
            self.stream.consume(step);
            self.left -= step as u64;
        }
        Ok(())
    }

    /// `None` at the end of the archive: no more bytes, or zero blocks.
    fn read_header(&mut self) -> Result<Option<Layout>, Stop> {
        match self.stream.block(&mut self.block)? {
            0 => return Ok(None),
            512 => {}
            _ => return Err(Stop::truncated("the stream ends inside a header")),
        }
        if self.block[0] == 0 && self.block.iter().all(|byte| *byte == 0) {
            return match self.stream.block(&mut self.block)? {
                0 => Ok(None),
                512 if self.block.iter().all(|byte| *byte == 0) => Ok(None),
                512 => Err(Stop::tar("a zero block is followed by something else")),
                _ => Err(Stop::truncated("the stream ends inside a header")),
            };
        }
        let layout = header::layout(&self.block).ok_or_else(|| Stop::tar("a header's checksum is wrong"))?;
        header::parse(&self.block, layout, &mut self.fields)?;
        Ok(Some(layout))
    }

    fn data_follows(&mut self, size: i64) -> Result<(), Stop> {
        let size = if header_only(self.fields.typeflag) { 0 } else { size };
        self.left = u64::try_from(size).map_err(|_| Stop::tar("a negative size"))?;
        self.padding = self.left.wrapping_neg() & 511;
        Ok(())
    }

    fn special(&mut self) -> Result<Vec<u8>, Stop> {
        if self.left > SPECIAL {
            return Err(Stop::tar("an extended header of more than 1 MiB"));
        }
        let mut bytes = Vec::new();
        let wanted = self.left;
        self.append(&mut bytes, wanted)?;
        Ok(bytes)
    }

    fn finish_header(
        &mut self,
        layout: Layout,
        pax: Option<&Pax>,
        long_name: Vec<u8>,
        long_link: Vec<u8>,
    ) -> Result<(), Stop> {
        if let Some(pax) = pax {
            if !pax.path.is_empty() {
                self.fields.name.clone_from(&pax.path);
            }
            if !pax.linkpath.is_empty() {
                self.fields.link.clone_from(&pax.linkpath);
            }
            self.fields.size = pax.size.unwrap_or(self.fields.size);
        }
        if !long_name.is_empty() {
            self.fields.name = long_name;
        }
        if !long_link.is_empty() {
            self.fields.link = long_link;
        }
        if self.fields.typeflag == 0 {
            self.fields.typeflag = if self.fields.name.ends_with(b"/") { b'5' } else { b'0' };
        }
        self.data_follows(self.fields.size)?;
        let parts =
            if self.fields.typeflag == b'S' { Some(self.old_gnu_map(layout)?) } else { self.pax_map(pax)? };
        if let Some(parts) = parts {
            if header_only(self.fields.typeflag) {
                return Err(Stop::tar("a sparse map on an entry without data"));
            }
            let map = SparseMap::new(parts, self.fields.size)?;
            if map.stored() != self.left {
                return Err(Stop::tar("a sparse map that does not fit the stored data"));
            }
            self.sparse = Some(Holes { map, next: 0, position: 0 });
        }
        std::mem::swap(&mut self.header.name, &mut self.fields.name);
        std::mem::swap(&mut self.header.link, &mut self.fields.link);
        self.header.typeflag = self.fields.typeflag;
        self.header.mode = self.fields.mode;
        self.header.size = u64::try_from(self.fields.size).unwrap_or(0);
        if let Some(holes) = &mut self.sparse {
            while holes.map.parts.get(holes.next).is_some_and(|(at, len)| holes.position >= at + len) {
                holes.next += 1;
            }
        }
        Ok(())
    }

    fn old_gnu_map(&mut self, layout: Layout) -> Result<Vec<(i64, i64)>, Stop> {
        if layout != Layout::Gnu {
            return Err(Stop::tar("a sparse entry that is not GNU's"));
        }
        self.fields.size =
            header::numeric(header::field(&self.block, 483, 12)).map_err(|()| BadField("real size"))?;
        let mut parts = Vec::new();
        sparse::old_gnu(&self.block, 386, 4, &mut parts)?;
        let mut extended = self.block[482] > 0;
        let mut read = 97_u64;
        while extended {
            read += 512;
            if read >= SPECIAL {
                return Err(Stop::tar("a sparse map of more than 1 MiB"));
            }
            if self.stream.block(&mut self.block)? < 512 {
                return Err(Stop::truncated("the stream ends inside a sparse map"));
            }
            sparse::old_gnu(&self.block, 0, 21, &mut parts)?;
            extended = self.block[504] > 0;
        }
        Ok(parts)
    }

    fn pax_map(&mut self, pax: Option<&Pax>) -> Result<Option<Vec<(i64, i64)>>, Stop> {
        let Some(sparse) = pax.map(|pax| &pax.sparse) else { return Ok(None) };
        let one = match (sparse.major.as_slice(), sparse.minor.as_slice()) {
            (b"0", b"0" | b"1") => false,
            (b"1", b"0") => true,
            (b"", b"") if !sparse.map.is_empty() => false,
            _ => return Ok(None),
        };
        if !sparse.name.is_empty() {
            self.fields.name.clone_from(&sparse.name);
        }
        let size = if sparse.size.is_empty() { &sparse.real_size } else { &sparse.size };
        if !size.is_empty() {
            self.fields.size = pax::decimal(size).ok_or(BadField("sparse size"))?;
        }
        if one {
            return self.map_in_data().map(Some);
        }
        let parts = sparse::pax_0(&sparse.blocks, &sparse.map).ok_or(BadField("sparse map"))?;
        Ok(Some(parts))
    }

    /// Format 1.0: newline-terminated decimal numbers at the start of the data, up to a block boundary.
    fn map_in_data(&mut self) -> Result<Vec<(i64, i64)>, Stop> {
        const BAD: BadField = BadField("sparse map");
        let mut text = Vec::new();
        let mut newlines = 0_usize;
        let mut more = |tar: &mut Self, wanted: usize, text: &mut Vec<u8>| {
            while newlines < wanted {
                let at = text.len();
                if at as u64 >= SPECIAL {
                    return Err(Stop::tar("a sparse map of more than 1 MiB"));
                }
                if tar.append(text, 512)? < 512 {
                    return Err(Stop::truncated("the stream ends inside a sparse map"));
                }
                newlines += text.get(at..).unwrap_or(&[]).iter().filter(|byte| **byte == b'\n').count();
            }
            Ok(())
        };
        more(self, 1, &mut text)?;
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
        let entries = pax::decimal(first).and_then(|count| usize::try_from(count).ok()).ok_or(BAD)?;
        let numbers = entries.checked_mul(2).ok_or(BAD)?;
        more(self, numbers.saturating_add(1), &mut text)?;
        sparse::pairs(text.split(|byte| *byte == b'\n').skip(1).take(numbers)).ok_or_else(|| BAD.into())
    }
}

/// Types that have no data whatever their size says.
fn header_only(typeflag: u8) -> bool {
    matches!(typeflag, b'1'..=b'6')
}

/// Whether the bytes begin with a tar header, or with the zero blocks of an empty archive.
pub(super) fn begins(head: &[u8]) -> bool {
    head.first_chunk::<512>()
        .is_some_and(|block| header::layout(block).is_some() || block.iter().all(|byte| *byte == 0))
}
