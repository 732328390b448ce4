//! Layer media types (OCI image specification, "Image Layer Filesystem Changeset"; Docker image manifest
//! v2 schema 2) and the magic numbers that decide when they lie.

/// How a layer's tar stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    Uncompressed,
    Gzip,
    Zstd,
}

impl Compression {
    /// What the first bytes of a stream show, as containerd detects it: anything unknown is uncompressed.
    pub fn sniff(head: &[u8]) -> Self {
        if head.starts_with(&[0x1f, 0x8b, 0x08]) {
            return Self::Gzip;
        }
        match head.first_chunk::<4>().map(|magic| u32::from_le_bytes(*magic)) {
            Some(0xfd2f_b528) => Self::Zstd,
            Some(magic) if magic & 0xffff_fff0 == 0x184d_2a50 => Self::Zstd, // a skippable frame
            _ => Self::Uncompressed,
        }
    }

    /// The name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uncompressed => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// What a media type says of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerMedia {
    /// The compression that is claimed; `None` where the type says nothing (`application/octet-stream`).
    pub compression: Option<Compression>,
    /// Not distributable: the registry need not hold it, and we fetch from nowhere else.
    pub foreign: bool,
}

impl LayerMedia {
    /// Reads a media type; `None` if it is not a layer's.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split(';').next().unwrap_or("").trim();
        let (foreign, rest) = if let Some(rest) = text.strip_prefix("application/vnd.oci.image.layer.v1.tar")
        {
            (false, rest)
        } else if let Some(rest) =
            text.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1.tar")
        {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("application/vnd.docker.image.rootfs.diff.tar") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("application/vnd.docker.image.rootfs.foreign.diff.tar") {
            (true, rest)
        } else {
            return matches!(text, "" | "application/octet-stream")
                .then_some(Self { compression: None, foreign: false });
        };
        let compression = match rest {
            "" => Compression::Uncompressed,
            "+gzip" | ".gzip" => Compression::Gzip,
            "+zstd" | ".zstd" => Compression::Zstd,
            _ => return None,
        };
        Some(Self { compression: Some(compression), foreign })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_media_types_of_layers() {
        let some = |compression, foreign| Some(LayerMedia { compression, foreign });
        for (text, expected) in [
            ("application/vnd.oci.image.layer.v1.tar", some(Some(Compression::Uncompressed), false)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", some(Some(Compression::Gzip), false)),
            ("application/vnd.oci.image.layer.v1.tar+zstd; a=b", some(Some(Compression::Zstd), false)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", some(Some(Compression::Gzip), false)),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                some(Some(Compression::Gzip), true),
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar",
                some(Some(Compression::Uncompressed), true),
            ),
            ("application/octet-stream", some(None, false)),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None),
            ("application/vnd.oci.image.config.v1+json", None),
        ] {
            assert_eq!(LayerMedia::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn sniffs_skippable_frames_as_zstd() {
        assert_eq!(Compression::sniff(&[0x5a, 0x2a, 0x4d, 0x18, 0]), Compression::Zstd);
        assert_eq!(Compression::sniff(&[0x28, 0xb5, 0x2f, 0xfd]), Compression::Zstd);
        assert_eq!(Compression::sniff(&[0x1f, 0x8b, 0x08]), Compression::Gzip);
        assert_eq!(Compression::sniff(&[0x1f, 0x8b]), Compression::Uncompressed);
    }
}
